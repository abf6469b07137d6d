//! [`AppBuilder`]: the settings of a service.

use crate::{
    name::Name,
    registry::registry::Registry,
    run::{app::App, main_function, options::StopOptions},
};
use std::{
    fmt::{self, Debug},
    io,
    panic::Location,
    process::ExitCode,
    time::Duration,
};
use tokio::runtime::{Builder, Runtime};

type MakeRuntime = Box<dyn FnOnce() -> io::Result<Runtime>>;

/// The settings of a service. Made by [`App::builder`]; ends in [`run`](Self::run).
///
/// ```no_run
/// use headcount::App;
/// use std::{process::ExitCode, time::Duration};
///
/// fn main() -> ExitCode {
///     App::builder("api")
///         .drain_delay(Duration::from_secs(5))
///         .deadline(Duration::from_secs(20))
///         .run(async |app: App| {
///             app.ready();
///             app.stopping().await;
///             Ok::<(), std::io::Error>(())
///         })
/// }
/// ```
#[must_use = "a builder runs nothing until `run`"]
pub struct AppBuilder {
    pub(super) name: Name,
    pub(super) options: StopOptions,
    pub(super) registry: Option<Registry>,
    pub(super) make_runtime: MakeRuntime,
    pub(super) codes: ExitCodes,
}

/// What a process exits with that has not come to a clean end.
#[derive(Clone, Copy, Debug)]
pub(super) struct ExitCodes {
    pub(super) error: u8,
    pub(super) unclean: u8,
}

impl AppBuilder {
    pub(super) fn new(name: Name) -> Self {
        let codes = ExitCodes {
            error: 1,
            unclean: 1,
        };
        Self {
            name,
            options: StopOptions::new(),
            registry: None,
            make_runtime: Box::new(|| Builder::new_multi_thread().enable_all().build()),
            codes,
        }
    }

    /// How long the close may take, from its beginning. 25 s by default; see [`StopOptions::deadline`].
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.options = self.options.deadline(deadline);
        self
    }

    /// How long the service goes on after the first signal, not ready any more, before it closes. Zero by default; see
    /// [`StopOptions::drain_delay`].
    pub fn drain_delay(mut self, delay: Duration) -> Self {
        self.options = self.options.drain_delay(delay);
        self
    }

    /// How long after the deadline the process is ended by force. 2 s by default; see [`StopOptions::exit_after`].
    pub fn exit_after(mut self, after: Duration) -> Self {
        self.options = self.options.exit_after(after);
        self
    }

    /// The registry of the service, which is closed with it. By default it is the [global](Registry::global) one; in a process that
    /// runs several services one after the other, as a test does, each needs its own. Its settings are those of the service:
    ///
    /// ```no_run
    /// use headcount::{App, OnFailure, Registry};
    /// use std::{convert::Infallible, process::ExitCode};
    ///
    /// fn main() -> ExitCode {
    ///     // A task that fails stops the service.
    ///     let registry = Registry::builder().on_failure(OnFailure::Close).build();
    ///     App::builder("api")
    ///         .registry(&registry)
    ///         .run(async |app: App| {
    ///             app.stopping().await;
    ///             Ok::<(), Infallible>(())
    ///         })
    /// }
    /// ```
    pub fn registry(mut self, registry: &Registry) -> Self {
        self.registry = Some(registry.clone());
        self
    }

    /// Runs on a runtime with so many worker threads. By default there is one for each core.
    ///
    /// # Panics
    ///
    /// When it runs, if the number is 0.
    pub fn worker_threads(self, threads: usize) -> Self {
        self.runtime(move || {
            let mut runtime = Builder::new_multi_thread();
            runtime.worker_threads(threads).enable_all().build()
        })
    }

    /// Runs on a runtime that has no thread but this one.
    pub fn current_thread(self) -> Self {
        self.runtime(|| Builder::new_current_thread().enable_all().build())
    }

    /// Runs on a runtime that this closure builds. It is called when signals are listened to already.
    ///
    /// ```no_run
    /// use headcount::App;
    /// use std::{convert::Infallible, process::ExitCode};
    /// use tokio::runtime::Builder;
    ///
    /// fn main() -> ExitCode {
    ///     App::builder("api")
    ///         .runtime(|| {
    ///             Builder::new_multi_thread()
    ///                 .thread_name("api")
    ///                 .max_blocking_threads(16)
    ///                 .enable_all()
    ///                 .build()
    ///         })
    ///         .run(async |app: App| {
    ///             app.stopping().await;
    ///             Ok::<(), Infallible>(())
    ///         })
    /// }
    /// ```
    pub fn runtime(mut self, make: impl FnOnce() -> io::Result<Runtime> + 'static) -> Self {
        self.make_runtime = Box::new(make);
        self
    }

    /// What the process exits with when the body has returned an error, or the service could not start. 1 by default.
    pub fn error_code(mut self, code: u8) -> Self {
        self.codes.error = code;
        self
    }

    /// What the process exits with when the close was not [clean](crate::CloseReport::is_clean), or not over at the deadline. 1 by
    /// default.
    pub fn unclean_code(mut self, code: u8) -> Self {
        self.codes.unclean = code;
        self
    }

    /// Runs the service to its end. See [`run`](crate::run()).
    ///
    /// # Panics
    ///
    /// As [`run`](crate::run()).
    #[track_caller]
    pub fn run<B, E>(self, body: B) -> ExitCode
    where
        B: AsyncFnOnce(App) -> Result<(), E>,
        E: Debug,
    {
        main_function::run_app(self, body, Location::caller())
    }
}

impl fmt::Debug for AppBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppBuilder")
            .field("name", &self.name)
            .field("options", &self.options)
            .field("registry", &self.registry)
            .field("codes", &self.codes)
            .finish_non_exhaustive()
    }
}
