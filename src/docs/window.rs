//! The window: a page in the browser that shows a registry, and the same as JSON.
//!
//! [`Registry::window`](crate::Registry::window) makes it. A program without a server of its own serves it with
//! [`Window::serve`](crate::window::Window::serve); another one nests [`Window::router`](crate::window::Window::router) into its own:
//!
//! ```
//! # let registry = headcount::Registry::new();
//! let window = registry.window().token("what-only-operators-know").host("ops.example.org");
//! let app: axum::Router = axum::Router::new().nest("/debug", window.router());
//! ```
//!
//! `cargo run --example window --features web -- 600` is a small server with a window, which can be looked at for ten minutes.
//!
//! # The page
//!
//! It is one page without anything that is loaded from elsewhere, and needs no build step. While it is open and visible it asks every two
//! seconds; a dump or a search for leaks is made at a click.
//!
//! * **Live**: the tree, unfolded part by part, 500 entries at a time, or what a filter leaves of it. What came since the last look is
//!   tinted; what ended stays for ten seconds, faded, and says how it ended. An entry that is selected shows what is known of it, who
//!   holds it, and the report of its close.
//! * **Where they wait**: a [dump](crate::docs::dumps), equal stacks once, deadlocks first.
//! * **Leaks**: the findings of a [search](crate::docs::leaks), each with the chain that keeps it alive, and a picture of all of them.
//! * **Growth**: counts by the line that made things, as plots. There is a sample for each look, and none while nothing looks.
//! * **Closes**: those under way with what is in their way, and the reports of those that are over.
//! * **Events**: what happens, as it happens.
//!
//! Tabs and the tree are used with arrow keys, `Home`, `End` and `Enter`. Names are shown as text whatever is in them.
//!
//! # Paths
//!
//! | path | parameters | answer |
//! |---|---|---|
//! | `/` | | the page |
//! | `/resourcez` | `verbose` | how much there is, by kind and state; with `verbose` also the first 500 entries |
//! | `/tree` | `parent`, `all`, `kind`, `class`, `name`, `state`, `older`, `after`, `limit` | entries, in the order of creation: those at the top, those that belong to `parent`, or with `all` or a filter those of every depth |
//! | `/holders` | `id` | who holds a context or a value |
//! | `/closing` | | closes under way, and what each waits for |
//! | `/growth` | | counts by line, and takes another sample if the latest one is older than 2 s |
//! | `/leaks` | `settle` (seconds, up to 10) | a search for leaks |
//! | `/dump` | `under` (a context) | where tasks and hooks wait |
//! | `/events` | | a stream of server-sent events |
//! | `/metrics` | | with the feature `metrics`: figures as Prometheus reads them, of this registry and the process |
//! | `/livez`, `/readyz` | | 200; 503 from `/readyz` while the registry takes [no new work](crate::Registry::readiness) |
//! | `POST /close` | `id` | begins the close of a context, if the program [allows](crate::window::Window::allow_close) it: 202 |
//!
//! Filters: `kind` is the whole kind; `class` is `task`, `context` or `resource`; `name` is a part of the name, in any case; `older` is in
//! seconds. `limit` is at most 500, and `after` is the `next` of the page before.
//!
//! Every answer is an object that begins with `"schema": 1` and says which registry it is about. Within a schema, fields are added and not
//! changed. Times are seconds, ids are strings, and an id can be given without its `@…`, as reports print it. Characters that a
//! terminal obeys are escaped.
//!
//! ```text
//! $ curl -s localhost:8765/resourcez
//! {"schema": 1, "registry": {"id": "3ad63b8d", "state": "open", "ready": true, "labels": "shown"}, "total": 24, "tasks": 17,
//!  "contexts": 7, "resources": 0, "kinds": [{"kind": "context", "class": "context", "state": "open", "count": 6,
//!  "oldest_secs": 3.044000059}, …]}
//!
//! $ curl -s 'localhost:8765/tree?name=client%200'
//! {"schema": 1, "registry": {…}, "seq": 0, "total": 24, "matched": 1, "entries": [{"id": "c1@3ad63b8d", "name": "client 0",
//!  "kind": "context", "class": "context", "state": "closed", "age_secs": 3.196000062, "created_at": 1796058241.4564779,
//!  "location": "examples/window.rs:52", "parent": "c0@3ad63b8d", "path": "server/client 0", "strong_count": 1, "weak_count": 0,
//!  "hooks": 0, "handles_of_ended_tasks": 0, "children": 0}], "next": null}
//!
//! $ curl -s 'localhost:8765/holders?id=c1'
//! {"schema": 1, "registry": {…}, "entry": {…}, "holders": {"strong": 1, "tracked": 1, "untracked": 0, "groups": [{"count": 1,
//!  "taken": "examples/window.rs:53", "by": {"what": "thread", "id": null, "name": "main", "state": null},
//!  "oldest_secs": 14.08000006, "newest_secs": 14.08000006, "last_used_secs": null, "text": "taken at examples/window.rs:53 by
//!  thread main, 14s ago"}], "more": 0, "recent": ["examples/window.rs:52"]}}
//!
//! $ curl -s localhost:8765/leaks
//! {"schema": 1, "registry": {…}, "is_clean": false, "alive": 24, "findings": 1, "allowed": 0, "notes": ["waited 103ms for things
//!  to settle, 11 looks"], "groups": [{"count": 1, "kind": "closed_but_held", "what": "closed but still held",
//!  "fingerprint": "085d52164060241e", "subject": {…}, "chain": [{"from": "outside", "who": "thread main, or code that it was
//!  passed to", "how": "taken at examples/window.rs:53, 3.1s ago", "taken": "examples/window.rs:53", "strength": "suspect"}],
//!  "cycle": [], "victims": [], "more_victims": 0, "facts": […], "holders": {…}, "advice": "drop the handle taken at
//!  examples/window.rs:53, or keep a weak handle there instead", "text": "…"}], "more": 0, "picture": "<svg …"}
//!
//! $ curl -s localhost:8765/dump
//! {"schema": 1, "registry": {…}, "tasks": 20, "hooks": 0, "unanswered": 0, "took_secs": 0.229469663, "notes": [], "deadlocks": [],
//!  "groups": [{"what": "task", "count": 6, "activity": "parked", "members": [{"id": "t22@3ad63b8d", "path": "server/connection",
//!  "activity": "parked for 2.5s", "age_secs": 2.52800005, "polls": 3, "location": "examples/window.rs:41"}, …], "stacks":
//!  [{"frames": [{"function": "window::serve", "file": "examples/window.rs", "line": 63}],
//!  "leaf": "headcount::WeakContext::run_until_cancelled", "yields": false}, …], "cut": 0}, …], "more": 0}
//!
//! $ curl -s localhost:8765/growth
//! {"schema": 1, "registry": {…}, "samples": 1, "lines": [{"name": "context", "is_probe": false,
//!  "location": "examples/window.rs:38", "counts": [6], "more": 0, "is_rising": false}, …], "more": 0}
//!
//! $ curl -s localhost:8765/closing
//! {"schema": 1, "registry": {…}, "closes": [], "more": 0}
//!
//! $ curl -s localhost:8765/readyz
//! {"schema": 1, "registry": {"id": "3ad63b8d", "state": "open", "ready": true, "labels": "shown"}}
//!
//! $ curl -s localhost:8765/tree?parent=c99
//! {"schema": 1, "error": {"code": "gone", "message": "there is nothing with this id any more"}}
//! ```
//!
//! `/events` begins with `begin`, which has the number that all events follow; then there is a message for each
//! [event](crate::docs::events), `lost` in the place of those that the reader was too slow for, and `end` when the registry has closed.
//! `seq` of a `/tree` says which events that is as new as.
//!
//! `/metrics` is text, with the names of `headcount::metrics`. It has a recorder of its own: the program needs none for it, and its own
//! figures are not in it. Prometheus sends the token of a window with `authorization: {credentials: …}` in its `scrape_configs`. Without a
//! token, kinds that are made at run time are hashed.
//!
//! ```text
//! $ curl -s localhost:8765/metrics | grep '^headcount_tasks'
//! headcount_tasks_restarted_total 0
//! headcount_tasks_ended_total{outcome="finished"} 4
//! …
//! ```
//!
//! # Errors
//!
//! | status | code |
//! |---|---|
//! | 400 | `bad_query`, `unknown_parameter`, `repeated_parameter`, `bad_parameter`, `missing_id`, `bad_id`, `not_a_context`, `no_handles` |
//! | 401 | `unauthorized` |
//! | 403 | `forbidden_host`, `forbidden_origin`, `forbidden_peer`, `closing_is_off` |
//! | 404 | `unknown_path` (a router of the program's own has its own answer), `other_registry` |
//! | 405 | `method_not_allowed` |
//! | 410 | `gone`: the id was of something that is not listed any more |
//! | 429 | `busy`: a dump or a search for leaks is under way |
//! | 503 | `too_many_streams`, `registry_gone` |
//!
//! # Who may look
//!
//! See [`Window`](crate::window::Window#safe-by-default) for the rules. What they are for:
//!
//! * *Pages of other sites*, in the browser of an operator. They cannot send the `Host` of the window with a name of their own
//!   (DNS rebinding), nor its `Origin`; what they load as a picture or a script is refused by the browser's own mark (`Sec-Fetch-Site`).
//! * *Other machines.* Without a token a request is answered if its peer is known to be on this machine. A proxy on the same machine is
//!   such a peer: it has to send its own name as `Host`, which is refused unless [`Window::host`](crate::window::Window::host) names it.
//!   A window behind a proxy wants a token.
//! * *Other users of the same machine* can reach loopback. Names that are made at run time may contain what clients sent, so without a
//!   token they are hashed, and everything that may quote them is left out: texts, reasons, the picture. Literals, lines and functions are in
//!   the source, and are shown. A hash is the same for the same name until the process ends.
//! * *Names made to do harm* are data everywhere: escaped in JSON, set as text in the page, whose policy runs nothing but its own files.
//!
//! `/livez` and `/readyz` are answered to all, as probes need it. They have no names in them.
//!
//! # While the service stops
//!
//! A [`WindowServer`](crate::window::WindowServer) stops when it is dropped. In the body of `headcount::run` that is at the end of the
//! body, when the close has only begun: [`detach`](crate::window::WindowServer::detach) it, and `/closing` can be asked until the process ends.
//! A router that is nested at `/debug` has its page at `/debug`; `/debug/` is another path, which axum does not know.
//!
//! # What it costs
//!
//! Nothing while nothing asks: there is no task, no subscriber and no sample. A look lists everything in bounded steps, and sorts and
//! writes beside the runtime's threads. One dump, and one search for leaks, is made at a time. `/events` subscribes for as long as it is read,
//! which costs what [subscribers](crate::docs::events#cost) do.
//!
//! The window runs on the program's own runtime. Where every thread of that is blocked it does not answer: serve it on a runtime of its
//! own, in a thread of its own, if it is for such a case. Its connections are no tasks of the registry: no close waits for them, and they
//! go on when the registry has closed, so that one can see what became of it.
