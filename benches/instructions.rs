//! How many instructions does it take? A figure that is the same on every run.
//!
//! Runs itself under callgrind (`valgrind`), twice for each question, with more and with fewer rounds, so
//! that what the program itself takes cancels out. Prints the figure, the last one that was noted in
//! `instructions.txt`, and the difference: 10 % is a real change, in this crate, tokio, or the
//! compiler. `-- --note` notes the new figures.

use headcount::{Level, Registry, events::Events};
use std::{collections::BTreeMap, fmt::Write, fs, path::Path, process::Command, time::Duration};
use tokio::task::JoinSet;

const QUESTIONS: [&str; 12] = [
    "spawn_to_end",
    "events_idle",
    "events_one",
    "spawn_to_end_join_set",
    "spawn_to_output",
    "idle_task_to_close",
    "close_tree_per_task",
    "context_open_close",
    "session_attach",
    "register_to_remove",
    "live_per_entry",
    "handle_noted",
];
/// How the program asks itself for the work of one question.
const COUNT: &str = "--count";
const BATCH: usize = 1_000;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let [_, COUNT, question, rounds] = args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        return work(question, rounds.parse().expect("a number"));
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        eprintln!("instructions: there is no valgrind here to count them with");
        std::process::exit(1);
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.txt");
    let noted = read(&fs::read_to_string(&file).unwrap_or_default());
    let mut found = String::new();
    for question in QUESTIONS {
        let now = (counted(question, 12) - counted(question, 4)) / (8 * BATCH as u64);
        let _ = writeln!(found, "{question} {now}");
        match noted.get(question) {
            Some(&last) => println!(
                "instructions {question} {now}, noted {last}: {}",
                change(now, last)
            ),
            None => println!("instructions {question} {now}"),
        }
    }
    if args.iter().any(|arg| arg == "--note") {
        fs::write(file, found).expect("the file can be written");
    }
}

fn read(noted: &str) -> BTreeMap<String, u64> {
    let line = |line: &str| {
        let (question, figure) = line.split_once(' ')?;
        Some((question.to_owned(), figure.parse().ok()?))
    };
    noted.lines().filter_map(line).collect()
}

fn change(now: u64, last: u64) -> String {
    let tenths = 1_000 * now.abs_diff(last) / last;
    let sign = if now < last { '-' } else { '+' };
    let verdict = if now > last && tenths >= 100 {
        ", grown"
    } else {
        ""
    };
    format!("{sign}{}.{} %{verdict}", tenths / 10, tenths % 10)
}

/// What callgrind counts for so many rounds.
fn counted(question: &str, rounds: usize) -> u64 {
    let program = std::env::current_exe().expect("a program has a path");
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args([COUNT, question, &rounds.to_string()])
        .output()
        .expect("valgrind runs");
    let said = String::from_utf8_lossy(&run.stderr);
    let refs = said.lines().find(|line| line.contains("refs:"));
    let digits = refs
        .expect("callgrind counts")
        .rsplit("refs:")
        .next()
        .unwrap_or_default();
    let digits: String = digits.chars().filter(char::is_ascii_digit).collect();
    digits.parse().expect("a number")
}

fn work(question: &str, rounds: usize) {
    // With timers: a close that misses them says so in a panic of tokio's, which costs more than the work.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let registry = Registry::new();
    let _kept: Vec<_> = match question {
        "live_per_entry" => (0..BATCH)
            .map(|_| registry.register("entry", "resource"))
            .collect(),
        _ => Vec::new(),
    };
    // One that is gone again, and one that takes what there is after each batch.
    drop((question == "events_idle").then(|| registry.events()));
    let mut events = (question == "events_one").then(|| registry.events());
    for _ in 0..rounds {
        match question {
            "spawn_to_end" | "events_idle" | "events_one" => runtime.block_on(async {
                let ctx = registry.context("batch");
                for _ in 0..BATCH {
                    drop(ctx.task("worker").spawn(tokio::task::yield_now()));
                }
                drop(ctx.close().await);
            }),
            "spawn_to_end_join_set" => runtime.block_on(async {
                let mut set = JoinSet::new();
                for _ in 0..BATCH {
                    set.spawn(tokio::task::yield_now());
                }
                while set.join_next().await.is_some() {}
            }),
            "spawn_to_output" => runtime.block_on(async {
                let ctx = registry.context("batch");
                for n in 0..BATCH {
                    let task = ctx.spawn(async move { n });
                    assert_eq!(task.await.ok(), Some(n));
                }
                drop(ctx.close().await);
            }),
            "idle_task_to_close" => runtime.block_on(async {
                let ctx = registry.context("batch");
                for _ in 0..BATCH {
                    let idle = std::future::pending::<()>();
                    drop(ctx.task("idle").cancellable().spawn(idle));
                }
                tokio::task::yield_now().await;
                drop(ctx.close().await);
            }),
            "close_tree_per_task" => runtime.block_on(async {
                let all = registry.context("all");
                let contexts: Vec<_> = (0..BATCH / 10).map(|_| all.child("conn")).collect();
                for ctx in &contexts {
                    for _ in 0..10 {
                        let weak = ctx.downgrade();
                        drop(ctx.spawn(async move { weak.cancelled().await }));
                    }
                }
                tokio::task::yield_now().await;
                drop(all.close().await);
            }),
            "context_open_close" => runtime.block_on(async {
                let all = registry.context("all");
                for _ in 0..BATCH {
                    drop(all.child("child").close().await);
                }
                drop(all.close().await);
            }),
            "session_attach" => runtime.block_on(async {
                let server = registry.context("server");
                let idle = Duration::from_secs(3_600);
                let sessions = server.sessions("table").idle(idle).open();
                for _ in 0..BATCH {
                    drop(sessions.attach(1, "owner").await.expect("it opens"));
                }
                drop(server.close().await);
            }),
            "handle_noted" => {
                registry.set_level(Level::Holders);
                let value = registry.own("value", "kind", ());
                for _ in 0..BATCH {
                    drop(value.clone());
                }
            }
            "register_to_remove" => {
                for _ in 0..BATCH {
                    drop(registry.register("entry", "resource"));
                }
            }
            "live_per_entry" => drop(runtime.block_on(registry.live())),
            other => panic!("{other} is no question"),
        }
        while let Some(event) = events.as_mut().and_then(Events::try_next) {
            drop(event.expect("it keeps up"));
        }
    }
}
