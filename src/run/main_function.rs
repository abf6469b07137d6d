//! [`run`]: the main thread of a service, from the first listener to the exit code.

#[cfg(unix)]
use crate::run::systemd;
use crate::{
    context::{close_reason::CloseReason, report::CloseReport, still_closing::StillClosing},
    error::TaskError,
    event::printed::PrintedEvents,
    name::Name,
    panics,
    registry::registry::Registry,
    run::{
        app::App,
        builder::{AppBuilder, ExitCodes},
        print::print,
        stop::Stop,
        watch,
    },
    table::record::State,
    task::wrapped::Wrapped,
};
use futures::FutureExt;
use std::{
    fmt::Debug,
    io,
    panic::{AssertUnwindSafe, Location},
    process::ExitCode,
    sync::Arc,
    thread,
    time::Duration,
};
use tokio::runtime::Handle;

/// What the process of a main function that panics exits with, in Rust.
const PANICKED: u8 = 101;

/// How long tasks that are in no registry, and blocking work of tokio's own, have to end when everything else has.
const OTHERS: Duration = Duration::from_millis(100);

/// Runs a service: the whole main function of a process.
///
/// ```no_run
/// use headcount::App;
/// use std::{convert::Infallible, process::ExitCode};
///
/// fn main() -> ExitCode {
///     headcount::run("clock", async |app: App| {
///         app.context().task("tick").cancellable().spawn(tick());
///         app.ready();
///         app.stopping().await;
///         Ok::<(), Infallible>(())
///     })
/// }
///
/// async fn tick() {
///     loop {
///         tokio::time::sleep(std::time::Duration::from_secs(1)).await;
///         println!("tick");
///     }
/// }
/// ```
///
/// It listens to signals, builds a runtime (`multi_thread`; [`App::builder`] has others, and the other settings), opens a context of
/// this name in the [global](Registry::global) registry, and runs the body on this thread, as a task of that registry with the name
/// `main`. Needs the feature `signal`.
///
/// # What stops it
///
/// * The first signal, ctrl-c (`SIGINT`) or `SIGTERM`: the service is not [ready](App::readiness) any more; then the
///   [drain delay](crate::AppBuilder::drain_delay) passes, zero by default; then the whole registry closes by the
///   [deadline](crate::AppBuilder::deadline), 25 s by default. On Windows these are ctrl-c, ctrl-break, and the three events after which the
///   system ends the process: the close of the console, the end of the user's session and the shutdown. After those three there is no drain
///   delay, and the deadline is 4 s at most.
/// * [`App::request_stop`], in the same way.
/// * The end of the body, without the drain delay. Its tasks are told to end, and have their grace period, as at a signal: the service is
///   over when its body is. A body whose tasks are to end by themselves awaits that, by
///   [`app.context().idle()`](crate::Context::idle) or [`finish()`](crate::Context::finish); one that only starts tasks awaits
///   [`App::stopping`].
/// * The close of the registry, or of the service's context, by the program: by a failure for example, where
///   [`OnFailure::Close`](crate::OnFailure::Close) is set.
///
/// The second signal aborts what is left, and prints where it was. The third one ends the process, and so does a thread of the crate's
/// own when the close is not over [2 s](crate::AppBuilder::exit_after) after the deadline: that works also where every thread of the
/// runtime is blocked.
///
/// # Exit codes
///
/// | what happened | code |
/// |---|---|
/// | the body returned `Ok`, and the close was [clean](CloseReport::is_clean), also after a signal | 0 |
/// | a signal came before the body began, and the close was clean | 0 |
/// | the body returned an error | 1, or [`error_code`](crate::AppBuilder::error_code) |
/// | the signals could not be listened to, or the runtime could not be built | 1, or `error_code` |
/// | the close was not clean, or not over at the deadline | 1, or [`unclean_code`](crate::AppBuilder::unclean_code) |
/// | the body panicked | 101 |
/// | a third signal came, or the time was up | 130 if the last signal was `SIGINT`, 143 if it was `SIGTERM`; 1 if there was none |
///
/// A panic comes before an error, and an error before an unclean close. What went wrong is printed to standard error: the error with
/// [`Debug`], as Rust does for a main function that returns one, and the report of a close that was not clean. While no subscriber of
/// `tracing` is installed, the warnings and errors of this crate are printed there as well.
///
/// # systemd
///
/// Where systemd has started the process (`NOTIFY_SOCKET` is set) it is told of [`ready`](App::ready), of the stop and who is inside
/// meanwhile, and to wait on while the close makes progress; and the watchdog is fed while the runtime answers. See
/// [the chapter](crate::docs::running).
///
/// # Panics
///
/// If it is called inside a tokio runtime, or the registry has been closed before, by an earlier call for example. A panic of the body
/// goes no further.
#[track_caller]
pub fn run<B, E>(name: impl Into<Name>, body: B) -> ExitCode
where
    B: AsyncFnOnce(App) -> Result<(), E>,
    E: Debug,
{
    run_app(App::builder(name), body, Location::caller())
}

/// How the body ended.
enum BodyEnd {
    Returned,
    Failed(String),
    Panicked,
    /// The close began before the body did, or ended it.
    Dropped,
}

impl BodyEnd {
    fn of<E: Debug>(ended: thread::Result<Result<Result<(), E>, TaskError>>) -> Self {
        match ended {
            Ok(Ok(Ok(()))) => Self::Returned,
            Ok(Ok(Err(error))) => Self::Failed(format!("{error:?}")),
            Ok(Err(_)) => Self::Dropped,
            Err(payload) => {
                panics::bury(payload);
                Self::Panicked
            }
        }
    }

    fn reason(&self) -> CloseReason {
        CloseReason::from(match self {
            Self::Returned => "the body returned",
            Self::Failed(_) => "the body returned an error",
            Self::Panicked => "the body panicked",
            Self::Dropped => "the body was dropped",
        })
    }
}

#[track_caller]
pub(super) fn run_app<B, E>(
    builder: AppBuilder,
    body: B,
    location: &'static Location<'static>,
) -> ExitCode
where
    B: AsyncFnOnce(App) -> Result<(), E>,
    E: Debug,
{
    let registry = builder.registry.as_ref();
    let registry = registry.unwrap_or_else(|| Registry::global()).clone();
    check_caller(&registry);
    let _printed = PrintedEvents::begin();
    let (name, codes) = (builder.name, builder.codes);
    registry.readiness().start();
    let stop = Stop::new(
        name.to_string(),
        &registry,
        builder.options,
        (location, true),
    );
    let started = watch::start(&stop).and_then(|watch| Ok((watch, (builder.make_runtime)()?)));
    let (watch, runtime) = match started {
        Ok(started) => started,
        Err(error) => return could_not_start(&stop, &error, codes),
    };
    #[cfg(unix)]
    systemd::start(&stop);
    stop.start(runtime.handle());
    let entered = runtime.enter();
    let context = registry.context(name.clone());
    let app = App::new(context, registry.clone(), Arc::clone(&stop));
    // Also keeps the context open when the body has dropped its own: until the close, which then has the right reason.
    let kept = app.clone();
    watch.spawn(app.closing());
    // A signal may have come already.
    let main = registry.task("main").kind("main");
    let main = main.try_wrap(async move { body(app).await }).ok();
    drop(entered);
    let (ended, closed) = runtime.block_on(serve(&registry, &stop, main));
    stop.wait_for_dump();
    let code = report(&name, &ended, &closed, codes);
    drop((closed, kept));
    runtime.shutdown_timeout(OTHERS);
    stop.end();
    code.into()
}

#[track_caller]
fn check_caller(registry: &Registry) {
    assert!(
        Handle::try_current().is_err(),
        "`headcount::run` was called inside a tokio runtime, and starts one of its own: call it in a plain `fn main`, without \
         `#[tokio::main]`; to keep a runtime of yours, use `Registry::close_on_signals` in it"
    );
    assert!(
        registry.state() == State::Open && registry.close_reason().is_none(),
        "`headcount::run` was called with a registry that is closed, as an earlier call leaves its own: give each call another one, by \
         `App::builder(name).registry(&Registry::new())`"
    );
}

fn could_not_start(stop: &Stop, error: &io::Error, codes: ExitCodes) -> ExitCode {
    print(format_args!("{} could not start: {error}", stop.name));
    stop.end();
    codes.error.into()
}

/// Runs the body, and closes everything behind it.
async fn serve<F, E>(
    registry: &Registry,
    stop: &Arc<Stop>,
    main: Option<Wrapped<F>>,
) -> (BodyEnd, Result<CloseReport, StillClosing>)
where
    F: Future<Output = Result<(), E>>,
    E: Debug,
{
    let ended = match main {
        Some(main) => BodyEnd::of(AssertUnwindSafe(main).catch_unwind().await),
        None => BodyEnd::Dropped,
    };
    stop.request_now(ended.reason());
    let closed = stop.close(registry).await;
    (ended, closed)
}

/// Prints what went wrong, and says what the process exits with.
fn report(
    name: &str,
    ended: &BodyEnd,
    closed: &Result<CloseReport, StillClosing>,
    codes: ExitCodes,
) -> u8 {
    if let BodyEnd::Failed(error) = ended {
        print(format_args!("{name} failed: {error}"));
    }
    let is_clean = match closed {
        Ok(report) if report.is_clean() => true,
        Ok(report) => {
            print(format_args!("{name} did not stop cleanly:\n{report}"));
            false
        }
        Err(still_closing) => {
            print(format_args!(
                "{name} did not stop in time:\n{still_closing}"
            ));
            false
        }
    };
    match ended {
        BodyEnd::Panicked => PANICKED,
        BodyEnd::Failed(_) => codes.error,
        _ if is_clean => 0,
        _ => codes.unclean,
    }
}
