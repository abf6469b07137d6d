//! The clients: some leases that share a socket, and what is written to that.

use super::Fate;
use std::{io, net::SocketAddr, ops::Range, sync::Arc};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpStream,
    sync::Semaphore,
};

/// What the server says of one lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Word {
    /// The session was opened.
    New,
    /// The session was there.
    Back,
    Full,
    TakenOver,
    Goodbye,
    Message,
}

const WORDS: [Word; 6] = [
    Word::New,
    Word::Back,
    Word::Full,
    Word::TakenOver,
    Word::Goodbye,
    Word::Message,
];

/// What the server writes.
#[derive(Debug)]
pub(crate) struct Frame {
    /// The lease, among those that share the socket.
    pub(crate) index: u8,
    pub(crate) word: Word,
    /// That of the message.
    pub(crate) number: u32,
}

impl Frame {
    pub(crate) async fn write(&self, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let [a, b, c, d] = self.number.to_be_bytes();
        to.write_all(&[self.index, self.word as u8, a, b, c, d])
            .await
    }

    async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Self> {
        let index = from.read_u8().await?;
        let word = WORDS[usize::from(from.read_u8().await?)];
        let number = from.read_u32().await?;
        Ok(Self {
            index,
            word,
            number,
        })
    }
}

/// What a client says when it connects, of each lease.
#[derive(Clone, Copy)]
pub(crate) struct Attaching {
    pub(crate) key: u32,
    pub(crate) device: u8,
    /// The number of the last message that it has.
    pub(crate) last: u32,
}

impl Attaching {
    fn write(self, to: &mut Vec<u8>) {
        to.extend(self.key.to_be_bytes());
        to.push(self.device);
        to.extend(self.last.to_be_bytes());
    }

    pub(crate) async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Self> {
        Ok(Self {
            key: from.read_u32().await?,
            device: from.read_u8().await?,
            last: from.read_u32().await?,
        })
    }
}

/// What a client says then, after the index of the lease.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Said {
    Something,
    /// It leaves.
    Goodbye,
}

impl Said {
    pub(crate) async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Self> {
        Ok(match from.read_u8().await? {
            0 => Self::Something,
            _ => Self::Goodbye,
        })
    }
}

/// One lease, as its client knows it.
struct Line {
    key: usize,
    /// The number of the last message that it has.
    last: u32,
    /// Whether its session was new, at the last connection.
    arrival: Option<Word>,
    end: Option<Word>,
}

/// Some clients that share a socket.
pub(crate) struct Client {
    pub(crate) fate: Fate,
    address: SocketAddr,
    connecting: Arc<Semaphore>,
    device: usize,
    lines: Vec<Line>,
    socket: Option<BufReader<TcpStream>>,
}

impl Client {
    pub(crate) fn new(
        (address, connecting): (SocketAddr, &Arc<Semaphore>),
        keys: Range<usize>,
        device: usize,
        fate: Fate,
    ) -> Self {
        let line = |key| Line {
            key,
            last: 0,
            arrival: None,
            end: None,
        };
        Self {
            fate,
            address,
            connecting: Arc::clone(connecting),
            device,
            lines: keys.map(line).collect(),
            socket: None,
        }
    }

    /// In which quarter of all sessions those of this client are.
    pub(crate) fn quarter(&self, all: usize) -> usize {
        4 * self.lines[0].key / all
    }

    /// Connects, and waits until each lease has an answer.
    pub(crate) async fn connect(&mut self) {
        // Few at a time, so that none has to knock again.
        let connecting = Arc::clone(&self.connecting).acquire_owned().await;
        let socket = TcpStream::connect(self.address).await;
        let mut socket = socket.expect("the server listens");
        socket.set_nodelay(true).expect("it is connected");
        let mut hello = vec![u8::try_from(self.lines.len()).expect("not so many share a socket")];
        for line in &mut self.lines {
            (line.arrival, line.end) = (None, None);
            let (key, device) = (line.key, self.device);
            let attaching = Attaching {
                key: u32::try_from(key).expect("not so many sessions"),
                device: u8::try_from(device).expect("not so many devices"),
                last: line.last,
            };
            attaching.write(&mut hello);
        }
        socket.write_all(&hello).await.expect("the server reads");
        self.socket = Some(BufReader::with_capacity(256, socket));
        self.until(|line| line.arrival.is_some() || line.end.is_some())
            .await;
        drop(connecting);
    }

    fn socket(&mut self) -> &mut BufReader<TcpStream> {
        self.socket.as_mut().expect("it is connected")
    }

    /// Reads on until something is so of each lease.
    async fn until(&mut self, is_so: impl Fn(&Line) -> bool) {
        while !self.lines.iter().all(&is_so) {
            let frame = Frame::read(self.socket()).await;
            let frame = frame.expect("the server has more to say");
            self.take(&frame);
        }
    }

    /// No message is missing, and none comes twice.
    fn take(&mut self, frame: &Frame) {
        let line = &mut self.lines[usize::from(frame.index)];
        match frame.word {
            Word::Message => {
                assert_eq!(frame.number, line.last + 1, "session {}", line.key);
                line.last = frame.number;
            }
            Word::New | Word::Back => line.arrival = Some(frame.word),
            Word::Full | Word::TakenOver | Word::Goodbye => line.end = Some(frame.word),
        }
    }

    /// What it asks for does not come true: it is thrown out.
    fn assert_in(&self) {
        for Line { key, end, .. } in &self.lines {
            assert_eq!(*end, None, "session {key}");
        }
    }

    /// Waits until it has this message in each session.
    pub(crate) async fn hear(&mut self, number: u32) {
        self.until(|line| line.last >= number || line.end.is_some())
            .await;
        self.assert_in();
    }

    /// Says something in each session.
    pub(crate) async fn say(&mut self) {
        self.send(Said::Something).await;
    }

    async fn send(&mut self, said: Said) {
        let indices = 0..u8::try_from(self.lines.len()).expect("not so many share a socket");
        let bytes: Vec<u8> = indices.flat_map(|index| [index, said as u8]).collect();
        let sent = self.socket().write_all(&bytes).await;
        sent.expect("the server reads");
    }

    /// Resets the connection.
    pub(crate) fn cut_off(&mut self) {
        let socket = self.socket.take().expect("it is connected");
        let is_set = socket.get_ref().set_zero_linger();
        is_set.expect("it is connected");
    }

    /// Connects again, if it has to, and finds the sessions that it had.
    pub(crate) async fn come_back(&mut self) {
        if self.fate == Fate::Stays {
            return;
        }
        let before = self.socket.take();
        self.connect().await;
        self.assert_arrived(|arrival| arrival == Word::Back);
        if let Some(mut before) = before {
            // The first connection was told so, and its end comes late.
            let mut ended = 0;
            while let Ok(frame) = Frame::read(&mut before).await {
                // It may have heard before what the second one hears as well.
                if frame.word != Word::Message {
                    assert_eq!(frame.word, Word::TakenOver);
                    ended += 1;
                }
            }
            assert_eq!(ended, self.lines.len());
        }
    }

    /// It came in, and in this way.
    pub(crate) fn assert_arrived(&self, is_so: impl Fn(Word) -> bool) {
        self.assert_in();
        for line in &self.lines {
            let arrival = line.arrival.expect("it came in");
            assert!(is_so(arrival), "session {}: {arrival:?}", line.key);
        }
    }

    /// Connects to sessions of which it has no messages.
    pub(crate) async fn connect_anew(&mut self) {
        for line in &mut self.lines {
            line.last = 0;
        }
        self.connect().await;
        self.assert_in();
    }

    pub(crate) async fn assert_full(&mut self) {
        self.connect().await;
        for line in &self.lines {
            assert_eq!((line.arrival, line.end), (None, Some(Word::Full)));
        }
    }

    /// Leaves all sessions.
    pub(crate) async fn quit(&mut self) {
        self.send(Said::Goodbye).await;
        self.until_goodbye().await;
    }

    pub(crate) async fn until_goodbye(&mut self) {
        self.until(|line| line.end.is_some()).await;
        for Line { key, end, .. } in &self.lines {
            assert_eq!(*end, Some(Word::Goodbye), "session {key}");
        }
        drop(self.socket.take());
    }
}
