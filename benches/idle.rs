//! What does a task cost that waits for the end, as most tasks of a service do? See `questions/idle.rs`.

mod common;
#[path = "questions/idle.rs"]
mod question;

fn main() {
    common::print(question::bars);
}
