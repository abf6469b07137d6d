//! [`Signals`]: the signals that stop a service.

use std::{future::poll_fn, io, task::Poll, time::Duration};

/// A signal that the process got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Received {
    pub(super) name: &'static str,
    /// The exit code of a process that this signal ends, as shells count: 128 and the number of the signal.
    pub(super) exit_code: u8,
    /// How long the system waits before it ends the process. Only Windows says so.
    pub(super) limit: Option<Duration>,
}

impl Received {
    const fn new(name: &'static str, exit_code: u8) -> Self {
        Self {
            name,
            exit_code,
            limit: None,
        }
    }
}

const INTERRUPT: Received = Received::new("SIGINT", 130);
#[cfg(unix)]
const TERMINATE: Received = Received::new("SIGTERM", 143);

/// Listens to `SIGINT`, which is ctrl-c, and to `SIGTERM`.
#[cfg(unix)]
pub(super) struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    /// Begins to listen, inside of a runtime: from here on these signals do not end the process by themselves.
    pub(super) fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    pub(super) async fn next(&mut self) -> Received {
        poll_fn(|cx| {
            if let Poll::Ready(Some(())) = self.interrupt.poll_recv(cx) {
                return Poll::Ready(INTERRUPT);
            }
            match self.terminate.poll_recv(cx) {
                Poll::Ready(Some(())) => Poll::Ready(TERMINATE),
                _ => Poll::Pending,
            }
        })
        .await
    }
}

/// After the last three of these events Windows ends the process within 5 s.
#[cfg(windows)]
const WINDOWS_LIMIT: Duration = Duration::from_secs(4);

/// Listens to the five events of a console.
#[cfg(windows)]
pub(super) struct Signals {
    ctrl_c: tokio::signal::windows::CtrlC,
    ctrl_break: tokio::signal::windows::CtrlBreak,
    close: tokio::signal::windows::CtrlClose,
    logoff: tokio::signal::windows::CtrlLogoff,
    shutdown: tokio::signal::windows::CtrlShutdown,
}

#[cfg(windows)]
impl Signals {
    /// Begins to listen: from here on these events do not end the process by themselves.
    pub(super) fn listen() -> io::Result<Self> {
        use tokio::signal::windows;
        Ok(Self {
            ctrl_c: windows::ctrl_c()?,
            ctrl_break: windows::ctrl_break()?,
            close: windows::ctrl_close()?,
            logoff: windows::ctrl_logoff()?,
            shutdown: windows::ctrl_shutdown()?,
        })
    }

    pub(super) async fn next(&mut self) -> Received {
        let hasty = |name| Received {
            limit: Some(WINDOWS_LIMIT),
            ..Received::new(name, 143)
        };
        poll_fn(|cx| {
            if let Poll::Ready(Some(())) = self.ctrl_c.poll_recv(cx) {
                return Poll::Ready(INTERRUPT);
            }
            if let Poll::Ready(Some(())) = self.ctrl_break.poll_recv(cx) {
                return Poll::Ready(Received::new("ctrl-break", 130));
            }
            if let Poll::Ready(Some(())) = self.close.poll_recv(cx) {
                return Poll::Ready(hasty("the close of the console"));
            }
            if let Poll::Ready(Some(())) = self.logoff.poll_recv(cx) {
                return Poll::Ready(hasty("the logoff of the user"));
            }
            match self.shutdown.poll_recv(cx) {
                Poll::Ready(Some(())) => Poll::Ready(hasty("the shutdown of the system")),
                _ => Poll::Pending,
            }
        })
        .await
    }
}
