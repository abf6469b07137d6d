//! A service that keeps notes. Its parts are contexts, and close in this order, because each needs the next:
//!
//! 1. `web`: the server. Requests in flight end; event streams and web sockets are told to.
//! 2. `jobs`: the queue. What requests have put into it is done.
//! 3. `pool`: the connections to the database.

mod jobs;
mod routes;

pub use jobs::Jobs;

use headcount::{Context, Readiness, tower};
use sqlx::sqlite::{SqlitePool, SqlitePoolOptions};
use std::error::Error;
use tokio::{net::TcpListener, sync::broadcast};

/// The service while it runs. When this is dropped its parts close.
#[derive(Debug)]
pub struct Service {
    // Each part is closed when its last handle is dropped, and not before those that need it.
    _web: Context,
    _jobs: Context,
    _pool: Context,
}

/// What handlers use.
#[derive(Clone, Debug)]
pub struct State {
    pub(crate) pool: SqlitePool,
    pub(crate) jobs: Jobs,
    pub(crate) news: broadcast::Sender<String>,
    pub(crate) readiness: Readiness,
}

impl Service {
    /// Starts it below this context.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub async fn start(
        ctx: &Context,
        readiness: Readiness,
        listener: TcpListener,
    ) -> Result<Self, Box<dyn Error>> {
        let pool_ctx = ctx.child("pool");
        let pool = open_pool().await?;
        let closing = pool.clone();
        pool_ctx.on_close(async move || close_pool(closing).await)?;

        let jobs_ctx = ctx.child_builder("jobs").needs(&pool_ctx).open();
        let jobs = Jobs::start(&jobs_ctx, pool.clone());

        let web = ctx
            .child_builder("web")
            .needs(&jobs_ctx)
            .needs(&pool_ctx)
            .open();
        let state = State {
            pool,
            jobs,
            news: broadcast::channel(64).0,
            readiness,
        };
        drop(tower::serve(listener, routes::router(state), &web));
        Ok(Self {
            _web: web,
            _jobs: jobs_ctx,
            _pool: pool_ctx,
        })
    }
}

/// In memory, and so with one connection, which is never closed for being idle.
async fn open_pool() -> Result<SqlitePool, sqlx::Error> {
    let options = SqlitePoolOptions::new().max_connections(1);
    let options = options.idle_timeout(None).max_lifetime(None);
    let pool = options.connect("sqlite::memory:").await?;
    let table = "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT, words INTEGER)";
    sqlx::query(table).execute(&pool).await?;
    Ok(pool)
}

/// Runs when nothing uses the pool any more.
async fn close_pool(pool: SqlitePool) -> Result<(), sqlx::Error> {
    let (notes, counted): (i64, i64) = sqlx::query_as("SELECT COUNT(*), COUNT(words) FROM notes")
        .fetch_one(&pool)
        .await?;
    println!("{notes} notes, the words of {counted} counted");
    pool.close().await;
    Ok(())
}
