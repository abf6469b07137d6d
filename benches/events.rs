//! What does a subscriber to events cost a task? See `questions/events.rs`.

mod common;
#[path = "questions/events.rs"]
mod question;

fn main() {
    common::print(question::bars);
}
