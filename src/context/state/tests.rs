//! Tests of what a registry and a context leave behind.

use super::*;
use crate::Registry;

/// I6: whatever was tracked by which context, and is dead or alive, a registry that goes leaves no memory behind.
#[tokio::test]
async fn a_registry_takes_its_table_along() {
    let registry = Registry::new();
    let table = Arc::downgrade(&registry.root().node.table);
    let ctx = registry.context("ctx");
    let (own, alive) = (registry.clone(), Arc::new("alive"));
    let tracked = Arc::clone(&alive);
    let track = async move {
        // The task's context is the parent of each entry.
        own.track(&tracked, "alive", "arc");
        for _ in 0..100 {
            own.track(&Arc::new("dead"), "dead", "arc");
        }
        drop(own.register("gone", "entry"));
        drop(own.own("gone", "value", ()));
    };
    ctx.spawn(track).await.unwrap();
    ctx.close().await;
    drop(ctx);
    assert!(table.strong_count() > 0);
    drop(registry);
    assert_eq!(table.strong_count(), 0);
    drop(alive);
}

/// I6: a context may make a limit for each request.
#[tokio::test]
async fn a_limit_that_is_dropped_leaves_nothing_in_its_context() {
    let ctx = Registry::new().context("ctx");
    let kept = ctx.limit("kept", 1);
    for _ in 0..100 {
        drop(ctx.limit("dropped", 1));
    }
    assert_eq!(ctx.core().observers.parts(), 1);
    drop(kept);
    assert_eq!(ctx.core().observers.parts(), 0);
}

#[test]
fn a_root_alone_goes_whole() {
    let root = Core::of_registry(Limits::default(), None);
    let table: Weak<_> = Arc::downgrade(&root.node.table);
    drop(root);
    assert_eq!(table.strong_count(), 0);
}
