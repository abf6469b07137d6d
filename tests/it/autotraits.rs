//! Which types may cross threads, and which may not.

use headcount::{
    AbortHandle, AbortOnDrop, CloseReason, CloseReport, ClosedError, Context, ContextBuilder,
    Holder, Holders, Hook, Level, Live, ReadySender, RefusedError, Registration, Registry,
    Resource, ResourceId, StartError, State, StillClosing, Task, TaskBuilder, TaskError, TaskRef,
    TaskSet, Tracked, WeakContext, WeakTracked, Wrapped,
    leaks::{Allow, Finding, Graph, Growth, GrowthEntry, LeakPolicy, LeakReport, LeakWatch},
};
use std::rc::Rc;

macro_rules! assert_impl {
    ($($ty:ty: $first:path $(, $more:path)*);* $(;)?) => {
        $({
            fn check<T: $first $(+ $more)*>() {}
            check::<$ty>();
        })*
    };
}

/// Fails to compile if the type has the trait: then both impls apply and `_` is ambiguous.
macro_rules! assert_not_impl {
    ($($ty:ty: $bound:path);* $(;)?) => {
        $({
            trait AmbiguousIf<A> { fn check() {} }
            impl<T: ?Sized> AmbiguousIf<()> for T {}
            struct Invalid;
            impl<T: ?Sized + $bound> AmbiguousIf<Invalid> for T {}
            let _ = <$ty as AmbiguousIf<_>>::check;
        })*
    };
}

#[test]
fn types_cross_threads_as_documented() {
    assert_impl! {
        Registry: Send, Sync, Clone, Unpin;
        Level: Send, Sync, Copy, std::str::FromStr;
        Holders: Send, Sync, Clone;
        Holder: Send, Sync, Clone;
        Allow: Send, Sync, Clone;
        LeakPolicy: Send, Sync, Clone, Default;
        LeakReport: Send, Sync, Clone, Unpin;
        Finding: Send, Sync, Clone;
        Graph: Send, Sync, Clone;
        Growth: Send, Sync;
        GrowthEntry: Send, Sync, Clone;
        LeakWatch: Send, Sync;
        Context: Send, Sync, Clone, Unpin;
        WeakContext: Send, Sync, Clone, Unpin;
        ContextBuilder<'static>: Send, Sync;
        Task<u8>: Send, Sync, Unpin;
        TaskBuilder<'static>: Send, Sync;
        TaskError: Send, Sync, Clone, std::error::Error;
        AbortHandle: Send, Sync, Clone, Unpin;
        AbortOnDrop<u8>: Send, Sync, Unpin;
        TaskRef: Send, Sync, Clone;
        TaskSet<u8>: Send, Sync, Unpin;
        ReadySender<u8>: Send, Sync;
        StartError<u8>: Send, Sync, Clone, std::error::Error;
        Registration: Send, Sync;
        Tracked<u8>: Send, Sync, Clone;
        WeakTracked<u8>: Send, Sync, Clone;
        Live: Send, Sync, Clone;
        Resource: Send, Sync, Clone;
        ResourceId: Send, Sync, Copy, Ord, std::hash::Hash;
        State: Send, Sync, Copy;
        CloseReport: Send, Sync, Clone;
        CloseReason: Send, Sync, Clone;
        StillClosing: Send, Sync, std::error::Error;
        Hook: Send, Sync;
        ClosedError<u8>: Send, Sync, std::error::Error;
        RefusedError<u8>: Send, Sync, std::error::Error;
        Wrapped<std::future::Ready<()>>: Send;
    }
    assert_not_impl! {
        Task<Rc<u8>>: Send;
        Task<Rc<u8>>: Sync;
        AbortOnDrop<Rc<u8>>: Send;
        TaskSet<Rc<u8>>: Send;
        Wrapped<std::future::Ready<Rc<u8>>>: Send;
        Tracked<Rc<u8>>: Send;
        Tracked<std::cell::Cell<u8>>: Send;
    }
}

#[test]
fn futures_of_the_interface_are_send() {
    fn is_send<T: Send>(_: T) {}
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    is_send(registry.live());
    is_send(registry.idle());
    is_send(registry.close());
    is_send(registry.close_within(std::time::Duration::ZERO));
    is_send(registry.scope(async {}));
    is_send(ctx.live());
    is_send(ctx.close());
    is_send(ctx.closed());
    is_send(ctx.close_within(std::time::Duration::ZERO));
    is_send(ctx.cancelled());
    is_send(ctx.run_until_cancelled(async {}));
    is_send(ctx.downgrade().cancelled());
    is_send(headcount::live());
    is_send(Task::<u8>::finished);
    is_send(TaskSet::<u8>::join_next);
}

/// They borrow nothing, so they can be spawned, also when the handle is gone.
#[tokio::test]
async fn what_waits_for_a_context_can_be_spawned() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let (weak, limit) = (ctx.downgrade(), std::time::Duration::MAX);
    let cancelled = tokio::spawn(ctx.cancelled_owned());
    let cancelled_too = tokio::spawn(weak.cancelled_owned());
    let closed = tokio::spawn(ctx.closed());
    let closing = tokio::spawn(ctx.close_within(limit));
    let close = tokio::spawn(ctx.close());
    drop(ctx);
    assert!(close.await.unwrap().is_clean());
    assert!(closing.await.unwrap().is_ok() && closed.await.unwrap().is_clean());
    cancelled.await.unwrap();
    cancelled_too.await.unwrap();
    assert!(
        tokio::spawn(registry.close_within(limit))
            .await
            .unwrap()
            .is_ok()
    );
    assert!(tokio::spawn(registry.close()).await.unwrap().is_clean());
}

#[cfg(feature = "supervision")]
#[test]
fn supervised_tasks_cross_threads() {
    use headcount::supervision::{
        Attempt, Restart, Supervised, SupervisedBuilder, SupervisedState, SupervisionEnd, Unless,
    };
    assert_impl! {
        Supervised: Send, Sync, Clone, Unpin;
        SupervisedBuilder<'static>: Send, Sync;
        SupervisedState: Send, Sync, Copy;
        SupervisionEnd: Send, Sync, Clone;
        Attempt: Send, Sync, Clone;
        Restart: Send, Sync, Clone;
        Restart<Unless<Rc<u8>>>: Send, Sync, Clone;
    }
}
