//! The socket of a connection, which is counted for longer than hyper drives it: until it is dropped, if it was upgraded.

use super::{connection::Connection, upgrade::UpgradedPlace};
use futures::task::AtomicWaker;
use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub(super) struct Socket<I> {
    /// `None` once it was ended by force.
    io: Option<I>,
    connection: Arc<Connection>,
    /// Given back after the socket.
    place: Option<UpgradedPlace>,
    /// Two tasks may use an upgraded socket, and the place has the waker of one.
    reader: AtomicWaker,
    writer: AtomicWaker,
}

impl<I: Unpin> Socket<I> {
    pub(super) fn new(io: I, connection: Arc<Connection>) -> Self {
        Self {
            io: Some(io),
            connection,
            place: None,
            reader: AtomicWaker::new(),
            writer: AtomicWaker::new(),
        }
    }

    /// The socket, unless the upgraded connection was aborted.
    fn io(&mut self, side: Side, cx: &mut Context<'_>) -> io::Result<Pin<&mut I>> {
        if let Some(upgraded) = self.connection.take_upgraded() {
            if upgraded.is_none() {
                // The context closed meanwhile.
                self.io = None;
            }
            self.place = upgraded;
        }
        if let Some(place) = &mut self.place {
            match side {
                Side::Read => self.reader.register(cx.waker()),
                Side::Write => self.writer.register(cx.waker()),
            }
            if place.is_aborted(cx) {
                self.end();
            }
        }
        let ended = || io::Error::new(io::ErrorKind::ConnectionAborted, "the server has closed");
        self.io.as_mut().map(Pin::new).ok_or_else(ended)
    }

    /// Ends it by force. Whatever waits for it is told.
    fn end(&mut self) {
        self.io = None;
        self.place = None;
        self.reader.wake();
        self.writer.wake();
    }
}

#[derive(Clone, Copy)]
enum Side {
    Read,
    Write,
}

impl<I: AsyncRead + Unpin> AsyncRead for Socket<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let read = this.io(Side::Read, cx)?.poll_read(cx, buffer);
        if read.is_ready() {
            this.connection.note_read();
        }
        read
    }
}

impl<I: AsyncWrite + Unpin> Socket<I> {
    /// Writes, and notes that the client took something.
    fn write<T>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut I>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let this = self.get_mut();
        let written = write(this.io(Side::Write, cx)?, cx);
        if written.is_ready() {
            this.connection.note_written();
        }
        written
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Socket<I> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, |io, cx| io.poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().io(Side::Write, cx)?.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().io(Side::Write, cx)?.poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, |io, cx| io.poll_write_vectored(cx, bytes))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }
}
