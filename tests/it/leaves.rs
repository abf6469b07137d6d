//! The line of the `.await`, of more things that can be awaited.

use crate::dump::{Case, LONG, case, check, ignore, sleeps};
use futures::{FutureExt, StreamExt, stream};
use std::{future::pending, pin::Pin, sync::Arc};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    sync::{Barrier, OnceCell, Semaphore, mpsc, oneshot, watch},
    time::{Instant, timeout_at},
};
use tokio_util::{
    codec::{FramedRead, LinesCodec},
    sync::CancellationToken,
    task::TaskTracker,
    time::DelayQueue,
};

#[rustfmt::skip]
fn sync_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let semaphore = Arc::new(Semaphore::new(1));
    cases.push(case(line!(), "tokio::sync::Semaphore::acquire_many", (), async move { ignore(semaphore.acquire_many(2).await) }));
    let semaphore = Arc::new(Semaphore::new(0));
    cases.push(case(line!(), "tokio::sync::Semaphore::acquire_owned", (), async move { ignore(semaphore.acquire_owned().await) }));
    let (sender, kept) = mpsc::channel::<()>(1);
    sender.try_send(()).unwrap();
    let owned = sender.clone();
    cases.push(case(line!(), "tokio::sync::mpsc::Sender::reserve", (), async move { ignore(sender.reserve().await) }));
    cases.push(case(line!(), "tokio::sync::mpsc::Sender::reserve_owned", kept, async move { ignore(owned.reserve_owned().await) }));
    let (sender, kept) = mpsc::channel::<()>(1);
    cases.push(case(line!(), "tokio::sync::mpsc::Sender::closed", kept, async move { sender.closed().await }));
    let (kept, mut receiver) = mpsc::channel::<()>(1);
    cases.push(case(line!(), "tokio::sync::mpsc::Receiver::recv_many", kept, async move { ignore(receiver.recv_many(&mut Vec::new(), 9).await) }));
    let (mut sender, kept) = oneshot::channel::<()>();
    cases.push(case(line!(), "tokio::sync::oneshot::Sender", kept, async move { sender.closed().await }));
    let (sender, kept) = watch::channel(());
    cases.push(case(line!(), "tokio::sync::watch::", kept, async move { sender.closed().await }));
    let (kept, mut receiver) = watch::channel(0);
    cases.push(case(line!(), "tokio::sync::watch::", kept, async move { ignore(receiver.wait_for(|n| *n > 0).await.map(|n| *n)) }));
    let barrier = Arc::new(Barrier::new(2));
    cases.push(case(line!(), "tokio::sync::Barrier::wait", (), async move { ignore(barrier.wait().await) }));
    let token = CancellationToken::new();
    cases.push(case(line!(), "tokio_util::sync::CancellationToken::cancelled", (), async move { token.cancelled().await }));
    let tracker = TaskTracker::new();
    let kept = tracker.token();
    cases.push(case(line!(), "tokio_util::task::TaskTracker::wait", kept, async move { tracker.wait().await }));
    cases.push(case(line!(), "tokio::time::Timeout", (), async { ignore(timeout_at(Instant::now() + LONG, pending::<()>()).await) }));
    let mut queue = DelayQueue::new();
    queue.insert((), LONG);
    cases.push(case(line!(), "tokio", (), async move { ignore(queue.next().await) }));
    cases
}

#[rustfmt::skip]
fn io_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let (kept, mut reader) = tokio::io::duplex(8);
    cases.push(case(line!(), "tokio::io::", kept, async move { ignore(reader.read(&mut [0; 8]).await) }));
    let (kept, mut writer) = tokio::io::duplex(8);
    cases.push(case(line!(), "tokio::io::", kept, async move { ignore(writer.write_all(&[0; 64]).await) }));
    let (kept, reader) = tokio::io::duplex(8);
    let mut lines = BufReader::new(reader).lines();
    cases.push(case(line!(), "tokio::io::", kept, async move { ignore(lines.next_line().await) }));
    let (kept, reader) = tokio::io::duplex(8);
    let mut framed = FramedRead::new(reader, LinesCodec::new());
    cases.push(case(line!(), "tokio", kept, async move { ignore(framed.next().await) }));
    let (kept, mut reader) = tokio::io::duplex(8);
    cases.push(case(line!(), "tokio::io::", kept, async move { ignore(tokio::io::copy(&mut reader, &mut tokio::io::sink()).await) }));
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    cases.push(case(line!(), "tokio::task::JoinHandle", stop, async move { ignore(tokio::task::spawn_blocking(move || stopped.recv()).await) }));
    cases
}

#[cfg(unix)]
#[rustfmt::skip]
fn unix_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let (kept, mut stream) = tokio::net::UnixStream::pair().unwrap();
    cases.push(case(line!(), "tokio::io::", kept, async move { ignore(stream.read(&mut [0; 8]).await) }));
    let (kept, stream) = tokio::net::UnixStream::pair().unwrap();
    cases.push(case(line!(), "tokio::net::", kept, async move { ignore(stream.readable().await) }));
    let mut signal = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).unwrap();
    cases.push(case(line!(), "tokio::signal", (), async move { ignore(signal.recv().await) }));
    cases
}

#[rustfmt::skip]
fn futures_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let lock = Arc::new(futures::lock::Mutex::new(()));
    let kept = lock.clone().try_lock_owned().unwrap();
    cases.push(case(line!(), "futures::lock::Mutex::lock", kept, async move { ignore(lock.lock().await) }));
    let shared = sleeps().boxed().shared();
    cases.push(case(line!(), "futures::future::Shared", (), async move { shared.await }));
    let (kept, receiver) = futures::channel::oneshot::channel::<()>();
    cases.push(case(line!(), "futures_channel::oneshot", kept, async move { ignore(receiver.await) }));
    let (abortable, kept) = futures::future::abortable(pending::<()>());
    cases.push(case(line!(), "Abortable", kept, async move { ignore(abortable.await) }));
    let token = CancellationToken::new();
    let other = token.clone();
    cases.push(case(line!(), "cancelled", (), async move { futures::select! { () = token.cancelled().fuse() => {} () = other.cancelled().fuse() => {} } }));
    let made = stream::unfold((), |()| async { tokio::time::sleep(LONG).await; Some(((), ())) });
    let unfolds = line!() - 1;
    let mut made = Box::pin(made);
    cases.push(case(unfolds, "tokio::time::Sleep", (), async move { ignore(made.next().await) }));
    let mut buffered = stream::iter(0..3).map(|_| sleeps()).buffered(2);
    cases.push(case(line!(), "futures::stream::FuturesUnordered", (), async move { ignore(buffered.next().await) }));
    let each = |()| async { tokio::time::sleep(LONG).await };
    let per_item = line!() - 1;
    cases.push(case(per_item, "tokio::time::Sleep", (), async move { stream::iter([()]).for_each(each).await }));
    let boxed: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async { tokio::time::sleep(LONG).await });
    let inside = line!() - 1;
    cases.push(case(inside, "tokio::time::Sleep", (), boxed));
    let once = OnceCell::<()>::new();
    cases.push(case(line!(), "tokio::time::Sleep", (), async move { ignore(once.get_or_init(|| async { tokio::time::sleep(LONG).await }).await) }));
    cases
}

#[tokio::test]
async fn more_leaves_name_the_line_of_their_await() {
    let mut all = vec![sync_cases(), io_cases(), futures_cases()];
    #[cfg(unix)]
    all.push(unix_cases());
    for case in all.into_iter().flatten() {
        check(case).await;
    }
}
