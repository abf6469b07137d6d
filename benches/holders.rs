//! Who holds what: what it costs to know, and not to. See `questions/holders.rs`.

mod common;
#[path = "questions/holders.rs"]
mod question;

fn main() {
    common::print(question::bars);
}
