//! I13, I11, I14: a chain of 50,000 contexts ends in every way there is, on 2 MiB of stack.

use crate::common::{current_thread, multi_thread, short_or_full, soon, wait_for, within};
use headcount::{CloseReason, Context, Registry, State, WeakContext};
use std::time::Duration;
use tokio::{runtime::Runtime, time::timeout};

const DEPTH: usize = 50_000;
const LIMIT: Duration = Duration::from_secs(300);

fn depth() -> usize {
    short_or_full(DEPTH, 4 * DEPTH)
}

/// The order in which the handles of a chain are dropped.
#[derive(Clone, Copy, Debug)]
enum Order {
    RootFirst,
    LeafFirst,
    /// As the destructor of a `Vec` does it.
    AllInOne,
    /// Every second one, then the others.
    Combed,
}

const ORDERS: [Order; 4] = [
    Order::RootFirst,
    Order::LeafFirst,
    Order::AllInOne,
    Order::Combed,
];

impl Order {
    fn drop(self, mut chain: Vec<Context>) {
        match self {
            Self::RootFirst => chain.into_iter().for_each(drop),
            Self::LeafFirst => {
                while let Some(leaf) = chain.pop() {
                    drop(leaf);
                }
            }
            Self::AllInOne => drop(chain),
            Self::Combed => {
                let mut left = Vec::new();
                for (number, ctx) in chain.into_iter().enumerate() {
                    if number % 2 == 0 {
                        drop(ctx);
                    } else {
                        left.push(ctx);
                    }
                }
                drop(left);
            }
        }
    }
}

/// From the root down.
fn chain(registry: &Registry) -> Vec<Context> {
    let mut chain = vec![registry.context("root")];
    for _ in 1..depth() {
        let child = chain[chain.len() - 1].child("link");
        chain.push(child);
    }
    chain
}

fn runtimes() -> [Runtime; 2] {
    [current_thread(), multi_thread(2)]
}

/// A weak handle to the leaf holds the identities of all its ancestors; it goes last.
fn leaf(chain: &[Context]) -> WeakContext {
    chain[chain.len() - 1].downgrade()
}

fn assert_gone(registry: &Registry, leaf: WeakContext) {
    assert_eq!(registry.count(), 0);
    assert!(registry.live_now().is_empty());
    assert_eq!(leaf.state(), State::Closed);
    assert!(leaf.upgrade().is_none());
    drop(leaf);
}

#[test]
#[ignore = "stress: takes seconds, run by .ci/run"]
fn a_deep_chain_is_closed_from_its_root() {
    within(LIMIT, |notes| {
        for runtime in runtimes() {
            let registry = Registry::new();
            runtime.block_on(async {
                let chain = chain(&registry);
                let leaf = leaf(&chain);
                notes.now("a close");
                let report = soon("close", chain[0].close()).await;
                assert_eq!(report.children(), depth() as u64 - 1);
                assert!(chain.iter().all(|ctx| ctx.state() == State::Closed));
                assert_eq!(registry.count(), depth(), "closed, and held");
                let last = soon("closed", chain[chain.len() - 1].closed()).await;
                assert!(matches!(last.reason(), CloseReason::Parent(_)));
                notes.now("the drop of the handles");
                drop(chain);
                assert_gone(&registry, leaf);
            });
        }
    });
}

#[test]
#[ignore = "stress: takes seconds, run by .ci/run"]
fn a_deep_chain_with_a_task_in_every_link_is_closed_from_its_root() {
    within(LIMIT, |notes| {
        for runtime in runtimes() {
            let registry = Registry::new();
            runtime.block_on(async {
                let chain = chain(&registry);
                for ctx in &chain {
                    let task = ctx.task("sleeper").cancellable();
                    drop(task.spawn(std::future::pending::<()>()));
                }
                tokio::task::yield_now().await;
                notes.now("a close");
                let report = soon("close", chain[0].close()).await;
                assert_eq!(report.children(), depth() as u64 - 1);
                assert_eq!(report.cancelled(), depth() as u64);
                let leaf = leaf(&chain);
                drop(chain);
                assert_gone(&registry, leaf);
            });
        }
    });
}

#[test]
#[ignore = "stress: takes seconds, run by .ci/run"]
fn a_deep_chain_is_dropped_inside_a_runtime() {
    within(LIMIT, |notes| {
        for order in ORDERS {
            for runtime in runtimes() {
                let registry = Registry::new();
                runtime.block_on(async {
                    let chain = chain(&registry);
                    let leaf = leaf(&chain);
                    notes.now(format_args!("{order:?}, dropping"));
                    order.drop(chain);
                    notes.now(format_args!("{order:?}, waiting"));
                    soon("idle", registry.idle()).await;
                    assert_gone(&registry, leaf);
                });
            }
        }
    });
}

#[test]
#[ignore = "stress: takes seconds, run by .ci/run"]
fn a_deep_chain_is_dropped_when_its_runtime_is_gone() {
    within(LIMIT, |notes| {
        for order in ORDERS {
            for runtime in runtimes() {
                let registry = Registry::new();
                let chain = runtime.block_on(async { chain(&registry) });
                drop(runtime);
                let leaf = leaf(&chain);
                notes.now(format_args!("{order:?}, dropping"));
                order.drop(chain);
                assert_gone(&registry, leaf);
                wait_for("idle", registry.idle());
            }
        }
    });
}

#[test]
#[ignore = "stress: takes seconds, run by .ci/run"]
fn a_deep_chain_that_never_saw_a_runtime_is_dropped() {
    within(LIMIT, |notes| {
        for order in ORDERS {
            let registry = Registry::new();
            let chain = chain(&registry);
            let leaf = leaf(&chain);
            notes.now(format_args!("{order:?}, dropping"));
            order.drop(chain);
            assert_gone(&registry, leaf);
            wait_for("idle", registry.idle());
        }
    });
}

#[test]
#[ignore = "stress: takes seconds, run by .ci/run"]
fn a_runtime_ends_in_the_middle_of_the_close_of_a_deep_chain() {
    within(LIMIT, |notes| {
        for order in ORDERS {
            for runtime in runtimes() {
                let registry = Registry::new();
                let chain = runtime.block_on(async { chain(&registry) });
                let leaf = leaf(&chain);
                notes.now(format_args!("{order:?}, closing"));
                let _ = runtime
                    .block_on(async { timeout(Duration::from_millis(2), chain[0].close()).await });
                notes.now(format_args!("{order:?}, the runtime ends"));
                drop(runtime);
                notes.now(format_args!("{order:?}, dropping"));
                order.drop(chain);
                wait_for("idle", registry.idle());
                assert_gone(&registry, leaf);
            }
        }
    });
}
