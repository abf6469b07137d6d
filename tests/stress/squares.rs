//! I13: what a user can do n times does not cost n² in all. Each row does something so many times, and eight times as often:
//! the second takes eight times as long in processor time, some more because caches are small, and not 64 times.

use crate::common::{current_thread, within};
use cpu_time::ThreadTime;
use futures::future::join_all;
use headcount::{
    Context, Level, OnConflict, Registry, Task,
    leaks::LeakPolicy,
    sessions::{Lease, Overflow, Sessions, SessionsBuilder},
};
use std::{future::pending, hint::black_box, panic::resume_unwind, sync::Arc, time::Duration};
use tokio::{
    runtime::Runtime,
    task::yield_now,
    time::{Instant, sleep},
};

const FEW: usize = 1_000;
const TIMES: usize = 8;
/// Between 8, and the 64 of a square.
const MOST: f64 = 28.0;
const LIMIT: Duration = Duration::from_secs(300);
/// No deadline of these is ever reached.
const LATER: Duration = Duration::from_secs(1_000);

type Row = (&'static str, fn(usize, &Runtime));

#[test]
#[ignore = "stress: takes a while, run by .ci/run"]
fn nothing_that_is_done_n_times_costs_a_square() {
    within(LIMIT, |notes| {
        for (what, times) in CONTEXTS
            .iter()
            .chain(&CLOSES)
            .chain(&TASKS)
            .chain(&SESSIONS)
            .chain(&REST)
        {
            notes.now(what);
            let taken = |n| {
                let runtime = current_thread();
                let begin = ThreadTime::now();
                times(n, &runtime);
                begin.elapsed().as_secs_f64()
            };
            taken(FEW);
            let few = taken(FEW).min(taken(FEW));
            let many = taken(TIMES * FEW).min(taken(TIMES * FEW));
            println!("{what}: {:.1} times for {TIMES} times as many", many / few);
            assert!(many / few < MOST, "{what}: {few} s became {many} s");
        }
    });
}

fn children(n: usize) -> (Context, Vec<Context>) {
    let parent = Registry::new().context("parent");
    let children = (0..n).map(|_| parent.child("child")).collect();
    (parent, children)
}

fn deep(n: usize) -> Vec<Context> {
    let mut all = vec![Registry::new().context("top")];
    (0..n).for_each(|at| all.push(all[at].child("below")));
    all
}

fn in_a_row(n: usize) -> (Registry, Vec<Context>) {
    let registry = Registry::new();
    let mut all = vec![registry.context("first")];
    (0..n).for_each(|at| all.push(registry.context_builder("next").needs(&all[at]).open()));
    (registry, all)
}

fn dependents(n: usize) -> (Registry, Context, Vec<Context>) {
    let registry = Registry::new();
    let needed = registry.context("needed");
    let open = |_| registry.context_builder("dependent").needs(&needed).open();
    let dependents = (0..n).map(open).collect();
    (registry, needed, dependents)
}

fn spawn_pending(ctx: &Context) {
    drop(ctx.spawn(pending::<()>()));
}

const CONTEXTS: [Row; 13] = [
    ("children close with their parent", |n, rt| {
        let (parent, children) = children(n);
        rt.block_on(parent.close());
        drop(children);
    }),
    (
        "children end one by one while their parent closes",
        |n, rt| {
            let (parent, children) = children(n);
            rt.block_on(async {
                for child in &children {
                    drop(child.spawn(sleep(Duration::from_millis(1))));
                }
                parent.close().await;
            });
        },
    ),
    ("a deep tree closes", |n, rt| {
        let all = deep(n);
        rt.block_on(all[0].close());
    }),
    ("a deep tree closes from below", |n, rt| {
        let all = deep(n);
        rt.block_on(async {
            all.iter().rev().for_each(|ctx| ctx.request_close("done"));
            all[0].close().await;
        });
    }),
    ("a deep tree closes from above", |n, rt| {
        let all = deep(n);
        rt.block_on(async {
            for ctx in &all {
                ctx.request_close("done");
            }
            all[0].close().await;
        });
    }),
    ("a deep tree closes by a deadline", |n, rt| {
        let all = deep(n);
        assert!(rt.block_on(all[0].close_by(LATER)).is_ok());
    }),
    ("a deep tree finishes", |n, rt| {
        let all = deep(n);
        rt.block_on(async {
            for ctx in &all {
                drop(ctx.spawn(yield_now()));
            }
            all[0].finish().await;
        });
    }),
    ("a deep tree is printed", |n, rt| {
        let all = deep(n);
        black_box(rt.block_on(all[0].live()).to_string());
    }),
    ("many need one", |n, rt| {
        let (registry, needed, dependents) = dependents(n);
        rt.block_on(registry.close());
        drop((needed, dependents));
    }),
    ("many need one, and finish", |n, rt| {
        let (registry, needed, dependents) = dependents(n);
        rt.block_on(async {
            for ctx in &dependents {
                drop(ctx.spawn(yield_now()));
            }
            registry.finish().await;
        });
        drop((needed, dependents));
    }),
    ("one needs many", |n, rt| {
        let registry = Registry::new();
        let needed: Vec<_> = (0..n).map(|_| registry.context("needed")).collect();
        let mut builder = registry.context_builder("dependent");
        for ctx in &needed {
            builder = builder.needs(ctx);
        }
        let _dependent = builder.open();
        rt.block_on(registry.close());
    }),
    ("each needs the one before", |n, rt| {
        let (registry, all) = in_a_row(n);
        rt.block_on(registry.close());
        drop(all);
    }),
    ("each needs the one before, with a deadline", |n, rt| {
        let (registry, all) = in_a_row(n);
        assert!(rt.block_on(registry.close_by(LATER)).is_ok());
        drop(all);
    }),
];

const CLOSES: [Row; 10] = [
    ("closes without a runtime", |n, rt| {
        let (parent, children) = children(n);
        for child in &children {
            child.request_close("done");
        }
        rt.block_on(parent.close());
    }),
    ("each child is hurried by itself", |n, rt| {
        let (parent, children) = children(n);
        rt.block_on(async {
            children.iter().for_each(spawn_pending);
            let closed = parent.close();
            for child in &children {
                drop(child.close_now());
            }
            closed.await;
        });
    }),
    ("each deadline is earlier", |n, rt| {
        let (parent, children) = children(100);
        rt.block_on(async {
            let last = Instant::now() + 10 * LATER;
            let deadline = |at: usize| last - Duration::from_millis(at as u64);
            let asked: Vec<_> = (0..n).map(|at| parent.close_by(deadline(at))).collect();
            join_all(asked).await;
        });
        drop(children);
    }),
    ("many await one close", |n, rt| {
        let ctx = Registry::new().context("ctx");
        rt.block_on(async {
            drop(ctx.spawn(sleep(Duration::from_millis(5))));
            join_all((0..n).map(|_| ctx.close())).await;
        });
    }),
    ("many tasks await an end", |n, rt| {
        let ctx = Registry::new().context("ctx");
        rt.block_on(async {
            let waiters: Vec<_> = (0..n).map(|_| tokio::spawn(ctx.closed())).collect();
            yield_now().await;
            ctx.close().await;
            join_all(waiters).await;
        });
    }),
    ("many closes side by side", |n, rt| {
        let registry = Registry::new();
        let all: Vec<_> = (0..n).map(|_| registry.context("ctx")).collect();
        rt.block_on(async {
            join_all(all.iter().map(|ctx| tokio::spawn(ctx.close()))).await;
        });
    }),
    ("many wait for idleness", |n, rt| {
        let ctx = Registry::new().context("ctx");
        rt.block_on(async {
            (0..n).for_each(|_| drop(ctx.spawn(yield_now())));
            join_all((0..n).map(|_| tokio::spawn(ctx.idle()))).await;
        });
    }),
    ("hooks run and fail", |n, rt| {
        let ctx = Registry::new().context("ctx");
        for _ in 0..n {
            assert!(ctx.on_closing(|| async {}).is_ok());
            assert!(ctx.on_close(|| async { Err::<(), _>("no") }).is_ok());
        }
        black_box(rt.block_on(ctx.close()).to_string());
    }),
    ("hooks are cancelled", |n, _| {
        let ctx = Registry::new().context("ctx");
        let add = || ctx.on_close(|| async {}).map_err(drop);
        let hooks: Vec<_> = (0..n).map(|_| add().expect("it is open")).collect();
        for hook in &hooks {
            assert!(hook.cancel());
        }
    }),
    ("values are released", |n, _| {
        let ctx = Registry::new().context("ctx");
        let own = || ctx.own("value", "kind", ()).map_err(drop);
        let values: Vec<_> = (0..n).map(|_| own().expect("it is open")).collect();
        for value in &values {
            assert!(value.release());
        }
    }),
];

fn sessions(
    settings: impl Fn(SessionsBuilder<'_, usize>) -> SessionsBuilder<'_, usize>,
) -> (Context, Sessions<usize>) {
    let server = Registry::new().context("server");
    let sessions = settings(server.sessions("table")).open();
    (server, sessions)
}

async fn attach_all(
    sessions: &Sessions<usize>,
    keys: impl Iterator<Item = usize>,
) -> Vec<Lease<usize>> {
    let leases = join_all(keys.map(|key| sessions.attach(key, "owner"))).await;
    leases
        .into_iter()
        .map(|lease| lease.expect("there is room"))
        .collect()
}

const SESSIONS: [Row; 7] = [
    ("sessions are held, and close with their table", |n, rt| {
        let (server, sessions) = sessions(|table| table);
        rt.block_on(async {
            let leases = attach_all(&sessions, 0..n).await;
            server.close().await;
            drop(leases);
        });
    }),
    ("sessions are culled together", |n, rt| {
        let (server, sessions) = sessions(|table| table.idle(Duration::from_millis(1)));
        rt.block_on(async {
            drop(attach_all(&sessions, 0..n).await);
            while sessions.counts().total > 0 {
                sleep(Duration::from_millis(1)).await;
            }
        });
        drop(server);
    }),
    ("many leases of one session", |n, rt| {
        let (_server, sessions) = sessions(|table| table);
        rt.block_on(async {
            let mut leases = attach_all(&sessions, (0..n).map(|_| 7)).await;
            for lease in &leases {
                lease.heartbeat(LATER);
            }
            leases.reverse();
            leases.into_iter().for_each(Lease::leave);
        });
    }),
    ("a device takes over again and again", |n, rt| {
        let (_server, sessions) = sessions(|table| table);
        rt.block_on(async {
            for _ in 0..n {
                let lease = sessions.attach_as(7, "owner", "phone").await;
                drop(lease.expect("there is room"));
            }
        });
    }),
    ("many wait for one init", |n, rt| {
        let (_server, sessions) = sessions(|table| {
            table.on_open(async |_key, _ctx| {
                sleep(Duration::from_millis(1)).await;
                Ok::<_, String>(())
            })
        });
        rt.block_on(async { drop(attach_all(&sessions, (0..n).map(|_| 7)).await) });
    }),
    ("many wait for a place", |n, rt| {
        let (server, sessions) =
            sessions(|table| table.max(1).overflow(Overflow::Wait(LATER)).queue(n));
        rt.block_on(async {
            let one = |key| {
                let attach = sessions.attach(key, "owner");
                tokio::spawn(async move { attach.await.expect("its turn comes").leave() })
            };
            join_all((0..n).map(one)).await;
        });
        drop(server);
    }),
    ("each makes room for the next", |n, rt| {
        let (server, sessions) = sessions(|table| {
            table
                .max(100)
                .max_per_owner(100)
                .overflow(Overflow::EvictIdle)
        });
        rt.block_on(async {
            for key in 0..n {
                let lease = sessions.attach(key, "owner").await;
                drop(lease.expect("one is idle"));
            }
        });
        drop(server);
    }),
];

const TASKS: [Row; 12] = [
    ("tasks wait for their slot", |n, rt| {
        let ctx = Registry::new().context("ctx");
        let spawn = |_| ctx.task("task").slot("slot").spawn(yield_now());
        rt.block_on(async { join_all((0..n).map(spawn)).await });
    }),
    ("tasks in line are aborted from behind", |n, rt| {
        let ctx = Registry::new().context("ctx");
        rt.block_on(async {
            let spawn = |_| ctx.task("task").slot("slot").spawn(pending::<()>());
            let tasks: Vec<_> = (0..n).map(spawn).collect();
            yield_now().await;
            for task in tasks.into_iter().rev() {
                task.abort();
                assert!(task.await.is_err());
            }
        });
    }),
    ("each replaces the one before", |n, rt| {
        let ctx = Registry::new().context("ctx");
        rt.block_on(async {
            for _ in 0..n {
                let task = ctx.task("task").slot("slot");
                drop(task.on_conflict(OnConflict::Replace).spawn(pending::<()>()));
            }
            ctx.close_now().await;
        });
    }),
    ("a slot for each", |n, rt| {
        let ctx = Registry::new().context("ctx");
        rt.block_on(async {
            for at in 0..n {
                let task = ctx.task("task").slot(format!("slot {at}"));
                drop(task.spawn(pending::<()>()));
            }
            ctx.close_now().await;
        });
    }),
    ("a set is joined", |n, rt| {
        let mut set = Registry::new().context("ctx").join_set();
        rt.block_on(async {
            (0..n).for_each(|_| drop(set.spawn(yield_now())));
            while set.join_next().await.is_some() {}
        });
    }),
    ("a set is dropped", |n, rt| {
        let ctx = Registry::new().context("ctx");
        let mut set = ctx.join_set();
        rt.block_on(async {
            (0..n).for_each(|_| drop(set.spawn(pending::<()>())));
            drop(set);
            ctx.close().await;
        });
    }),
    ("tasks wait for their cancellation", |n, rt| {
        let ctx = Registry::new().context("ctx");
        rt.block_on(async {
            (0..n).for_each(|_| drop(ctx.spawn(ctx.cancelled_owned())));
            yield_now().await;
            ctx.close().await;
        });
    }),
    ("tasks panic", |n, rt| {
        let ctx = Registry::new().context("ctx");
        rt.block_on(async {
            for _ in 0..n {
                let panicked = async { resume_unwind(Box::new("on purpose")) };
                let task: Task<()> = ctx.spawn(panicked);
                assert!(task.await.is_err());
            }
            black_box(ctx.close().await.to_string());
        });
    }),
    ("tasks are refused", |n, rt| {
        let ctx = Registry::new().context("ctx");
        rt.block_on(async {
            ctx.close().await;
            for _ in 0..n {
                assert!(ctx.spawn(async {}).await.is_err());
            }
        });
    }),
    ("tasks end with their runtime", |n, _| {
        let (parent, runtime) = (Registry::new().context("parent"), current_thread());
        let entered = runtime.enter();
        let children: Vec<_> = (0..n).map(|_| parent.child("child")).collect();
        children.iter().for_each(spawn_pending);
        parent.request_close("done");
        drop(entered);
        drop(runtime);
    }),
    ("wrapped futures are dropped without a runtime", |n, _| {
        let (parent, children) = children(10);
        let wrapped: Vec<_> = (0..n).map(|_| parent.wrap(pending::<()>())).collect();
        parent.request_close("done");
        drop((wrapped, children, parent));
    }),
    (
        "contexts are dropped without a runtime, with tasks",
        |n, _| {
            let (parent, children) = children(n);
            let wrap = |child: &Context| child.wrap(pending::<()>());
            let wrapped: Vec<_> = children.iter().map(wrap).collect();
            parent.request_close("done");
            drop(children);
            drop((wrapped, parent));
        },
    ),
];

const REST: [Row; 9] = [
    ("handles come and go", |n, _| {
        let registry = Registry::new();
        registry.set_level(Level::Holders);
        let value = registry.own("value", "kind", ());
        let handles: Vec<_> = (0..n).map(|_| value.clone()).collect();
        let container = registry.register("map", "map");
        for handle in &handles {
            handle.held_by(&container);
        }
        black_box(value.holders().to_string());
        handles.into_iter().for_each(drop);
    }),
    ("entries come and go", |n, _| {
        let registry = Registry::new();
        let register = |_| (registry.count(), registry.register("entry", "kind"));
        (0..n)
            .map(register)
            .collect::<Vec<_>>()
            .into_iter()
            .for_each(drop);
    }),
    ("`Arc`s are tracked and die", |n, _| {
        let registry = Registry::new();
        for at in 0..n {
            registry.track(&Arc::new(at), "arc", "kind");
        }
    }),
    ("`Arc`s are tracked and untracked", |n, _| {
        let registry = Registry::new();
        let alive: Vec<_> = (0..n).map(Arc::new).collect();
        let track = |arc| registry.track(arc, "arc", "kind");
        let ids: Vec<_> = alive.iter().map(track).collect();
        for id in ids {
            assert!(registry.untrack(id));
        }
    }),
    ("contexts are closed and held", |n, rt| {
        let registry = Registry::new();
        registry.set_level(Level::Holders);
        let all: Vec<_> = (0..n).map(|_| registry.context("ctx")).collect();
        let policy = LeakPolicy::new().settle(Duration::ZERO);
        rt.block_on(async {
            join_all(all.iter().map(Context::close)).await;
            black_box(registry.leaks(&policy).await.to_string());
        });
    }),
    ("tasks are left", |n, rt| {
        let registry = Registry::new();
        let ctx = registry.context("ctx");
        let policy = LeakPolicy::nothing_left().settle(Duration::ZERO);
        rt.block_on(async {
            (0..n).for_each(|_| spawn_pending(&ctx));
            black_box(registry.leaks(&policy).await.to_string());
            ctx.close_now().await;
        });
    }),
    ("each value lies in the next", |n, rt| {
        let registry = Registry::new();
        registry.set_level(Level::Holders);
        let own = |_| registry.own("value", "kind", ());
        let values: Vec<_> = (0..n).map(own).collect();
        let held: Vec<_> = values.iter().map(Clone::clone).collect();
        for (held, next) in held.iter().zip(&values[1..]) {
            held.held_by(next);
        }
        let policy = LeakPolicy::nothing_left().settle(Duration::ZERO);
        black_box(rt.block_on(registry.leaks(&policy)).to_string());
    }),
    ("tokens are made", |n, rt| {
        let ctx = Registry::new().context("ctx");
        let tokens: Vec<_> = (0..n).map(|_| ctx.token()).collect();
        tokens.into_iter().for_each(drop);
        rt.block_on(ctx.close());
    }),
    ("names are probed", |n, rt| {
        let registry = Registry::new();
        for at in 0..n {
            registry.probe(format!("probe {at}"), move || at);
        }
        black_box(rt.block_on(registry.growth()));
        (0..n).for_each(|at| assert!(registry.remove_probe(&format!("probe {at}"))));
    }),
];
