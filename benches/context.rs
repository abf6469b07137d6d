//! What does a context weigh, and what does it cost? See `questions/context.rs`.

mod common;
#[path = "questions/context.rs"]
mod question;

#[global_allocator]
static HEAP: common::heap::Counting = common::heap::Counting;

fn main() {
    common::print(question::bars);
}
