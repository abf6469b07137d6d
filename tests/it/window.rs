//! The window: what each path answers, what it refuses, and what it keeps to itself.

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::ConnectInfo,
    http::{Request, Response, header},
};
use futures::{FutureExt as _, StreamExt as _};
use headcount::{
    CloseReason, Context, Level, Registry,
    leaks::LeakPolicy,
    window::{Window, WindowError},
};
use serde_json::Value;
use std::{future::pending, net::SocketAddr, time::Duration};
use tower::ServiceExt as _;

const LOCAL: &str = "127.0.0.1:40000";

/// A request from this machine.
fn get(path: &str) -> Request<Body> {
    from(LOCAL, path)
}

fn from(peer: &str, path: &str) -> Request<Body> {
    let peer: SocketAddr = peer.parse().unwrap();
    let mut request = Request::get(path)
        .header(header::HOST, "localhost:8765")
        .body(Body::empty())
        .unwrap();
    request.extensions_mut().insert(ConnectInfo(peer));
    request
}

fn with(mut request: Request<Body>, name: &'static str, value: &str) -> Request<Body> {
    request.headers_mut().insert(name, value.parse().unwrap());
    request
}

async fn send(router: &Router, request: Request<Body>) -> Response<Body> {
    router.clone().oneshot(request).await.unwrap()
}

async fn text(response: Response<Body>) -> String {
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

async fn ask(router: &Router, request: Request<Body>) -> (u16, Value) {
    let response = send(router, request).await;
    let status = response.status().as_u16();
    let text = text(response).await;
    let value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status}: {text}"));
    (status, value)
}

async fn json(window: &Window, query: &str) -> Value {
    serde_json::from_str(&window.json(query).await.unwrap()).unwrap()
}

async fn code(window: &Window, query: &str) -> (u16, &'static str) {
    let problem = window.json(query).await.unwrap_err();
    (problem.status(), problem.code())
}

fn names(page: &Value) -> Vec<String> {
    let entries = page["entries"].as_array().unwrap().iter();
    let name = |entry: &Value| entry["name"].as_str().unwrap().to_owned();
    entries.map(name).collect()
}

fn id_of(page: &Value, name: &str) -> String {
    let entries = page["entries"].as_array().unwrap();
    let entry = entries.iter().find(|entry| entry["name"] == name).unwrap();
    entry["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn pages_have_every_entry_once_and_in_the_order_of_creation() {
    let registry = Registry::new();
    let _conns: Vec<_> = (0..1_234)
        .map(|n| registry.register(format!("conn-{n}"), "conn"))
        .collect();
    let window = registry.window().show_labels();
    let (mut all, mut after, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = json(&window, &format!("/tree?kind=conn&after={after}")).await;
        assert_eq!(
            (&page["total"], &page["matched"]),
            (&1_234.into(), &1_234.into())
        );
        all.extend(names(&page));
        pages += 1;
        match page["next"].as_str() {
            Some(next) => next.clone_into(&mut after),
            None => break,
        }
    }
    let live = registry.live().await;
    let listed: Vec<_> = live.iter().map(|it| it.name().to_owned()).collect();
    assert_eq!((all, pages), (listed, 3));
}

#[tokio::test]
async fn the_tree_unfolds_part_by_part() {
    let registry = Registry::new();
    let server = registry.context("server");
    let conn = server.child("conn");
    conn.task("reader").spawn(pending::<()>());
    conn.task("writer").spawn(pending::<()>());
    let window = registry.window();

    let top = json(&window, "/tree").await;
    assert_eq!(names(&top), ["server"]);
    assert_eq!(top["entries"][0]["children"], 1);
    let server_id = id_of(&top, "server");
    let inside = json(&window, &format!("/tree?parent={server_id}")).await;
    assert_eq!(
        (names(&inside), &inside["entries"][0]["children"]),
        (vec!["conn".to_owned()], &2.into())
    );
    let printed = conn.id().to_string();
    let by_print = json(
        &window,
        &format!("/tree?parent={}", printed.replace('#', "%23")),
    )
    .await;
    assert_eq!(names(&by_print), ["reader", "writer"]);
    assert_eq!(by_print["entries"][0]["path"], "server/conn/reader");
    assert_eq!(names(&json(&window, "/tree?all").await).len(), 4);
    server.close_now().await;
}

#[tokio::test]
async fn filters_narrow_what_is_listed() {
    let registry = Registry::new();
    let server = registry.context("server");
    server.task("reader").spawn(pending::<()>());
    let _pool = registry.register("pool", "pool");
    tokio::task::yield_now().await;
    let window = registry.window();
    for (filter, found) in [
        ("kind=task", vec!["reader"]),
        ("class=resource", vec!["pool"]),
        ("state=open", vec!["server"]),
        ("state=running", vec!["reader"]),
        ("name=OO", vec!["pool"]),
        ("name=er&class=context", vec!["server"]),
        ("older=1000", vec![]),
        ("kind=none", vec![]),
        ("all&limit=1", vec!["server"]),
    ] {
        let page = json(&window, &format!("/tree?{filter}")).await;
        assert_eq!(names(&page), found, "{filter}");
    }
    server.close_now().await;
}

#[tokio::test]
async fn bad_questions_get_clear_errors() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let reader = ctx.task("reader").spawn(pending::<()>());
    let other = Registry::new();
    let _other = other.context("other");
    let foreign = id_of(&json(&other.window(), "/tree").await, "other");
    let gone = {
        let _gone = registry.register("gone", "thing");
        id_of(&json(&registry.window(), "/tree").await, "gone")
    };
    let window = registry.window();
    let task = id_of(&json(&window, "/tree?kind=task").await, "reader");
    for (query, problem) in [
        ("/nope".to_owned(), (404, "unknown_path")),
        ("/tree/".to_owned(), (404, "unknown_path")),
        ("tree".to_owned(), (404, "unknown_path")),
        (String::new(), (400, "bad_query")),
        ("/tree?\u{7}".to_owned(), (400, "bad_query")),
        ("/tree?colour=red".to_owned(), (400, "unknown_parameter")),
        ("/dump?verbose".to_owned(), (400, "unknown_parameter")),
        (
            "/tree?kind=a&kind=b".to_owned(),
            (400, "repeated_parameter"),
        ),
        (
            "/tree?parent=".to_owned() + &foreign,
            (404, "other_registry"),
        ),
        (
            "/holders?id=".to_owned() + &foreign,
            (404, "other_registry"),
        ),
        ("/holders?id=".to_owned() + &gone, (410, "gone")),
        ("/holders".to_owned(), (400, "missing_id")),
        ("/holders?id=t1%00".to_owned(), (400, "bad_id")),
        ("/holders?id=".to_owned() + &task, (400, "no_handles")),
        ("/tree?parent=".to_owned() + &task, (400, "not_a_context")),
        ("/dump?under=".to_owned() + &task, (400, "not_a_context")),
        ("/tree?older=-1".to_owned(), (400, "bad_parameter")),
        ("/tree?limit=501".to_owned(), (400, "bad_parameter")),
        ("/tree?limit=0".to_owned(), (400, "bad_parameter")),
        ("/tree?state=dead".to_owned(), (400, "bad_parameter")),
        ("/tree?after=x".to_owned(), (400, "bad_parameter")),
        ("/leaks?settle=11".to_owned(), (400, "bad_parameter")),
    ] {
        assert_eq!(code(&window, &query).await, problem, "{query}");
    }
    let router = window.router();
    let (status, body) = ask(&router, get("/tree?colour=red")).await;
    assert_eq!(
        (status, &body["schema"], &body["error"]["code"]),
        (400, &1.into(), &"unknown_parameter".into())
    );
    reader.abort();
    ctx.close_now().await;
}

#[tokio::test]
async fn hosts_and_origins_of_others_are_refused() {
    let registry = Registry::new();
    let plain = registry.window().router();
    let named = registry.window().host("Ops.example.org").router();
    let guarded = registry.window().token("secret").router();
    let status = async |router: &Router, host: &str| {
        let request = with(get("/"), "host", host);
        send(router, request).await.status().as_u16()
    };
    for host in [
        "localhost",
        "LOCALHOST:1",
        "127.0.0.1:80",
        "127.8.8.8",
        "[::1]:80",
    ] {
        assert_eq!(status(&plain, host).await, 200, "{host}");
    }
    for host in [
        "example.org",
        "localhost.example.org",
        "10.0.0.1",
        "0.0.0.0",
        "localhost@example.org",
        "",
        "a b",
    ] {
        assert_eq!(status(&plain, host).await, 403, "{host}");
    }
    assert_eq!(status(&named, "ops.example.org:443").await, 200);
    assert_eq!(status(&named, "dev.example.org").await, 403);
    assert_eq!(status(&guarded, "10.0.0.1:80").await, 200);
    assert_eq!(status(&guarded, "example.org").await, 403);

    let mut none = get("/tree");
    none.headers_mut().remove(header::HOST);
    assert_eq!(ask(&plain, none).await.1["error"]["code"], "forbidden_host");
    let mut two = get("/tree");
    two.headers_mut()
        .append(header::HOST, "localhost".parse().unwrap());
    assert_eq!(send(&plain, two).await.status(), 403);

    for (origin, status) in [
        ("http://localhost:8765", 200),
        ("http://localhost:3000", 403),
        ("https://example.org", 403),
        ("null", 403),
        ("", 403),
    ] {
        let asked = ask(&plain, with(get("/tree"), "origin", origin)).await;
        assert_eq!(asked.0, status, "{origin}");
    }
    for (site, mode, status) in [
        ("same-origin", "cors", 200),
        ("none", "navigate", 200),
        ("cross-site", "navigate", 200),
        ("cross-site", "no-cors", 403),
        ("same-site", "no-cors", 403),
    ] {
        let request = with(get("/tree"), "sec-fetch-site", site);
        let request = with(request, "sec-fetch-mode", mode);
        assert_eq!(ask(&plain, request).await.0, status, "{site} {mode}");
    }
}

#[tokio::test]
async fn without_a_token_other_machines_get_nothing() {
    let registry = Registry::new();
    let plain = registry.window().router();
    for peer in ["10.0.0.7:1", "[2001:db8::1]:1", "[::ffff:10.0.0.7]:1"] {
        let (status, body) = ask(&plain, from(peer, "/tree")).await;
        assert_eq!(
            (status, &body["error"]["code"]),
            (403, &"forbidden_peer".into())
        );
    }
    assert_eq!(
        ask(&plain, from("[::ffff:127.0.0.1]:1", "/tree")).await.0,
        200
    );
    let mut unknown = get("/tree");
    unknown.extensions_mut().clear();
    assert_eq!(ask(&plain, unknown).await.0, 403);

    let refused = registry.window().serve("0.0.0.0:0").await;
    assert!(matches!(refused, Err(WindowError::NeedsToken(_))));
    let refused = registry.window().token("").serve("127.0.0.1:0").await;
    assert!(matches!(refused, Err(WindowError::EmptyToken)));
    let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
    let refused = registry.window().serve_on(listener);
    assert!(matches!(refused, Err(WindowError::NeedsToken(_))));
    let served = registry.window().token("secret").serve("0.0.0.0:0").await;
    assert!(served.is_ok());
}

#[tokio::test]
async fn a_wrong_token_is_told_nothing() {
    let registry = Registry::new();
    let _user = registry.register("ada lovelace", "user");
    let router = registry.window().token("secret").router();
    for wrong in [
        "",
        "Bearer",
        "Bearer ",
        "Bearer secre",
        "Bearer secret2",
        "Basic secret",
        "secret",
        "Bearer Secret",
    ] {
        for path in [
            "/tree",
            "/dump",
            "/leaks",
            "/holders?id=t0",
            "/growth",
            "/closing",
            "/events",
            "/resourcez",
            "/tree?x",
        ] {
            let response = send(
                &router,
                with(from("10.0.0.7:1", path), "authorization", wrong),
            )
            .await;
            assert_eq!(response.status(), 401, "{wrong} {path}");
            assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Bearer");
            assert!(!text(response).await.contains("ada"));
        }
    }
    let right = with(
        from("10.0.0.7:1", "/tree"),
        "authorization",
        "bearer secret",
    );
    assert_eq!(names(&ask(&router, right).await.1), ["ada lovelace"]);
    for open in ["/", "/page.css", "/page.js", "/livez", "/readyz"] {
        assert_eq!(
            send(&router, from("10.0.0.7:1", open)).await.status(),
            200,
            "{open}"
        );
    }

    let unset = registry.window().token("").router();
    for header in ["", "Bearer ", "Bearer"] {
        let request = with(get("/tree"), "authorization", header);
        assert_eq!(send(&unset, request).await.status(), 401, "{header:?}");
    }
}

/// Everything that has a name made at run time, in every place where a path may write it.
async fn plant_secrets(registry: &Registry) -> (Context, Box<dyn std::any::Any>) {
    let secret = |what: &str| format!("hush-{what}");
    registry.set_level(Level::Holders);
    let ctx = registry.context(secret("context"));
    let kept = ctx.clone();
    let value = registry.own(secret("value"), secret("kind"), ());
    let cache = registry.own(secret("cache"), "cache", ());
    value.held_by(&(&cache, "hush-field"));
    let in_task = value.clone();
    ctx.task(secret("task")).spawn(async move {
        let _value = in_task;
        pending::<()>().await
    });
    let probe = registry.register(secret("registration"), secret("kind of it"));
    let lock = registry.own(secret("lock"), "lock", tokio::sync::Mutex::new(()));
    let held = lock.clone();
    ctx.task(secret("owner")).spawn(async move {
        let _guard = held.lock().await;
        pending::<()>().await
    });
    let wants = lock.clone();
    tokio::task::yield_now().await;
    ctx.task(secret("waiter")).spawn(async move {
        let _guard = wants.lock().await;
    });
    let closed = registry.context(secret("closed"));
    let weak = closed.downgrade();
    ctx.task(secret("holder")).spawn(async move {
        let _held = weak.upgrade();
        pending::<()>().await
    });
    tokio::task::yield_now().await;
    closed.close_with(CloseReason::from(secret("reason"))).await;
    drop(closed); // the task has the last handle
    let stuck = registry.context(secret("stuck"));
    stuck.task(secret("straggler")).spawn(pending::<()>());
    stuck.request_close(secret("why"));
    (ctx, Box::new((kept, value, cache, probe, lock, stuck)))
}

const EVERYTHING: [&str; 7] = [
    "/tree?all",
    "/resourcez?verbose",
    "/dump",
    "/leaks?settle=0",
    "/growth",
    "/closing",
    "/tree?name=hush",
];

// The grace period of what is planted does not pass while symbols are looked up.
#[tokio::test(start_paused = true)]
async fn names_made_at_run_time_are_hashed_without_a_token() {
    let registry = Registry::new();
    let (_ctx, _kept) = plant_secrets(&registry).await;
    let mut shown = 0;
    for (window, is_shown) in [
        (registry.window(), false),
        (registry.window().show_labels(), true),
    ] {
        let mut texts = Vec::new();
        for path in EVERYTHING {
            texts.push(window.json(path).await.unwrap());
        }
        let all = json(&window, "/tree?all").await;
        for entry in all["entries"].as_array().unwrap() {
            if !entry["strong_count"].is_null() {
                let id = entry["id"].as_str().unwrap();
                texts.push(window.json(&format!("/holders?id={id}")).await.unwrap());
            }
        }
        assert!(texts.len() > 12, "{}", texts.len());
        for text in texts {
            if is_shown {
                shown += usize::from(text.contains("hush"));
            } else {
                assert!(!text.contains("hush"), "{text}");
            }
        }
    }
    assert!(shown >= 12, "{shown}");
    let leaks = json(&registry.window(), "/leaks?settle=0")
        .await
        .to_string();
    assert!(
        leaks.contains("\"from\":\"thing\""),
        "a chain has a task in it: {leaks}"
    );
    let hidden = json(&registry.window(), "/tree?class=context").await;
    assert!(
        names(&hidden).iter().all(|name| name.starts_with('~')),
        "{hidden}"
    );
    registry.close_now().await;
}

#[tokio::test]
async fn events_hash_names_as_well() {
    let registry = Registry::new();
    let router = registry.window().router();
    let stream = send(&router, get("/events")).await;
    let ctx = registry.context("hush-context");
    let ctx2 = registry.context(format!("hush-{}", "context"));
    let _ = ctx2
        .task(format!("hush-{}", "task"))
        .spawn(async { panic!("hush-panic") })
        .await;
    ctx2.close_with(CloseReason::from("hush-why".to_owned()))
        .await;
    drop((ctx, ctx2));
    registry.close().await;
    let said = text(stream).await;
    assert!(
        said.contains("event: ended") && said.contains("event: closed"),
        "{said}"
    );
    // The literal is in the source.
    assert_eq!(
        said.replace("hush-context", "").matches("hush").count(),
        0,
        "{said}"
    );
}

/// Also where names are hashed: what happened is no name.
#[cfg(feature = "sessions")]
#[tokio::test]
async fn events_say_what_became_of_a_session_and_why_it_closes() {
    let registry = Registry::new();
    let router = registry.window().router();
    let stream = send(&router, get("/events")).await;
    let server = registry.context("server");
    let pages = server.sessions::<u8>("pages").open();
    pages.attach(7, "ann").await.unwrap().leave();
    registry.close().await;
    let said = text(stream).await;
    assert!(
        said.contains(r#""what": "session", "change": "attached""#)
            && said.contains(r#""what": "closing", "reason": "left""#)
            && said.contains(r#""what": "closed", "reason": "left""#),
        "{said}"
    );
}

#[tokio::test]
async fn hostile_names_are_escaped_and_come_back_as_they_were() {
    let registry = Registry::new();
    let name = "a\u{1b}[31m\u{202e}\n\0\u{7f}\u{9b}\u{2028}<script>alert(1)</script>\"'&\\";
    let ctx = registry.context(name);
    ctx.task(name).spawn(pending::<()>());
    let window = registry.window().show_labels();
    for path in EVERYTHING {
        let text = window.json(path).await.unwrap();
        let acts = |c: char| c.is_control() || matches!(c, '\u{202e}' | '\u{2028}');
        assert!(!text.contains(acts), "{path}");
    }
    assert_eq!(names(&json(&window, "/tree?all").await), [name, name]);
    let router = window.router();
    let page = send(&router, get("/tree")).await;
    let headers = page.headers();
    assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(
        policy.contains("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    let long = registry.register("x".repeat(1_000_000), "long");
    let text = registry
        .window()
        .show_labels()
        .json("/tree?kind=long")
        .await
        .unwrap();
    assert!(
        text.len() < 2_000 && text.contains("(1000000 bytes)"),
        "{}",
        text.len()
    );
    drop(long);
    ctx.close_now().await;
}

#[tokio::test]
async fn one_dump_at_a_time() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    ctx.task("reader").spawn(pending::<()>());
    tokio::task::yield_now().await;
    let router = registry.window().router();
    let mut first = Box::pin(ask(&router, get("/dump")));
    assert!(first.as_mut().now_or_never().is_none());
    let (status, body) = ask(&router, get("/dump")).await;
    assert_eq!((status, &body["error"]["code"]), (429, &"busy".into()));
    let (status, body) = first.await;
    assert_eq!((status, &body["tasks"]), (200, &1.into()));
    assert_eq!(ask(&router, get("/dump")).await.0, 200);
    ctx.close_now().await;
}

#[tokio::test(start_paused = true)]
async fn a_dump_groups_stacks_and_has_deadlocks() {
    let registry = Registry::new();
    let (api, db) = (registry.context("api"), registry.context("db"));
    let (other_api, other_db) = (api.clone(), db.clone());
    api.task("stop")
        .spawn(async move { other_db.close().await });
    db.task("drain")
        .spawn(async move { other_api.close().await });
    for _ in 0..3 {
        registry.task("idle").spawn(pending::<()>());
    }
    tokio::task::yield_now().await;
    let dump = json(&registry.window(), "/dump").await;
    let waiters = dump["deadlocks"][0]["waiters"].as_array().unwrap();
    let paths: Vec<_> = waiters
        .iter()
        .map(|it| it["path"].as_str().unwrap())
        .collect();
    assert_eq!(paths, ["api/stop", "db/drain"]);
    let groups = dump["groups"].as_array().unwrap();
    assert!(groups.iter().any(|group| group["count"] == 3), "{dump}");
    registry.close_now().await;
}

#[tokio::test]
async fn leaks_are_found_with_their_chain_and_picture() {
    let registry = Registry::new();
    registry.set_level(Level::Holders);
    let conn = registry.context("conn-7");
    let forgotten = conn.clone();
    conn.close().await;
    drop(conn);
    let window = registry
        .window()
        .token("secret")
        .leak_policy(LeakPolicy::new().settle(Duration::ZERO));
    let leaks = json(&window, "/leaks").await;
    let group = &leaks["groups"][0];
    assert_eq!(
        (&leaks["is_clean"], &leaks["findings"]),
        (&false.into(), &1.into())
    );
    assert_eq!(
        (&group["kind"], &group["subject"]["name"]),
        (&"closed_but_held".into(), &"conn-7".into())
    );
    assert!(
        group["chain"][0]["taken"]
            .as_str()
            .unwrap()
            .contains("window.rs"),
        "{group}"
    );
    assert!(
        group["advice"]
            .as_str()
            .unwrap()
            .starts_with("drop the handle"),
        "{group}"
    );
    assert!(leaks["picture"].as_str().unwrap().starts_with("<svg"));

    let report = registry
        .leaks(&LeakPolicy::new().settle(Duration::ZERO))
        .await;
    let written = serde_json::to_value(&report).unwrap();
    assert_eq!(
        written["findings"][0]["fingerprint"],
        report.findings()[0].fingerprint()
    );
    assert_eq!(
        written["findings"][0]["subject"]["id"],
        forgotten.id().to_string()
    );
    drop(forgotten);
    assert_eq!(json(&window, "/leaks").await["is_clean"], true);
    assert_eq!(
        serde_json::to_value(registry.leaks(&LeakPolicy::new()).await).unwrap()["is_clean"],
        true
    );
}

#[tokio::test]
async fn holders_are_those_of_the_context() {
    let registry = Registry::new();
    registry.set_level(Level::Holders);
    let ctx = registry.context("ctx");
    let _more: Vec<_> = (0..4).map(|_| ctx.clone()).collect();
    let window = registry.window();
    let id = id_of(&json(&window, "/tree").await, "ctx");
    let answer = json(&window, &format!("/holders?id={id}")).await;
    let holders = ctx.holders();
    assert_eq!(answer["holders"]["strong"], holders.strong_count());
    assert_eq!(answer["holders"]["groups"][0]["count"], 4);
}

#[tokio::test]
async fn a_close_shows_what_is_in_its_way() {
    let registry = Registry::new();
    let ctx = registry.context("upload");
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    ctx.task("last chunk").spawn(ended);
    ctx.request_close("deploy");
    let window = registry.window().show_labels();
    let closes = json(&window, "/closing").await;
    let close = &closes["closes"][0];
    assert_eq!(
        (&close["name"], &close["close"]["reason"]),
        (&"upload".into(), &"requested: deploy".into())
    );
    assert_eq!(
        (
            &close["close"]["tasks"],
            &close["close"]["oldest"][0]["name"]
        ),
        (&1.into(), &"last chunk".into())
    );
    registry.request_close("all");
    assert!(json(&window, "/closing").await["whole"].is_object());
    end.send(()).unwrap();
    registry.closed().await;
    let after = json(&window, "/closing").await;
    assert_eq!(
        (&after["registry"]["state"], &after["closes"]),
        (&"closed".into(), &Value::Array(vec![]))
    );
}

#[tokio::test]
async fn growth_has_a_sample_for_each_look_but_not_for_those_close_together() {
    let registry = Registry::new();
    let router = registry.window().router();
    let _one = registry.register("one", "listener");
    for _ in 0..3 {
        let (_, body) = ask(&router, get("/growth")).await;
        assert_eq!(
            (&body["samples"], &body["lines"][0]["counts"]),
            (&1.into(), &vec![1].into())
        );
    }
}

#[tokio::test]
async fn get_changes_nothing_and_closing_is_off() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let id = id_of(&json(&registry.window(), "/tree").await, "ctx");
    let post = |path: &str| {
        let mut request = get(path);
        *request.method_mut() = axum::http::Method::POST;
        request
    };
    let close = format!("/close?id={id}");
    for router in [
        registry.window().router(),
        registry.window().allow_close().router(),
    ] {
        let (status, body) = ask(&router, post(&close)).await;
        assert_eq!(
            (status, &body["error"]["code"]),
            (403, &"closing_is_off".into())
        );
        assert_eq!(ask(&router, get(&close)).await.0, 405);
        for path in EVERYTHING {
            assert_eq!(ask(&router, post(path)).await.0, 405, "{path}");
        }
    }
    assert!(!ctx.is_cancelled());

    let router = registry.window().token("secret").allow_close().router();
    assert_eq!(ask(&router, post(&close)).await.0, 401);
    let asked = |request| with(request, "authorization", "Bearer secret");
    assert_eq!(ask(&router, asked(post("/close?id=t9"))).await.0, 410);
    let foreign = with(asked(post(&close)), "origin", "https://example.org");
    assert_eq!(ask(&router, foreign).await.0, 403);
    assert!(!ctx.is_cancelled());
    let (status, body) = ask(&router, asked(post(&close))).await;
    assert_eq!((status, &body["closing"]), (202, &id.into()));
    assert_eq!(ctx.closed().await.reason(), &CloseReason::from("window"));
}

#[tokio::test]
async fn streams_end_at_closed_and_no_close_waits_for_them() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let router = registry.window().max_streams(2).router();
    let read = send(&router, get("/events")).await;
    let unread = send(&router, get("/events")).await;
    let (status, body) = ask(&router, get("/events")).await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (503, &"too_many_streams".into())
    );

    ctx.spawn(async {}).await.unwrap();
    drop(ctx);
    assert!(registry.close().await.is_clean());
    let said = text(read).await;
    let whats: Vec<_> = said
        .lines()
        .filter_map(|line| line.strip_prefix("event: "))
        .collect();
    assert_eq!(whats.first(), Some(&"begin"));
    assert!(
        whats.contains(&"spawned") && whats.contains(&"ended"),
        "{said}"
    );
    assert_eq!(whats.last(), Some(&"end"));
    let datas = said.lines().filter_map(|line| line.strip_prefix("data: "));
    for data in datas {
        assert_eq!(serde_json::from_str::<Value>(data).unwrap()["schema"], 1);
    }
    drop(unread);
    assert_eq!(send(&router, get("/events")).await.status(), 200);
    assert_eq!(
        ask(&router, get("/tree")).await.1["registry"]["state"],
        "closed"
    );
}

#[tokio::test]
async fn a_slow_reader_loses_events_and_is_told_how_many() {
    let registry = Registry::new();
    let router = registry.window().router();
    let slow = send(&router, get("/events")).await;
    let mut body = slow.into_body().into_data_stream();
    let begin = body.next().await.unwrap().unwrap();
    assert!(begin.starts_with(b"event: begin"));
    for _ in 0..3_000 {
        registry.spawn(async {}).await.unwrap();
    }
    let next = body.next().await.unwrap().unwrap();
    let next = String::from_utf8(next.to_vec()).unwrap();
    let data = next
        .lines()
        .find_map(|line| line.strip_prefix("data: "))
        .unwrap();
    let lost = serde_json::from_str::<Value>(data).unwrap()["lost"]
        .as_u64()
        .unwrap();
    assert_eq!(lost, 6_000 - 4_096, "{next}");
}

#[tokio::test]
async fn probes_say_whether_it_is_ready_to_everyone() {
    let registry = Registry::new();
    let router = registry.window().token("secret").router();
    let probe = async |path: &str| {
        let request = with(from("10.0.0.7:1", path), "host", "10.1.2.3:8080");
        send(&router, request).await.status().as_u16()
    };
    assert_eq!((probe("/livez").await, probe("/readyz").await), (200, 200));
    registry.request_close("deploy");
    assert_eq!((probe("/livez").await, probe("/readyz").await), (200, 503));
}

#[tokio::test]
async fn the_window_keeps_no_registry() {
    let registry = Registry::new();
    let router = registry.window().router();
    drop(registry);
    let (status, body) = ask(&router, get("/leaks")).await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (503, &"registry_gone".into())
    );
    assert_eq!(ask(&router, get("/tree")).await.0, 200);
    assert_eq!(ask(&router, get("/dump")).await.0, 200);
    assert_eq!(ask(&router, get("/growth")).await.0, 200);
    let end = text(send(&router, get("/events")).await).await;
    assert!(end.contains("event: end"), "{end}");
}

#[tokio::test]
async fn the_page_finds_what_it_loads_under_every_path() {
    let registry = Registry::new();
    let window = || registry.window();
    let app = Router::new()
        .route("/", axum::routing::get(async || "the program's own"))
        .nest("/ops/debug", window().router());
    for (router, path, base) in [
        (window().router(), "/", "./"),
        (app.clone(), "/ops/debug", "./debug/"),
    ] {
        let page = text(send(&router, get(path)).await).await;
        assert!(page.contains(&format!("<base href=\"{base}\">")), "{page}");
    }
    assert_eq!(text(send(&app, get("/")).await).await, "the program's own");
    let page = text(send(&app, get("/ops/debug")).await).await;
    for loaded in ["\"page.css\"", "\"page.js\""] {
        assert!(page.contains(loaded), "{page}");
    }
    let modules = [
        "page.js",
        "server.js",
        "tree.js",
        "panels.js",
        "events.js",
        "page.css",
    ];
    for file in modules {
        let response = send(&app, get(&format!("/ops/debug/{file}"))).await;
        assert_eq!(response.status(), 200, "{file}");
        let text = text(response).await;
        for forbidden in [
            "innerHTML",
            "insertAdjacentHTML",
            "eval(",
            "http://",
            "https://",
            "document.write",
        ] {
            let found = text
                .replace("http://www.w3.org/2000/svg", "")
                .contains(forbidden);
            assert!(!found, "{file} has {forbidden}");
        }
    }
    // The checks of the window do not touch the program's own paths.
    let foreign = with(get("/"), "host", "example.org");
    assert_eq!(send(&app, foreign).await.status(), 200);
    let foreign = with(get("/ops/debug/tree"), "host", "example.org");
    assert_eq!(send(&app, foreign).await.status(), 403);
}

/// What is sent to the server, and what it answers until it closes the connection.
async fn over_tcp(address: SocketAddr, sent: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(sent.as_bytes()).await.unwrap();
    let mut got = Vec::new();
    stream.read_to_end(&mut got).await.unwrap();
    String::from_utf8_lossy(&got).into_owned()
}

#[tokio::test]
async fn its_own_server_is_no_part_of_the_registry_and_outlives_its_close() {
    let registry = Registry::new();
    let server = registry.window().serve("127.0.0.1:0").await.unwrap();
    let address = server.address();
    let request =
        |path: &str| format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    let tree = over_tcp(address, &request("/tree")).await;
    assert!(
        tree.starts_with("HTTP/1.1 200") && tree.contains("\"total\": 0"),
        "{tree}"
    );
    assert!(registry.close().await.is_clean());
    let closed = over_tcp(address, &request("/tree")).await;
    assert!(closed.contains("\"state\": \"closed\""), "{closed}");
    let unknown = over_tcp(address, &request("/nope")).await;
    assert!(
        unknown.starts_with("HTTP/1.1 404") && unknown.contains("unknown_path"),
        "{unknown}"
    );
    let nonsense = over_tcp(address, "\u{1}\u{2} nonsense\r\n\r\n").await;
    assert!(nonsense.starts_with("HTTP/1.1 400"), "{nonsense}");
}

#[tokio::test]
async fn a_server_that_is_dropped_ends_its_streams() {
    let registry = Registry::new();
    let server = registry.window().serve("127.0.0.1:0").await.unwrap();
    let address = server.address();
    let stream = tokio::spawn(over_tcp(
        address,
        "GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n",
    ));
    // The stream has begun when there is a subscriber: then events have numbers.
    let window = registry.window();
    let before = json(&window, "/tree").await["seq"].as_u64();
    loop {
        drop(registry.spawn(async {}));
        tokio::task::yield_now().await;
        if json(&window, "/tree").await["seq"].as_u64() > before {
            break;
        }
    }
    drop(server);
    let said = stream.await.unwrap();
    assert!(
        said.contains("event: begin") && said.contains("event: end"),
        "{said}"
    );
}

/// No recorder is installed, and the program's names stay hidden.
#[cfg(feature = "metrics")]
#[tokio::test]
async fn metrics_are_served_without_a_recorder_of_the_program() {
    let registry = Registry::new();
    let literal = registry.register("door", "door");
    let made = registry.register("door", String::from("ada's door"));
    let page = async |window: Window| {
        let router = window.router();
        let response = send(&router, get("/metrics")).await;
        let kind = response.headers()[header::CONTENT_TYPE]
            .to_str()
            .unwrap()
            .to_owned();
        (response.status().as_u16(), kind, text(response).await)
    };
    let (status, kind, hidden) = page(registry.window()).await;
    assert_eq!(status, 200, "{hidden}");
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    let line = |line: &str| hidden.lines().any(|it| it == line);
    assert!(
        line("headcount_entries{kind=\"door\",state=\"live\"} 1"),
        "{hidden}"
    );
    assert!(
        line("headcount_tasks_refused_total{reason=\"full\"} 0"),
        "{hidden}"
    );
    assert!(line("# TYPE headcount_entries gauge"), "{hidden}");
    assert!(
        hidden.contains("process_resident_memory_bytes "),
        "{hidden}"
    );
    assert!(!hidden.contains("ada"), "{hidden}");
    let (_, _, shown) = page(registry.window().show_labels()).await;
    assert!(shown.contains("kind=\"ada's door\""), "{shown}");

    let router = registry.window().token("t").router();
    assert_eq!(send(&router, get("/metrics")).await.status(), 401);
    let router = registry.window().router();
    assert_eq!(send(&router, get("/metrics?verbose")).await.status(), 400);
    drop((literal, made, registry));
    assert_eq!(send(&router, get("/metrics")).await.status(), 503);
}
