//! What does it cost to list a million entries, and for how long is a thread held while it is done? See `questions/live.rs`.

mod common;
#[path = "questions/live.rs"]
mod question;

fn main() {
    common::print(question::bars);
}
