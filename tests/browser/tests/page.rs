//! The page of the window, in a browser: what it says against what the registry says.

#![expect(clippy::unwrap_used, reason = "tests unwrap")]

use browser::Browser;
use headcount::{Context, Level, Registry, window::WindowServer};
use std::{future::pending, time::Duration};
use tokio::{sync::mpsc, task::JoinHandle, time::sleep};

/// A registry with a window, and the address of the page.
async fn served() -> (Registry, WindowServer, String) {
    let registry = Registry::new();
    registry.set_level(Level::Holders);
    let window = registry.window().show_labels();
    let server = window.serve("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/", server.address());
    (registry, server, address)
}

/// Clients that come and go, until this is aborted.
fn load(server: &Context) -> JoinHandle<()> {
    let server = server.downgrade();
    tokio::spawn(async move {
        for number in 0.. {
            let Ok(client) = server.try_child(format!("client {number}")) else {
                return;
            };
            let online = Duration::from_millis(300 + number % 5 * 400);
            tokio::spawn(async move {
                client.task("reader").cancellable().spawn(pending::<()>());
                client.task("writer").cancellable().spawn(pending::<()>());
                sleep(online).await;
                client.close().await;
            });
            sleep(Duration::from_millis(150)).await;
        }
    })
}

/// What the page says of how much there is, once it is what the registry says.
async fn agrees(browser: &Browser, registry: &Registry) {
    let live = registry.live().await;
    for (what, count) in [
        ("tasks", live.tasks().len()),
        ("contexts", live.contexts().len()),
        ("resources", live.resources().len()),
    ] {
        let script = "const [what, count] = arguments; return document.getElementById(`total-${what}`)?.textContent.replace(',', '') === count;";
        browser
            .until(script, &[what.into(), count.to_string().into()])
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_hangs_and_what_leaks_is_found_by_clicking() {
    let (registry, _window, address) = served().await;
    let server = registry.context("server");
    let (silent, mut orders) = mpsc::channel::<u32>(1);
    server.task("import").cancellable().spawn(async move {
        let _silent = silent; // no message ever comes
        orders.recv().await
    });
    let old = server.child("forgotten client");
    let forgotten = old.clone();
    old.close().await;
    drop(old);
    let load = load(&server);
    let browser = Browser::open(&address).await;

    browser.sees("#state", "open").await;
    browser.click("#tree .twisty.some").await;
    browser.sees("#tree .name", "import").await;
    browser.sees("#tree li.ended .name", "client").await;
    browser.click_text("#tree .what", "forgotten client").await;
    browser.sees("#details", "server/forgotten client").await;
    browser.click_text("#details button", "Who holds it").await;
    browser
        .sees("#details", "1 strong handle: 1 recorded")
        .await;
    browser.screenshot("live").await;

    browser.click_text("#tree .what", "server").await;
    browser.sees("#details h2", "server").await;
    browser
        .click_text("#details button", "Where its tasks wait")
        .await;
    browser.sees("#dump .card", "import").await;
    browser
        .sees("#dump .leaf", "tokio::sync::mpsc::Receiver::recv")
        .await;
    browser.sees("#dump .stack", "tests/page.rs").await;
    browser.screenshot("waits").await;

    browser.set_dark(true).await;
    browser.click("#tab-leaks").await;
    browser.click("#find-leaks").await;
    browser
        .sees("#leaks h3", "forgotten client: closed but still held")
        .await;
    browser
        .sees("#leaks .todo", "drop the handle taken at")
        .await;
    let is_drawn = "return (document.querySelector('#leaks img')?.naturalWidth ?? 0) > 300;";
    browser.until(is_drawn, &[]).await;
    browser.screenshot("leaks").await;
    browser.set_dark(false).await;

    browser.click("#tab-growth").await;
    browser.sees("#growth .card", "context").await;
    browser
        .until(
            "return document.querySelectorAll('#growth svg polyline').length > 2;",
            &[],
        )
        .await;

    browser.click("#tab-events").await;
    browser.sees("#events li", "spawned").await;
    browser.sees("#events li", "ended (cancelled)").await;

    // It follows what becomes of it.
    load.abort();
    drop(forgotten);
    browser.click("#tab-live").await;
    registry.context("another").close().await;
    while registry.live().await.contexts().len() > 1 {
        sleep(Duration::from_millis(20)).await;
    }
    agrees(&browser, &registry).await;
    browser.close().await;
    server.close_now().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_shows_what_is_in_its_way_and_the_page_outlives_it() {
    let (registry, _window, address) = served().await;
    let server = registry
        .context_builder("server")
        .grace(Duration::from_secs(3_600))
        .open();
    let upload = server.child("upload");
    let (finish, finished) = tokio::sync::oneshot::channel::<()>();
    upload.task("last chunk").spawn(finished);
    server.task("accept").cancellable().spawn(pending::<()>());
    let browser = Browser::open(&address).await;
    browser.sees("#tree .name", "server").await;
    // The stream of events is open when it has said so.
    browser.click("#tab-events").await;
    let marks = async {
        loop {
            drop(registry.context("mark"));
            sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        () = marks => {}
        () = browser.sees("#events li", "mark") => {}
    }

    let closing = registry.clone();
    let closing = tokio::spawn(async move { closing.close().await });
    browser.sees("#state", "closing").await;
    browser.click("#tab-closes").await;
    browser.sees("#closes .card", "last chunk").await;
    browser.sees("#closes .card", "the registry").await;
    browser.set_dark(true).await;
    browser.screenshot("closes").await;

    finish.send(()).unwrap();
    assert!(closing.await.unwrap().is_clean());
    browser.sees("#state", "closed").await;
    browser.sees("#reports .card", "upload").await;
    browser.sees("#events-note, #notice", "closed").await;
    browser.reload().await;
    browser.sees("#state", "closed").await;
    browser.click("#tab-waits").await;
    browser.click("#take-dump").await;
    browser.sees("#dump-note", "0 tasks").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_entries_stay_usable() {
    let (registry, _window, address) = served().await;
    let cache = registry.context("cache");
    let _all: Vec<_> = (0..100_000)
        .map(|n| cache.register(format!("item {n}"), "item"))
        .collect();
    let browser = Browser::open(&address).await;
    browser.sees("#total-resources", "100,000").await;
    browser.click("#tree .twisty.some").await;
    browser.sees("#tree .name", "item 499").await;
    let rows =
        "return document.querySelectorAll('#tree li[role=treeitem]').length === arguments[0];";
    browser.until(rows, &[501.into()]).await;
    browser
        .click_text("#tree .more button", "Show 500 more of 99,500")
        .await;
    browser.until(rows, &[1_001.into()]).await;

    browser.keys("#filter [name=name]", "item 77777").await;
    browser.until(rows, &[1.into()]).await;
    browser.sees("#matched", "1 of 100,001").await;
    browser.reload().await;
    browser.sees("#total-resources", "100,000").await;
    browser.until(rows, &[1.into()]).await;
    agrees(&browser, &registry).await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_from_outside_are_text() {
    let (registry, _window, address) = served().await;
    let name = "<img src=x onerror='document.title=1'>\u{1b}[31m\u{202e}";
    let ctx = registry.context(name);
    ctx.task(name).spawn(pending::<()>());
    let browser = Browser::open(&address).await;
    browser
        .sees(
            "#tree .name",
            "<img src=x onerror='document.title=1'>\\u{1b}[31m\\u{202e}",
        )
        .await;
    browser.click("#tree .what").await;
    browser.click("#tab-waits").await;
    browser.click("#take-dump").await;
    browser.sees("#dump .card", "<img src=x").await;
    browser.click("#tab-closes").await;
    let is_text =
        "return document.title === 'headcount' && document.querySelectorAll('img').length === 0;";
    browser.until(is_text, &[]).await;
    browser.close().await;
    ctx.close_now().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keyboard_is_enough_and_a_narrow_screen_as_well() {
    let (registry, _window, address) = served().await;
    let server = registry.context("server");
    let conn = server.child("conn");
    conn.task("reader").spawn(pending::<()>());
    let browser = Browser::open(&address).await;
    browser.set_size(390, 760).await;
    browser.sees("#tree .name", "server").await;
    let focus = "const it = document.querySelector('#tree [tabindex=\"0\"]'); it?.focus(); return document.activeElement === it;";
    browser.until(focus, &[]).await;
    browser.keys_to_focus("\u{e014}").await; // right: unfolds
    browser.sees("#tree .name", "conn").await;
    browser.keys_to_focus("\u{e015}").await; // down
    browser.sees("#details .path", "server/conn").await;
    browser.keys_to_focus("\u{e014}").await;
    browser.sees("#tree .name", "reader").await;
    browser.keys_to_focus("\u{e015}").await;
    browser.sees("#details .path", "server/conn/reader").await;
    browser.screenshot("narrow").await;
    let fits = "return document.documentElement.scrollWidth <= window.innerWidth;";
    browser.until(fits, &[]).await;
    browser.keys_to_focus("\u{e012}").await; // left: to the parent
    browser.sees("#details .path", "server/conn").await;

    let tab = "document.getElementById('tab-live').focus(); return true;";
    browser.until(tab, &[]).await;
    browser.keys_to_focus("\u{e014}").await;
    browser.sees("#view-waits", "Ask every task").await;

    let is_named = "return [...document.querySelectorAll('button, input, select, [role=tab], [role=tree], dialog')].every((it) => \
                    it.textContent.trim() || it.labels?.length || it.ariaLabel || it.getAttribute('aria-labelledby'));";
    browser.until(is_named, &[]).await;
    browser.close().await;
    server.close_now().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_is_asked_for_and_not_kept_in_the_address() {
    let registry = Registry::new();
    let _user = registry.register("ada", "user");
    let window = registry.window().token("open sesame");
    let server = window.serve("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/", server.address());
    let browser = Browser::open(&address).await;
    browser.sees("#token-title", "wants its token").await;
    browser.keys("#token", "wrong\n").await;
    browser.sees("#token-wrong", "not the token").await;
    browser.keys("#token", "open sesame\n").await;
    browser.sees("#tree .name", "ada").await;
    browser.close().await;

    let browser = Browser::open(&format!("{address}#token=open%20sesame")).await;
    browser.sees("#tree .name", "ada").await;
    browser
        .until("return location.href === arguments[0];", &[address.into()])
        .await;
    browser.close().await;
}
