//! Where tasks wait: what it costs to be able to ask, and to ask. See `questions/dump.rs`.

mod common;
#[path = "questions/dump.rs"]
mod question;

fn main() {
    common::print(question::bars);
}
