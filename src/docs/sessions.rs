//! Sessions: their states, what is refused when, and what is not promised.
//!
//! A *session* is a context with a key: a page of a browser, a game, a chat. It stays open while clients hold it, by a
//! [`Lease`](crate::sessions::Lease) each, and for an idle window after that, because connections break and clients come back. A
//! table of them is a context as well, opened by [`Context::sessions`](crate::Context::sessions), and its sessions are its children:
//!
//! ```text
//! server
//! └─ chats            kind `sessions`
//!    └─ room-7        kind `session`: one for each key
//!       └─ generation 1   kind `generation`: what `on_open` and `Lease::context` get
//! ```
//!
//! # States
//!
//! ```text
//!  attach            init is done          last lease lost
//!  ──────▶ Opening ─────────────▶ Held ──────────────────▶ Idle
//!    │        │                  ▲ │ ▲                      │ │
//!    │        │ init fails       │ │ └──────────────────────┘ │ window is over: Culled
//!    │        │                  │ │        attach            │ room is needed: Evicted
//!    │        │      init is done│ │restart                   │
//!    │        │                  │ ▼                          │
//!    │        │               Restarting                      │
//!    │        ▼                    │ init fails: Failed       │
//!    │     Closing ◀───────────────┴──────────────────────────┘
//!    │        ▲  last one leaves: Left · too old: Expired · evict, its context or a context above closes
//!    │        │
//!    │        ▼
//!    └──▶   gone
//! ```
//!
//! * **Waiting.** There are as many sessions as there may be, and this one waits for a place. It has no context so far.
//! * **Opening.** It has a place and a context, and its init runs. Leases of attaches that wait are in already. If all of those are
//!   dropped the init goes on, and the idle window runs.
//! * **Held** by so many, **Idle** since. The window begins with the last loss, or with a touch after that, and always in full.
//! * **Restarting.** The old generation closes, then the init of the next one runs. Leases stay, and new ones come in; so there are
//!   sessions that restart and are held, and some that are not, whose window runs on.
//! * **Closing.** From here on nothing brings it back. Its leases are [lost](crate::sessions::Lease::lost). It counts for the limits
//!   until nothing is left of it.
//!
//! "No lease, and due" and "from here on it closes" are one step under one lock. An attach comes before it and cancels the cull, or
//! after it and finds a session that closes. No client is let in and then thrown out because it came in between.
//!
//! # How a client goes
//!
//! | | means | then |
//! |---|---|---|
//! | the lease is dropped | the connection broke; the client may come back | with the last lease the idle window begins |
//! | [`leave`](crate::sessions::Lease::leave) | it is gone for good | the session closes at once, unless another lease is in, or one was lost in the last idle window and has not come back |
//! | its [heartbeat](crate::sessions::Lease::heartbeat) is late | the connection is half open | as if it had been dropped |
//! | a newer lease for the same [device](crate::sessions::Sessions::attach_as) | it is back before its end was noticed | the old lease is told, and its drop, its leave and its heartbeat change nothing any more |
//!
//! The same is true for a lease whose session is gone: there is no call that is wrong because it comes late.
//!
//! # What is refused when
//!
//! | the session | `attach` | `resume` | `restart` | `evict` |
//! |---|---|---|---|---|
//! | is not there | opens it; where there are too many: `Full`, or waits, then `TimedOut`; where too many wait: `Full` | `NotFound` | `NotFound` | false |
//! | waits for a place | waits with it; where too many wait: `Full` | the same | joins the opening | false |
//! | is opening | waits for the same init | the same | joins the opening | closes it |
//! | is held or idle | comes in | comes in | begins | closes it |
//! | is restarting | comes in, and waits for the next generation | the same | joins it | closes it |
//! | is held or idle, and its context finishes | comes in | the same | `Closed` | closes it |
//! | is closing | waits for its end, and opens the next; or as [told](crate::sessions::WhileClosing) | `NotFound` | `Closed` | false |
//! | has another owner | `WrongOwner` | `WrongOwner` | is not asked | is not asked |
//! | its table is closing | `Closed` | `Closed` | `Closed` | false |
//!
//! A session that is closing has no owner any more: who comes first is the owner of the next one. An attach from inside a session that is
//! closing would wait for itself, and fails with `Closed`. An attach whose own session is closed before it was opened (it was evicted, or
//! is too old) fails with `Closed`; others that waited for it try again.
//!
//! # Limits
//!
//! [`max`](crate::sessions::SessionsBuilder::max) and [`max_per_owner`](crate::sessions::SessionsBuilder::max_per_owner) count
//! sessions until nothing is left of them. Places are given in the order of arrival; one that waits for its owner's other sessions keeps no
//! other waiting. Only idle sessions make room, by [`Overflow::EvictIdle`](crate::sessions::Overflow::EvictIdle),
//! [`max_idle`](crate::sessions::SessionsBuilder::max_idle) and [`shed`](crate::sessions::Sessions::shed), the longest idle first. One that
//! closes by itself is waited for, before another one is evicted.
//!
//! With [`Overflow::Wait`](crate::sessions::Overflow::Wait) at most [`queue`](crate::sessions::SessionsBuilder::queue) attaches wait,
//! 1,024 unless set. The table is listed as `400 of 400 sessions, 3 waiting`. When it begins to close, all that wait get `Closed`.
//!
//! # Values
//!
//! A table opened with an [`init`](crate::sessions::SessionsBuilder::init) has a value for each session: what that returns. A
//! [`Lease`](crate::sessions::Lease::value) and a [`Session`](crate::sessions::Session::value) return it, so that the program needs no
//! second table under the same keys, which it would have to keep in step with this one. The generation owns it, so it is dropped in the close, and a
//! restart makes another one.
//!
//! # State that is to survive
//!
//! Hooks read [why](crate::WeakContext::close_reason) their context closes. For a session that is culled, or that its client left, state
//! can be thrown away; where the server closes, which is [`Parent`](crate::CloseReason::Parent), or a generation is
//! [`Restarted`](crate::CloseReason::Restarted), it is to be kept. [`root`](crate::CloseReason::root) of the reason that a generation
//! has is the session's.
//!
//! # What is not promised
//!
//! * **A cull may be late.** It comes at the first look of the timer after the window is over, never before. The timer runs on the runtime
//!   on which the table was opened; if that has ended, the next attach or loss starts it on another one. Until then nothing is culled.
//! * **A taken-over device is not thrown off the context.** Its lease is told; the code that holds it is to end its work.
//! * **A lease does not hold the session open.** Its context may close at any time, by the code, by a failure of which a policy makes a
//!   close, or with the server.
//! * **Generations are numbered by session.** A session that was culled and is opened again begins at 1.
//! * **A lost client is waited for as long as the window.** 256 of one session are remembered.
//! * **A task that runs does not hold its session.** It is idle when no lease is in, unless
//!   [`keep_busy`](crate::sessions::SessionsBuilder::keep_busy) says otherwise; and that does not hold against a limit.
//! * **A restart waits for the old generation.** Its tasks have their grace period, so an attach during that waits as long. A task of the
//!   session that attaches to it while it restarts waits for itself, until its grace period is over.
//! * **The owner's length is not hidden.** The comparison takes as long as the owners are long.
//! * **A closing session that hangs keeps its key**, and its place, until it has ended: [`Overlap`](crate::sessions::WhileClosing::Overlap)
//!   frees the key.
