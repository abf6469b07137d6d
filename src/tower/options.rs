//! [`ServeOptions`]: how a server treats its connections.

use std::time::Duration;

/// How [`serve`](super::serve()) treats its connections. [`serve`](Self::serve) starts the server.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// use headcount::{Registry, tower::ServeOptions};
/// use std::{convert::Infallible, time::Duration};
/// use tokio::net::TcpListener;
/// use tower::service_fn;
///
/// let ctx = Registry::new().context("server");
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let hello = service_fn(async |_| Ok::<_, Infallible>(http::Response::new(String::from("hello"))));
/// let server = ServeOptions::new()
///     .max_connections(1_000)
///     .header_read_timeout(Duration::from_secs(10))
///     .serve(listener, hello, &ctx);
/// ctx.close().await;
/// server.await.unwrap();
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "options start no server until `serve`"]
pub struct ServeOptions {
    pub(super) max_connections: Option<usize>,
    pub(super) header_read_timeout: Duration,
}

impl ServeOptions {
    /// Any number of connections; 30 s for the head of a request.
    pub fn new() -> Self {
        Self {
            max_connections: None,
            header_read_timeout: Duration::from_secs(30),
        }
    }

    /// At most so many connections at once, upgraded ones apart. Others wait unaccepted until one has ended, first in the system's
    /// queue. At least one.
    pub fn max_connections(mut self, max: usize) -> Self {
        self.max_connections = Some(max.max(1));
        self
    }

    /// How long a client may take for the head of a request of HTTP/1, and for its first byte. After that its connection is closed;
    /// so is one that has been idle for as long.
    pub fn header_read_timeout(mut self, limit: Duration) -> Self {
        self.header_read_timeout = limit;
        self
    }
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self::new()
    }
}
