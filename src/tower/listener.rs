//! [`Listener`]: what connections come from.

use std::{fmt, io};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};

/// What connections come from: a TCP or Unix socket, or one of your own, with TLS for example.
///
/// ```
/// use headcount::tower::Listener;
/// use std::io;
/// use tokio::{io::DuplexStream, sync::mpsc};
///
/// /// Connections within the process, for tests.
/// struct InMemory(mpsc::Receiver<DuplexStream>);
///
/// impl Listener for InMemory {
///     type Io = DuplexStream;
///     type Addr = &'static str;
///
///     async fn accept(&mut self) -> io::Result<(DuplexStream, &'static str)> {
///         match self.0.recv().await {
///             Some(io) => Ok((io, "in memory")),
///             None => std::future::pending().await, // nothing will come any more
///         }
///     }
/// }
/// ```
pub trait Listener: Send + 'static {
    /// A connection.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Where it comes from. It is the name of the connection in listings, and an extension of its requests.
    type Addr: Clone + fmt::Debug + Send + Sync + 'static;

    /// Waits for the next connection.
    ///
    /// A handshake that may take long belongs into the [`Io`](Self::Io), which does it when it is first read: nothing else is accepted
    /// meanwhile.
    ///
    /// # Errors
    ///
    /// Those of the system. [`serve`](super::serve()) asks again: at once if only this connection has failed, else after a pause that grows.
    ///
    /// # Cancel safety
    ///
    /// It is dropped when the server stops.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Io, Self::Addr)>> + Send;
}

impl Listener for TcpListener {
    type Io = TcpStream;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> io::Result<(TcpStream, Self::Addr)> {
        let (stream, from) = Self::accept(self).await?;
        // The small last packet of a response is not to wait for the client. It fails where the client is gone, which is seen later.
        let _ = stream.set_nodelay(true);
        Ok((stream, from))
    }
}

#[cfg(unix)]
impl Listener for tokio::net::UnixListener {
    type Io = tokio::net::UnixStream;
    type Addr = std::sync::Arc<tokio::net::unix::SocketAddr>;

    async fn accept(&mut self) -> io::Result<(Self::Io, Self::Addr)> {
        let (stream, from) = Self::accept(self).await?;
        Ok((stream, from.into()))
    }
}
