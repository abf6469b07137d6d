//! What do sessions cost, and tasks that are restarted? See `questions/sessions.rs`.

mod common;
#[path = "questions/sessions.rs"]
mod question;

#[global_allocator]
static HEAP: common::heap::Counting = common::heap::Counting;

fn main() {
    common::print(question::bars);
}
