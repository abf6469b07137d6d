//! What does the end of a whole tree cost, and does a task cost more when many others are alive? See `questions/close.rs`.

mod common;
#[path = "questions/close.rs"]
mod question;

fn main() {
    common::print(question::bars);
}
