//! Leak tests of a small cache of sessions: `cargo test --example leak_test --features testing`.
//!
//! As a program (`cargo run --example leak_test --features testing`) it runs the same checks, and shows what the one
//! that fails would tell.

use headcount::{Context, Registry, WeakContext, testing};
use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex},
};

/// Sessions by user. What is kept in here is kept open.
#[derive(Clone, Default)]
struct Sessions(Arc<Mutex<HashMap<String, Context>>>);

impl Sessions {
    fn open(&self, registry: &Registry, user: &str) -> WeakContext {
        let session = registry.context(format!("session of {user}"));
        session
            .task("heartbeat")
            .cancellable()
            .spawn(std::future::pending::<()>());
        let weak = session.downgrade();
        self.lock().insert(user.to_owned(), session);
        weak
    }

    /// Ends a session and forgets it.
    async fn end(&self, user: &str) {
        let session = self.lock().remove(user);
        if let Some(session) = session {
            session.close().await;
        }
    }

    /// Ends a session, and forgets to forget it.
    async fn end_badly(&self, user: &str) {
        let session = self.lock().get(user).cloned();
        if let Some(session) = session {
            session.close().await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Context>> {
        self.0.lock().expect("the lock is not poisoned")
    }
}

async fn a_session_leaves_nothing_behind() {
    testing::check(async |registry| {
        let sessions = Sessions::default();
        let session = sessions.open(&registry, "ada");
        sessions.end("ada").await;
        testing::assert_released(session).await;
    })
    .await;
}

async fn a_hundred_sessions_are_no_growth() {
    let sessions = Sessions::default();
    testing::assert_no_growth(10, async |registry| {
        sessions.open(&registry, "ada");
        sessions.end("ada").await;
    })
    .await;
}

/// This one fails, on purpose: the map outlives the check, and still has the session.
async fn a_session_that_is_not_forgotten(sessions: &Sessions) {
    testing::check(async |registry| {
        sessions.open(&registry, "ada");
        sessions.end_badly("ada").await;
    })
    .await;
}

#[tokio::main]
async fn main() {
    use futures::FutureExt;
    a_session_leaves_nothing_behind().await;
    a_hundred_sessions_are_no_growth().await;
    println!("two checks passed; the third one fails, because it should:\n");
    let sessions = Sessions::default();
    let check = AssertUnwindSafe(a_session_that_is_not_forgotten(&sessions));
    let failed = check.catch_unwind().await;
    assert!(failed.is_err(), "the leak was seen");
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn a_session_leaves_nothing_behind() {
        super::a_session_leaves_nothing_behind().await;
    }

    #[tokio::test]
    async fn a_hundred_sessions_are_no_growth() {
        super::a_hundred_sessions_are_no_growth().await;
    }

    #[tokio::test]
    #[should_panic(expected = "closed but still held")]
    async fn a_session_that_is_not_forgotten_is_seen() {
        let sessions = super::Sessions::default();
        super::a_session_that_is_not_forgotten(&sessions).await;
    }
}
