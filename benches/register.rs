//! What does it cost to put something on the list and take it off again? See `questions/register.rs`.

mod common;
#[path = "questions/register.rs"]
mod question;

fn main() {
    common::print(question::bars);
}
