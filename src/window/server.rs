//! [`WindowServer`]: a server for programs that have none.

use crate::window::{access::Peer, error::WindowError, routes::whole, shared::Shared};
use axum::{
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use std::{
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::sync::DropGuard;

/// How many connections there may be at once. More of them wait to be accepted.
const CONNECTIONS: usize = 256;

/// A window that is served. Made by [`Window::serve`](crate::window::Window::serve).
///
/// It stops when this is dropped: it accepts no more connections, its streams end, and requests that are being answered get their answer.
/// Nothing waits for that. It goes on when the registry is closed, or gone, so that one can look at what became of it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = headcount::Registry::new();
/// let server = registry.window().serve("127.0.0.1:0").await?;
/// println!("look at http://{}", server.address());
/// assert!(server.address().ip().is_loopback());
/// assert!(registry.is_empty()); // it is no task of the registry
/// # Ok(()) }
/// ```
#[must_use = "it stops when this is dropped"]
pub struct WindowServer {
    address: SocketAddr,
    stop: DropGuard,
}

impl WindowServer {
    /// Begins to serve on this listener. Its tasks are tokio's own, which no context counts.
    pub(crate) fn start(listener: TcpListener, shared: Arc<Shared>) -> Result<Self, WindowError> {
        let address = listener.local_addr().map_err(WindowError::Io)?;
        let stop = shared.stop.clone();
        let stopped = stop.clone().cancelled_owned();
        let service = whole(shared).into_make_service_with_connect_info::<Peer>();
        let listener = Limited {
            listener,
            places: Arc::new(Semaphore::new(CONNECTIONS)),
        };
        let serving = axum::serve(listener, service).with_graceful_shutdown(stopped);
        tokio::spawn(serving.into_future());
        Ok(Self {
            address,
            stop: stop.drop_guard(),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Goes on serving for as long as the runtime lives.
    pub fn detach(self) {
        self.stop.disarm();
    }
}

impl fmt::Debug for WindowServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WindowServer")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// A listener that has so many connections at most.
struct Limited {
    listener: TcpListener,
    places: Arc<Semaphore>,
}

impl Listener for Limited {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let place = Arc::clone(&self.places).acquire_owned().await;
        let place = place.expect("the semaphore is never closed");
        // axum's own: an error of one connection ends nothing, and it waits a little where the process has no more descriptors.
        let (stream, peer) = Listener::accept(&mut self.listener).await;
        let connection = Connection {
            stream,
            _place: place,
        };
        (connection, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection, and its place among those that there may be.
struct Connection {
    stream: TcpStream,
    _place: OwnedSemaphorePermit,
}

impl Connected<IncomingStream<'_, Limited>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Limited>) -> Self {
        Self(*stream.remote_addr())
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
