//! Every figure that has a limit, in its short form: `cargo bench --bench bars`, about two minutes.
//!
//! One line each: `bar <name> <measured> <limit> ok|short`, with the goal behind it. Lower is better.
//! It reports and is no test: the exit code is 0 either way. Lines that begin with `#` show what the
//! figure was made from. Each question also is a bench of its own, which takes longer and is steadier.

mod common;
mod questions {
    pub(crate) mod close;
    pub(crate) mod context;
    pub(crate) mod dump;
    pub(crate) mod events;
    pub(crate) mod holders;
    pub(crate) mod idle;
    pub(crate) mod live;
    pub(crate) mod memory;
    pub(crate) mod register;
    pub(crate) mod sessions;
    pub(crate) mod spawn;
}

use common::{Bar, Form};
use questions::{
    close, context, dump, events, holders, idle, live, memory, register, sessions, spawn,
};

fn main() {
    let form = Form::asked(Form::Short);
    let questions: [fn(Form) -> Vec<Bar>; 11] = [
        spawn::bars,
        idle::bars,
        memory::bars,
        register::bars,
        live::bars,
        close::bars,
        context::bars,
        sessions::bars,
        holders::bars,
        dump::bars,
        events::bars,
    ];
    let bars: Vec<Bar> = questions.iter().flat_map(|bars| bars(form)).collect();
    for bar in bars {
        println!("{bar}");
    }
}
