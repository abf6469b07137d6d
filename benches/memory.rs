//! What does a live task weigh, and what is left when a million have come and gone? See `questions/memory.rs`.

mod common;
#[path = "questions/memory.rs"]
mod question;

fn main() {
    common::print(question::bars);
}
