//! Services as processes: `examples/run.rs` under real signals. Nothing here depends on how fast the machine is: a test waits for
//! what the process says, and sends the next signal then.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "tests unwrap")]

use headcount::{App, Registry, StopOptions};
use std::{
    future::pending,
    io::{BufRead, BufReader, Read},
    os::unix::net::UnixDatagram,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

/// After so long a process is stuck, and the test has failed.
const STUCK: Duration = Duration::from_secs(60);

/// A process, killed when the test is over.
struct Process {
    child: Child,
    /// What it prints, a line at a time, and on which of its two outputs.
    lines: Receiver<(Output, String)>,
    /// What it has printed so far.
    said: Vec<(Output, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    Out,
    Err,
}

impl Process {
    fn start(command: &mut Command) -> Self {
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.env("RUST_BACKTRACE", "0").spawn().unwrap();
        let (send, lines) = mpsc::channel();
        let forward = |from: Box<dyn Read + Send>, which| {
            let send = send.clone();
            thread::spawn(move || {
                for line in BufReader::new(from).lines() {
                    let _ = send.send((which, line.unwrap()));
                }
            });
        };
        forward(Box::new(child.stdout.take().unwrap()), Output::Out);
        forward(Box::new(child.stderr.take().unwrap()), Output::Err);
        Self {
            child,
            lines,
            said: Vec::new(),
        }
    }

    /// The example, behaving like this.
    fn example(behaviour: &str) -> Self {
        Self::start(Command::new(example()).arg(behaviour))
    }

    /// An ignored test of this file.
    fn test(name: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        Self::start(command.args(["--exact", "--ignored", "--nocapture", name]))
    }

    /// Waits until it prints a line with this in it.
    fn says(&mut self, text: &str) {
        loop {
            let line = self.lines.recv_timeout(STUCK);
            let line = line.unwrap_or_else(|_| panic!("it never said `{text}`: {:#?}", self.said));
            let is_it = line.1.contains(text);
            self.said.push(line);
            if is_it {
                return;
            }
        }
    }

    /// Waits until it has printed a line with each of these, in whatever order.
    fn says_all(&mut self, texts: &[&str]) {
        for text in texts {
            if !self.said.iter().any(|(_, line)| line.contains(text)) {
                self.says(text);
            }
        }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits for its end. Returns the exit code, and what it printed to standard error.
    fn ends(&mut self) -> (Option<i32>, String) {
        while let Ok(line) = self.lines.recv_timeout(STUCK) {
            self.said.push(line);
        }
        let status: ExitStatus = self.child.wait().unwrap();
        (status.code(), self.printed(Output::Err))
    }

    fn printed(&self, which: Output) -> String {
        let lines = self.said.iter().filter(|(from, _)| *from == which);
        lines.flat_map(|(_, line)| [line, "\n"]).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Beside the folder of the tests. `cargo test` builds it; `cargo test --test processes` does not.
fn example() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let example = tests.ancestors().nth(2).unwrap().join("examples/run");
    assert!(
        example.exists(),
        "{} is not there: cargo build --example run --features signal",
        example.display()
    );
    example
}

#[test]
fn a_service_that_stops_by_itself_exits_with_0_and_prints_nothing() {
    let mut process = Process::start(&mut Command::new(example()));
    assert_eq!(process.ends(), (Some(0), String::new()));
    // The body and the hook run side by side.
    let said = process.printed(Output::Out);
    assert!(
        said.starts_with("ready\n") && said.contains("flushed\n"),
        "{said}"
    );
    assert!(
        said.contains("stopping (requested: it has seen enough), ready: false\n"),
        "{said}"
    );
}

#[test]
fn the_first_signal_closes() {
    for signal in ["INT", "TERM"] {
        let mut process = Process::example("serve");
        process.says("ready");
        process.signal(signal);
        let (code, printed) = process.ends();
        assert_eq!(code, Some(0), "{printed}");
        // It may have ended before that was printed.
        let is_told = |line: &str| {
            line.contains("no subscriber")
                || line.contains(&format!("clock got SIG{signal}: stopping"))
        };
        assert!(printed.lines().all(is_told), "{printed}");
        // The body and the hook run side by side.
        let said = process.printed(Output::Out);
        let stopping = format!("stopping (requested: SIG{signal}), ready: false\n");
        assert!(
            said.contains(&stopping) && said.contains("flushed\n"),
            "{said}"
        );
    }
}

#[test]
fn the_second_signal_ends_the_drain_delay() {
    let mut process = Process::example("drain");
    process.says("ready: true");
    process.signal("TERM");
    process.says("ready: false");
    assert!(!process.printed(Output::Out).contains("stopping"));
    process.signal("TERM");
    process.says("stopping (requested: SIGTERM)");
    let (code, said) = process.ends();
    assert_eq!(code, Some(0), "{said}");
    // What has ended when it is asked is not said to be aborted.
    assert!(!said.contains("finished meanwhile"), "{said}");
    assert!(!said.contains("aborting what is left"), "{said}");
}

#[test]
fn the_second_signal_aborts_and_prints_where_the_tasks_were() {
    let mut process = Process::example("stubborn");
    process.says("ready");
    process.signal("INT");
    // On standard output by the service, and on standard error by `run`, because nothing else hears it; in any order.
    process.says_all(&[
        "stopping (requested: SIGINT)",
        "clock got SIGINT: stopping; a second signal aborts what is left",
    ]);
    process.signal("INT");
    let (code, said) = process.ends();
    assert_eq!(code, Some(1), "{said}");
    let told = said.find(
        "headcount: clock is told a second time to stop, and aborts what has not ended by then:\n",
    );
    let stack = said.find("clock/stubborn: parked for");
    let report =
        said.find("headcount: clock did not stop cleanly:\nclosed registry (requested: SIGINT)");
    assert!(told.is_some() && told < stack && stack < report, "{said}");
    assert!(
        said.contains("did not end in time: clock/stubborn"),
        "{said}"
    );
}

#[test]
fn the_third_signal_ends_a_process_whose_runtime_is_blocked() {
    for (last, code) in [("INT", 130), ("TERM", 143)] {
        let mut process = Process::example("blocked");
        process.says("ready");
        process.signal("TERM");
        // The warning of a close that makes no progress, on standard error because nothing else hears it.
        process.says("WARN: the close of registry makes no progress");
        process.signal("TERM");
        process.says("clock is told a second time to stop");
        process.signal(last);
        let (ended, said) = process.ends();
        assert_eq!(ended, Some(code), "{said}");
        let why =
            format!("clock got SIG{last} a third time; the process ends with exit code {code}");
        assert!(said.contains(&why), "{said}");
        assert!(
            said.contains("the runtime is inside the task main (spawned at examples/run.rs:"),
            "{said}"
        );
        assert!(
            said.contains("main: polling for") && said.contains("clock/behind: never polled"),
            "{said}"
        );
    }
}

#[test]
fn a_process_whose_runtime_is_blocked_ends_when_the_time_is_up() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let mut process = Process::example("overdue");
        process.says("ready");
        process.signal(signal);
        let (ended, said) = process.ends();
        assert_eq!(ended, Some(code), "{said}");
        assert!(
            said.contains("clock has not stopped within 600ms; the process ends"),
            "{said}"
        );
        assert!(
            said.contains("behind  task · waiting") && said.contains("main  main · running"),
            "{said}"
        );
    }
}

#[test]
fn what_is_left_at_the_deadline_is_named() {
    let mut process = Process::example("leaves");
    process.says("ready");
    process.signal("TERM");
    let (code, said) = process.ends();
    assert_eq!(code, Some(3), "{said}");
    assert!(
        said.contains("clock did not stop in time:\nregistry is still closing"),
        "{said}"
    );
    assert!(
        said.contains("clock/encoder (blocking running for"),
        "{said}"
    );
    assert!(said.contains("flushed") || process.printed(Output::Out).contains("flushed"));
}

#[test]
fn an_error_is_printed_and_so_is_the_exit_code_1() {
    let mut process = Process::example("error");
    let failed = "headcount: clock failed: \"no route to host\"\n".to_owned();
    assert_eq!(process.ends(), (Some(1), failed));
    assert!(process.printed(Output::Out).contains("flushed"));
}

#[test]
fn a_panic_closes_and_exits_with_101() {
    let mut process = Process::example("panic");
    let (code, said) = process.ends();
    assert_eq!(code, Some(101), "{said}");
    assert!(
        said.contains("closed registry (requested: the body panicked)"),
        "{said}"
    );
    assert!(
        said.contains("! task main (spawned at examples/run.rs:")
            && said.contains("panicked: a bug"),
        "{said}"
    );
    assert!(process.printed(Output::Out).contains("flushed"));
}

/// Signals may come faster than they are counted: the system has one flag for all of a kind that are pending.
#[test]
fn many_signals_at_once_end_it_at_the_latest_when_more_come() {
    let mut process = Process::example("blocked");
    process.says("ready");
    let mut status = None;
    while status.is_none() {
        process.signal("TERM");
        process.signal("TERM");
        process.signal("TERM");
        status = process.child.try_wait().unwrap();
    }
    assert_eq!(status.unwrap().code(), Some(143));
}

#[test]
fn signals_are_heard_before_the_runtime_is_up() {
    let mut process = Process::test("a_runtime_that_never_comes_up");
    process.says("building");
    let mut status = None;
    while status.is_none() {
        process.signal("TERM");
        status = process.child.try_wait().unwrap();
    }
    assert_eq!(status.unwrap().code(), Some(143));
}

#[test]
#[ignore = "run as a process by another test"]
fn a_runtime_that_never_comes_up() {
    let never = || {
        println!("building");
        loop {
            thread::sleep(STUCK);
        }
    };
    App::builder("late")
        .runtime(never)
        .run(async |_| Ok::<(), ()>(()));
}

/// Signals do not end a process any more that listens to them, and this one has nothing left to close.
#[test]
fn without_run_the_first_signal_closes_the_registry_and_the_next_one_ends_the_process() {
    let mut process = Process::test("closes_on_signals");
    process.says("ready: true");
    process.signal("TERM");
    process.says("closed registry (requested: SIGTERM)");
    process.says("ready: false");
    process.signal("INT");
    assert_eq!(process.ends().0, Some(130));
}

#[tokio::test]
#[ignore = "run as a process by another test"]
async fn closes_on_signals() {
    let registry = Registry::new();
    registry.close_on_signals(StopOptions::new()).unwrap();
    let ctx = registry.context("ctx");
    ctx.task("worker").cancellable().spawn(pending::<()>());
    println!("ready: {}", registry.readiness().is_ready());
    println!("{}", registry.closed().await);
    println!("ready: {}", registry.readiness().is_ready());
    pending::<()>().await;
}

/// As many states are not sent before one that is waited for: there is one a second.
const MANY: usize = 200;

/// Each state as systemd got it, up to one with this in it.
fn states_until(socket: &UnixDatagram, text: &str) -> Vec<String> {
    let mut states: Vec<String> = Vec::new();
    let mut buffer = [0; 4_096];
    while states.len() < MANY {
        let got = socket.recv(&mut buffer);
        let got = got.unwrap_or_else(|error| panic!("no `{text}` but {error}: {states:#?}"));
        states.push(String::from_utf8(buffer[..got].to_vec()).unwrap());
        if states.last().unwrap().contains(text) {
            return states;
        }
    }
    panic!("no `{text}`: {states:#?}");
}

/// A socket as systemd has one, and the path of it.
fn notify_socket(name: &str) -> (UnixDatagram, PathBuf) {
    let path = std::env::temp_dir().join(format!("headcount-{}-{name}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(STUCK)).unwrap();
    (socket, path)
}

#[test]
fn systemd_is_told_of_each_stage_in_order() {
    let (socket, path) = notify_socket("stages");
    let mut command = Command::new(example());
    let mut process = Process::start(command.arg("stubborn").env("NOTIFY_SOCKET", &path));
    assert_eq!(states_until(&socket, "READY=1"), ["READY=1\n"]);
    process.signal("TERM");
    let states = states_until(&socket, "EXTEND_TIMEOUT_USEC");
    assert_eq!(states.len(), 3, "{states:#?}");
    assert_eq!(
        states[0],
        "STOPPING=1\nSTATUS=stopping (requested: SIGTERM)\n"
    );
    assert!(
        states[1].starts_with("STATUS=stopping (requested: SIGTERM): "),
        "{states:#?}"
    );
    assert_eq!(states[2], "EXTEND_TIMEOUT_USEC=10000000\n");
    // It is said again until the end, and no more time is asked for without progress.
    let states = states_until(
        &socket,
        "1 task and 1 context left: clock/stubborn (task running for",
    );
    assert!(
        states.iter().all(|state| !state.contains("READY")),
        "{states:#?}"
    );
    process.signal("TERM");
    assert_eq!(process.ends().0, Some(1));
    std::fs::remove_file(path).unwrap();
}

#[test]
fn the_watchdog_is_fed_while_the_runtime_answers() {
    let (socket, path) = notify_socket("watchdog");
    let started = |behaviour| {
        let mut command = Command::new(example());
        let command = command.arg(behaviour).env("NOTIFY_SOCKET", &path);
        Process::start(command.env("WATCHDOG_USEC", "20000"))
    };
    let mut process = started("serve");
    states_until(&socket, "WATCHDOG=1");
    states_until(&socket, "WATCHDOG=1");
    process.signal("TERM");
    assert_eq!(process.ends().0, Some(0));

    // What the first one had still said.
    socket.set_nonblocking(true).unwrap();
    while socket.recv(&mut [0; 4_096]).is_ok() {}
    socket.set_nonblocking(false).unwrap();
    let mut process = started("overdue");
    process.says("ready");
    process.signal("TERM");
    let states = states_until(&socket, "STOPPING=1");
    assert_eq!(states.len(), 1, "{states:#?}");
    assert_eq!(process.ends().0, Some(143));
    std::fs::remove_file(path).unwrap();
}
