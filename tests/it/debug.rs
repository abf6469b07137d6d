//! `Debug` names what it is of, and prints no values of users.

use crate::util::current_thread;
use headcount::{CloseReason, Registry};
use std::time::Duration;

/// A value that must not be printed.
struct Secret;

impl std::fmt::Debug for Secret {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("a user's value was printed")
    }
}

#[test]
fn debug_names_everything_and_prints_no_values() {
    current_thread().block_on(async {
        let registry = Registry::new();
        let builder = registry
            .context_builder("the context")
            .grace(Duration::from_secs(7));
        let said = format!("{builder:?}");
        assert!(
            said.contains("ContextBuilder") && said.contains("the context") && said.contains("7s"),
            "{said}"
        );
        let ctx = builder.open();
        let owned = ctx.own("the value", "secret", Secret).unwrap();
        let registration = registry.register("the entry", "entry");
        let hook = ctx.on_close(|| async {}).unwrap();
        let task_builder = ctx.task("the task").kind("odd");
        let said = format!("{task_builder:?}");
        assert!(said.contains("the task") && said.contains("odd"), "{said}");
        let task = task_builder.spawn(async { Secret });
        let wrapped = ctx.wrap(async { Secret });
        for (said, parts) in [
            (format!("{registry:?}"), ["Registry", "count"]),
            (format!("{ctx:?}"), ["Context", "the context"]),
            (
                format!("{:?}", ctx.downgrade()),
                ["WeakContext", "the context"],
            ),
            (format!("{owned:?}"), ["Tracked", "the value"]),
            (
                format!("{:?}", owned.downgrade()),
                ["WeakTracked", "strong_count: "],
            ),
            (format!("{registration:?}"), ["Registration", "the entry"]),
            (format!("{task:?}"), ["Task", "the task"]),
            (format!("{wrapped:?}"), ["Wrapped", "has_ended: false"]),
            (
                format!("{:?}", registry.live_now()),
                ["the task", "the entry"],
            ),
            (format!("{hook:?}"), ["Hook", ""]),
            (format!("{:?}", ctx.id()), ["ResourceId(#", ""]),
        ] {
            for part in parts {
                assert!(said.contains(part), "{said} lacks {part}");
            }
        }
        drop((task, wrapped, owned));
        ctx.request_close(CloseReason::Requested("enough".into()));
        let report = ctx.closed().await;
        let said = format!("{report:?}");
        assert!(
            said.contains("the context") && said.contains("enough"),
            "{said}"
        );
        drop(registration);
    });
}
