//! What does a short task cost, from spawn to join? See `questions/spawn.rs`.

mod common;
#[path = "questions/spawn.rs"]
mod question;

fn main() {
    common::print(question::bars);
}
