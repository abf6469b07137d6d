//! The crate's own examples stand a close at every moment.

use crate::close_anywhere::GENTLE;
use headcount::{
    CloseReason, Context, Registry, Tracked, WeakContext, WeakTracked,
    testing::{CloseAnywhere, close_anywhere},
};
use std::{
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream, duplex},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::yield_now,
    time::sleep,
};

#[expect(
    dead_code,
    reason = "an example, which is a program with its own `main`"
)]
#[path = "../../examples/service.rs"]
mod service;

#[test]
fn the_example_quickstart_may_be_closed_anywhere() {
    close_anywhere(async |registry| {
        let server = registry.context("server");
        let conn = server.child("conn-1");
        conn.task("reader").cancellable().spawn(pending::<()>());
        let ctx = conn.downgrade();
        conn.task("writer").spawn(async move {
            ctx.cancelled().await;
            sleep(Duration::from_millis(20)).await;
        });
        drop(registry.live().await);
        sleep(Duration::from_millis(5)).await;
        server.close().await;
    });
}

/// The example itself: jobs that save in a database.
#[test]
fn the_example_service_may_be_closed_anywhere() {
    let scenario = async |registry: Registry, disk: service::Disk| {
        let (jobs, db) = service::open(&registry, &disk);
        sleep(Duration::from_millis(10)).await;
        drop((jobs, db));
    };
    // A job whose save is aborted says so by a panic, and nothing opens where all is closed.
    let anywhere = CloseAnywhere::new().allow_panics().rounds(50);
    anywhere.run_with(service::Disk::default, scenario, |_| {});

    let all_or_none = |disk: service::Disk| assert!([0, service::JOBS].contains(&disk.rows()));
    let gentle = CloseAnywhere::new().allow_panics().disturbances(GENTLE);
    gentle.run_with(service::Disk::default, scenario, all_or_none);
}

/// With tasks that ignore the close, and hooks that fail and hang.
#[test]
fn the_example_shutdown_may_be_closed_anywhere() {
    const LIMIT: Duration = Duration::from_millis(200);
    async fn listen(api: WeakContext) {
        api.cancelled().await;
    }
    let scenario = async |registry: Registry| {
        let service = registry
            .context_builder("service")
            .kind("service")
            .grace(LIMIT)
            .hook_timeout(LIMIT)
            .open();
        // Refused where all is closed.
        let _ = service.on_close(|| async {});
        let _ = service.on_close(|| async { Err::<(), _>("deregister: no route to host") });
        let _ = service.on_close(pending::<()>);
        let api = service.child("api");
        api.task("listener").spawn(listen(api.downgrade()));
        api.task("metrics").cancellable().spawn(pending::<()>());
        let storage = service.child("storage");
        storage.task("stubborn").spawn(pending::<()>());
        let looks = storage.downgrade();
        storage.task("compactor").spawn_blocking(move || {
            while !looks.is_cancelled() {
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        // The clock stands still while the closure runs.
        yield_now().await;
        service.request_close(CloseReason::Shutdown);
        let _ = service.close_within(LIMIT).await;
        service.close().await;
    };
    CloseAnywhere::new()
        .allow_unclean_closes()
        .limit(Duration::from_secs(2))
        .run(scenario);
}

/// Over pipes: a socket takes real time.
#[test]
fn the_example_pool_may_be_closed_anywhere() {
    CloseAnywhere::new().rounds(40).run(async |registry| {
        let echo = registry.context("echo server");
        let Some(pool) = Pool::open(&registry, &echo) else {
            return;
        };
        let app = registry.context("app");
        let workers: Vec<_> = (0..3)
            .map(|n| app.task(format!("worker-{n}")).spawn(work(pool.clone(), n)))
            .collect();
        for worker in workers {
            let _ = worker.await;
        }
        pool.context.close().await;
        app.close().await;
        echo.close().await;
    });
}

const CONNECTIONS: usize = 2;

#[derive(Clone)]
struct Pool {
    context: Context,
    free: Arc<Free>,
}

struct Free {
    connections: Mutex<Vec<WeakTracked<Connection>>>,
    permits: Arc<Semaphore>,
}

struct Connection(tokio::sync::Mutex<BufReader<DuplexStream>>);

struct Lease {
    connection: Tracked<Connection>,
    free: Arc<Free>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let connection = self.connection.downgrade();
        self.free.connections.lock().unwrap().push(connection);
    }
}

impl Pool {
    /// None where all is closed.
    fn open(registry: &Registry, echo: &Context) -> Option<Self> {
        let context = registry.context_builder("pool").kind("pool").open();
        let mut connections = Vec::new();
        for n in 0..CONNECTIONS {
            let (ours, theirs) = duplex(64);
            echo.task(format!("echo {n}"))
                .cancellable()
                .spawn(echo_all(theirs));
            let connection = Connection(tokio::sync::Mutex::new(BufReader::new(ours)));
            let name = format!("conn-{n}");
            let connection = context.own(name, "connection", connection).ok()?;
            let leaving = connection.downgrade();
            context.on_close(move || say_goodbye(leaving)).ok()?;
            connections.push(connection.downgrade());
        }
        let free = Arc::new(Free {
            connections: Mutex::new(connections),
            permits: Arc::new(Semaphore::new(CONNECTIONS)),
        });
        let doorkeeper = see_everybody_out(context.downgrade(), Arc::clone(&free));
        context.task("doorkeeper").spawn(doorkeeper);
        Some(Self { context, free })
    }

    async fn check_out(&self) -> Option<Lease> {
        let permit = Arc::clone(&self.free.permits).acquire_owned().await.ok()?;
        let connection = self.free.connections.lock().unwrap().pop();
        Some(Lease {
            connection: connection?.upgrade()?,
            free: Arc::clone(&self.free),
            _permit: permit,
        })
    }
}

async fn see_everybody_out(pool: WeakContext, free: Arc<Free>) {
    pool.cancelled().await;
    let everything = u32::try_from(CONNECTIONS).unwrap();
    let all_back = free.permits.acquire_many(everything).await;
    free.permits.close();
    drop(all_back);
}

async fn work(pool: Pool, n: usize) -> Option<()> {
    for question in 0..2 {
        let lease = pool.check_out().await?;
        let mut stream = lease.connection.0.lock().await;
        let question = format!("worker {n} asks {question}\n");
        stream.write_all(question.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_line(&mut answer).await.ok()?;
        drop(stream);
        sleep(Duration::from_millis(5)).await;
    }
    Some(())
}

async fn say_goodbye(connection: WeakTracked<Connection>) -> std::io::Result<()> {
    if let Some(connection) = connection.upgrade() {
        let mut stream = connection.0.lock().await;
        stream.shutdown().await?;
        stream.read_to_end(&mut Vec::new()).await?;
    }
    Ok(())
}

async fn echo_all(stream: DuplexStream) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let _ = tokio::io::copy(&mut reader, &mut writer).await;
    let _ = writer.shutdown().await;
}
