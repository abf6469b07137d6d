//! The test kit.

use futures::FutureExt;
use headcount::{
    Level, Registry, WeakContext,
    testing::{self, Check, LeakGuard},
};
use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

const SOON: Duration = Duration::from_millis(50);

/// What a future panics with.
async fn panic_of(future: impl Future<Output = ()>) -> String {
    let payload = AssertUnwindSafe(future)
        .catch_unwind()
        .await
        .expect_err("it does not panic");
    payload
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| payload.downcast_ref::<&str>().map(|s| (*s).to_owned()))
        .expect("it panics with words")
}

#[tokio::test]
async fn a_clean_body_passes_and_its_output_is_handed_through() {
    let answer = testing::check(async |registry| {
        let ctx = registry.context("ctx");
        let answer = ctx.spawn(async { 42 }).await.unwrap();
        ctx.close().await;
        answer
    })
    .await;
    assert_eq!(answer, 42);
}

#[tokio::test]
async fn a_leak_fails_with_the_line_of_the_check_and_of_the_leak() {
    let said = panic_of(Check::new().settle(SOON).run(async |registry| {
        std::mem::forget(registry.context("forgotten"));
    }))
    .await;
    println!("{said}");
    let here = concat!(file!(), ":");
    assert!(
        said.contains(&format!("at the end of the check at {here}")),
        "{said}"
    );
    assert!(said.contains("context forgotten: still there"), "{said}");
}
