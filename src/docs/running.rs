//! Running a service: what [`run`](crate::run()) does from the first signal to the exit code, and how Kubernetes and systemd are set
//! up for it.
//!
//! # The stages of a stop
//!
//! | stage | begins with | what happens |
//! |---|---|---|
//! | starting | the call | signals are listened to, the runtime is built, the body begins; not ready |
//! | ready | [`App::ready`](crate::App::ready) | [`App::readiness`](crate::App::readiness) and [`Registry::readiness`](crate::Registry::readiness) are yes |
//! | draining | the first signal, or [`App::request_stop`](crate::App::request_stop) | not ready; everything else goes on for the [drain delay](crate::AppBuilder::drain_delay) |
//! | closing | the end of that delay, the second signal, the end of the body, or a close of the registry or the service's context by the program | [`App::stopping`](crate::App::stopping) is done; the registry [closes by the deadline](crate::Registry::close_by) |
//! | hurried | the second signal | where the tasks are is asked and printed; [`close_now`](crate::Registry::close_now) |
//! | over | the end of the close, or the deadline | what was not clean is printed, and `run` returns the exit code |
//!
//! The process is ended by force at the third signal, and when a close is not over some time
//! ([`exit_after`](crate::AppBuilder::exit_after)) after its deadline. A thread of the crate's own does so, which hears signals on a
//! runtime of its own, and on which no user code runs. It prints what is left, for at most a second, and calls
//! [`std::process::exit`]. It does so at each signal that comes when `run` has returned.
//!
//! The system has one flag for each kind of signal that is pending: three that come at the same moment may count as one.
//!
//! # The body
//!
//! The body runs on the thread that called `run`, and need not be [`Send`]. It is a task of the registry, with the name `main`: it is
//! listed, a dump says where it waits, and the close aborts it after the grace period (5 s, or that of the
//! [registry](crate::RegistryBuilder::grace)) and at least a second after all contexts have closed, or near the deadline. It is not inside
//! the service's context, so it may await what that does:
//!
//! | the program | its body ends with |
//! |---|---|
//! | serves until it is told to stop | `app.stopping().await; Ok(())` |
//! | does some work, and waits until all of it is done | `app.context().idle().await; Ok(())` |
//! | the same, and lets nothing new in from outside | `app.context().finish().await; Ok(())` |
//!
//! A body that returns closes what it has started, as [`with_context`](crate::with_context) does: tasks are told to end and have their
//! grace period. The other possibility would have been to wait for them, and then a task that never ends would keep the process
//! from ending, in silence.
//!
//! # Exit codes
//!
//! See [the table](crate::run()#exit-codes) of [`run`](crate::run()).
//!
//! # A dump at a signal
//!
//! `run` installs none: `app.registry().dump_on(SignalKind::user_defined1())?` in the body does. Without that `kill -USR1` ends the process,
//! as it does every process that does not listen to it.
//!
//! # Without a subscriber
//!
//! While `run` runs and no subscriber of `tracing` was ever set, warnings and errors of this crate are printed to standard error, with
//! the prefix `headcount:`, and each signal with what it does. Where `tracing` is built with its feature `log` and a logger gets the events, they are not printed a second
//! time. The reports and errors of `run` itself are printed in any case.
//!
//! # Kubernetes
//!
//! Kubernetes removes a pod from its services, and sends `SIGTERM`, at the same time: for some seconds requests go on coming. So the
//! service must go on serving after the signal, either by the drain delay or by a `preStop` hook that sleeps, not both.
//!
//! ```no_run
//! use headcount::{App, Readiness};
//! use std::{io, process::ExitCode, time::Duration};
//! use tokio::{io::AsyncWriteExt, net::TcpListener};
//!
//! fn main() -> ExitCode {
//!     App::builder("api")
//!         // Until the last load balancer has noticed.
//!         .drain_delay(Duration::from_secs(5))
//!         .deadline(Duration::from_secs(20))
//!         .run(async |app: App| {
//!             let probes = TcpListener::bind("0.0.0.0:8081").await?;
//!             // On the registry, so that it answers until the end.
//!             app.registry()
//!                 .task("probes")
//!                 .cancellable()
//!                 .spawn(answer_probes(probes, app.readiness()));
//!             app.ready();
//!             app.stopping().await;
//!             Ok::<(), io::Error>(())
//!         })
//! }
//!
//! async fn answer_probes(listener: TcpListener, readiness: Readiness) {
//!     while let Ok((mut socket, _)) = listener.accept().await {
//!         let status = if readiness.is_ready() { "200 OK" } else { "503 Service Unavailable" };
//!         let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
//!         let _ = socket.write_all(answer.as_bytes()).await;
//!     }
//! }
//! ```
//!
//! ```yaml
//! spec:
//!   # More than drain delay (5) + deadline (20) + exit_after (2).
//!   terminationGracePeriodSeconds: 30
//!   containers:
//!     - name: api
//!       # The process itself is to get the signal: no shell before it.
//!       command: ["/usr/local/bin/api"]
//!       readinessProbe:
//!         httpGet: { port: 8081, path: /readyz }
//!         periodSeconds: 2
//!       # Instead of the drain delay, for an image that has `sleep`; its time counts too.
//!       # lifecycle: { preStop: { exec: { command: ["sleep", "5"] } } }
//! ```
//!
//! What the pod has exited with is in `kubectl get pod -o jsonpath='{..lastState.terminated.exitCode}'`: 0 is a clean stop, 1 an error or
//! a report that is worth reading in the log, 143 the end by this crate's own thread, and 137 that by Kubernetes, which has waited
//! for too short a time.
//!
//! # systemd
//!
//! A unit of the type `notify`. `READY=1` is sent by [`App::ready`](crate::App::ready), `STOPPING=1` at the first signal, and then each second
//! a `STATUS` that says who is inside, which `systemctl status` shows.
//!
//! ```ini
//! [Service]
//! Type=notify
//! NotifyAccess=main
//! ExecStart=/usr/local/bin/api
//! # While the close makes progress, systemd is asked to wait 10 s longer (EXTEND_TIMEOUT_USEC). This is for one that makes none, so
//! # let it be more than drain delay + deadline + exit_after all the same.
//! TimeoutStopSec=35
//! # WATCHDOG=1 is sent at half of this, as long as the runtime runs an empty task: a process whose threads are all blocked is
//! # started again.
//! WatchdogSec=20
//! Restart=on-failure
//! # A stop that was not clean is none of the failures after which to start again. The codes are set by `unclean_code(3)`.
//! RestartPreventExitStatus=3
//! ```
//!
//! Each of them is sent by a thread of its own. Child processes inherit `NOTIFY_SOCKET`; `NotifyAccess=main` ignores what they send.
//!
//! # With a runtime of your own
//!
//! [`Registry::close_on_signals`](crate::Registry::close_on_signals) is all of that but the exit codes, systemd and the printed events.
//! [`Context::stop_on`](crate::Context::stop_on) begins the close when a future is done.
//!
//! # Windows
//!
//! The five events of a console are listened to: ctrl-c, ctrl-break, and the three after which Windows ends the process within 5 s. After
//! those three the drain delay is left out, and the deadline is 4 s at most. This part is not run by the tests.
