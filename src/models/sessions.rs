//! The table of sessions: an attach against the cull, a loss against an attach, a restart against a close.
//!
//! The table is the real one; of the contexts there are the gates, which close when the lock is free again, as in the crate.

use super::outcomes::Outcomes;
use crate::{
    context::{close_reason::CloseReason, gate::Gate},
    sessions::{
        joining::{Attach, Progress, Request, Ticket},
        key::{Key, Probe},
        leaving::Going,
        opening::{Restart, Stage},
        session::{Id, Scope},
        settings::Settings,
        table::{Effects, Table},
    },
    sync::{Mutex, lock},
    table::record::State,
};
use loom::thread;
use std::{panic::Location, sync::Arc, time::Duration};
use tokio::time::Instant;

const WINDOW: Duration = Duration::from_secs(30);

/// A handle to a context of which there is the gate.
#[derive(Clone)]
struct Context(Arc<Gate>);

impl Context {
    fn new() -> Self {
        Self(Arc::new(Gate::new()))
    }
}

impl Scope for Context {
    type Inner = ();

    fn is_open(&self) -> bool {
        self.0.state() == State::Open
    }

    fn takes_work(&self) -> bool {
        self.is_open()
    }

    fn inner(&self) {}
}

type Fx = Effects<u8, Context>;

#[derive(Clone)]
struct Sessions(Arc<Mutex<Table<u8, Context>>>);

impl Sessions {
    fn new(idle: Duration) -> Self {
        let settings = Settings {
            idle,
            ..Settings::default()
        };
        Self(Arc::new(Mutex::new(Table::new(
            settings,
            Some(Context::new()),
        ))))
    }

    /// Decides, then closes what is to be closed.
    fn with<R>(&self, decide: impl FnOnce(&mut Table<u8, Context>, &mut Fx) -> R) -> R {
        let mut fx = Fx::default();
        let decided = decide(&mut lock(&self.0), &mut fx);
        for (context, _) in fx.close {
            context.0.begin();
        }
        decided
    }

    fn attach(&self, now: Instant) -> Attach {
        let request = Request {
            key: Key::new(7, 7),
            owner: Arc::from(&b"owner"[..]),
            device: None,
            opens: true,
            location: Location::caller(),
        };
        self.with(|table, fx| table.attach(&request, now, fx))
    }

    /// A session that is open, with one lease; and its contexts.
    fn open(&self, now: Instant) -> (Ticket, Context, Context) {
        let Attach::In(ticket) = self.attach(now) else {
            panic!("it is a new one");
        };
        let (outer, inner) = (Context::new(), Context::new());
        let built = (outer.clone(), inner.clone());
        self.with(|table, fx| {
            assert!(matches!(table.progress(ticket.id), Progress::Build(..)));
            assert!(table.built(ticket.id, built, fx).is_ok());
            table.ready(ticket.id, 1, fx);
        });
        (ticket, outer, inner)
    }

    fn lose(&self, ticket: &Ticket, now: Instant) {
        self.with(|table, fx| table.go(ticket.id, ticket.lease, Going::Lost, now, fx));
    }

    fn end(&self, id: Id, now: Instant) {
        self.with(|table, fx| table.ended(id, &CloseReason::Culled, now, fx));
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    Resumed,
    Closing,
    New,
}

/// What an attach found; one that resumed has a session that stays open.
fn found(attach: &Attach) -> Found {
    match attach {
        Attach::In(ticket) if ticket.is_new => Found::New,
        Attach::In(_) => Found::Resumed,
        Attach::Closing(..) => Found::Closing,
        Attach::Refused(error) => panic!("{error}"),
    }
}

/// Deciding to cull and beginning the close is one step: no attach comes in between, and is thrown out.
#[test]
fn an_attach_comes_before_the_cull_or_after_it() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    loom::model(move || {
        let (sessions, then) = (Sessions::new(WINDOW), Instant::now());
        let (ticket, outer, _inner) = sessions.open(then);
        sessions.lose(&ticket, then);
        let (now, id) = (then + WINDOW, ticket.id);
        let timer = thread::spawn({
            let sessions = sessions.clone();
            move || {
                sessions.with(|table, fx| drop(table.run_due(now, fx)));
                let is_culled = !outer.is_open();
                if is_culled {
                    sessions.end(id, now);
                }
                is_culled
            }
        });
        let found = found(&sessions.attach(now));
        let is_culled = timer.join().unwrap();
        assert_eq!(is_culled, found != Found::Resumed, "{found:?}");
        let counts = lock(&sessions.0).counts();
        // With `New` it is being opened, and else it is gone or held.
        let expected = match found {
            Found::Resumed => (1, 1),
            Found::Closing => (0, 0),
            Found::New => (1, 1),
        };
        assert_eq!((counts.total, counts.leases), expected);
        saw.saw(found);
    });
    outcomes.assert_all([Found::Resumed, Found::Closing, Found::New]);
}

/// Without a window the loss is the cull.
#[test]
fn an_attach_comes_before_the_last_loss_or_after_it() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    loom::model(move || {
        let (sessions, now) = (Sessions::new(Duration::ZERO), Instant::now());
        let (ticket, outer, _inner) = sessions.open(now);
        let loser = thread::spawn({
            let sessions = sessions.clone();
            move || sessions.lose(&ticket, now)
        });
        let attach = sessions.attach(now);
        let found = found(&attach);
        loser.join().unwrap();
        assert_eq!(outer.is_open(), found == Found::Resumed, "{found:?}");
        if let Attach::In(ticket) = attach {
            assert!(ticket.signal.loss().is_none());
        }
        saw.saw(found);
    });
    outcomes.assert_all([Found::Resumed, Found::Closing]);
}

/// A close that comes during a restart wins: whatever the restart opens is closed with it, and it opens at most one.
#[test]
fn a_close_wins_over_a_restart() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    loom::model(move || {
        let (sessions, now) = (Sessions::new(WINDOW), Instant::now());
        let (ticket, outer, _inner) = sessions.open(now);
        let id = ticket.id;
        let closer = thread::spawn({
            let sessions = sessions.clone();
            move || {
                // As other code closes the context: the table is told afterwards.
                outer.0.begin();
                sessions.with(|table, fx| {
                    table.closing(id, &CloseReason::Left, fx);
                    fx.handles.len()
                })
            }
        });
        let probe = Probe { hash: 7, key: &7 };
        let begun = sessions.with(|table, _| match table.restart(&probe) {
            Restart::Begin { old, next, .. } => {
                assert!(old.is_some() && next == 2);
                true
            }
            Restart::Refused(_) => false,
            Restart::Join(..) => panic!("it is the only one"),
        });
        let kept = begun.then(|| {
            let next = Context::new();
            let kept = sessions.with(|table, fx| {
                let kept = table.restarted(id, 2, next).is_ok();
                table.ready(id, 2, fx);
                kept
            });
            kept
        });
        let handed_back = closer.join().unwrap();
        // The generation that was in the table goes with the session; one that came later is handed back to the restart.
        assert_eq!(handed_back, usize::from(kept != Some(false)));
        let table = lock(&sessions.0);
        let (stage, counts) = (table.stage(id, 2), table.counts());
        drop(table);
        assert_eq!((stage, counts.closing, counts.leases), (Stage::Never, 1, 0));
        saw.saw(kept);
    });
    outcomes.assert_all([None, Some(false), Some(true)]);
}
