//! The queue of jobs: the words of each note are counted behind the request that has brought it.

use headcount::Context;
use sqlx::SqlitePool;
use tokio::sync::mpsc;

/// Where jobs are put. There is room for so many; a request waits when it is full.
#[derive(Clone, Debug)]
pub struct Jobs(mpsc::Sender<i64>);

const ROOM: usize = 1_000;

impl Jobs {
    /// Starts the worker, as a task of this context.
    #[must_use]
    pub fn start(ctx: &Context, pool: SqlitePool) -> Self {
        let (send, mut queue) = mpsc::channel(ROOM);
        let own = ctx.downgrade();
        // A failure of the database is one of the report.
        ctx.task("worker").fallible().spawn(async move {
            loop {
                tokio::select! {
                    // What is in the queue comes first: the close is awaited only when that is empty.
                    biased;
                    note = queue.recv() => match note {
                        Some(note) => count_words(&pool, note).await?,
                        None => return Ok(()),
                    },
                    _ = own.cancelled() => return Ok::<_, sqlx::Error>(()),
                }
            }
        });
        Self(send)
    }

    /// Puts a note into the queue. False if the worker has ended.
    pub(crate) async fn count(&self, note: i64) -> bool {
        self.0.send(note).await.is_ok()
    }
}

async fn count_words(pool: &SqlitePool, note: i64) -> Result<(), sqlx::Error> {
    let text: (String,) = sqlx::query_as("SELECT text FROM notes WHERE id = ?")
        .bind(note)
        .fetch_one(pool)
        .await?;
    let words = i64::try_from(text.0.split_whitespace().count()).unwrap_or(i64::MAX);
    let update = sqlx::query("UPDATE notes SET words = ? WHERE id = ?");
    update.bind(words).bind(note).execute(pool).await?;
    Ok(())
}
