//! The service within the test, with the kit of `headcount::testing`.

#![expect(clippy::unwrap_used, reason = "tests unwrap")]

use headcount::{Registry, testing};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use web_service::Service;

/// What a server answers to a request, on a connection of its own.
async fn ask(address: std::net::SocketAddr, request: &str, body: &str) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "{request} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn notes_are_kept_and_nothing_is_left_after_the_close() {
    let scenario = testing::check(async |registry: Registry| {
        let ctx = registry.context("web");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = Service::start(&ctx, registry.readiness(), listener)
            .await
            .unwrap();

        let added = ask(address, "POST /notes", "three short words").await;
        assert!(
            added.starts_with("HTTP/1.1 201") && added.ends_with("\r\n1"),
            "{added}"
        );
        let note = ask(address, "GET /notes/1", "").await;
        assert!(note.ends_with("three short words"), "{note}");
        let missing = ask(address, "GET /notes/2", "").await;
        assert!(missing.starts_with("HTTP/1.1 404"), "{missing}");
        let wrong = ask(address, "GET /notes/x", "").await;
        assert!(wrong.starts_with("HTTP/1.1 400"), "{wrong}");
        assert!(ask(address, "GET /livez", "").await.ends_with("alive"));

        let report = ctx.close().await;
        assert!(report.is_clean(), "{report}");
        drop(service);
    });
    Box::pin(scenario).await;
}

#[tokio::test]
async fn parts_close_in_the_order_in_which_they_need_each_other() {
    let ctx = Registry::new().context("web");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let service = Service::start(&ctx, Registry::new().readiness(), listener).await;
    let names = |ctx: &headcount::Context| -> Vec<String> {
        let children = ctx.children();
        children
            .iter()
            .map(|child| child.name().to_owned())
            .collect()
    };
    let mut all = names(&ctx);
    all.sort();
    assert_eq!(all, ["jobs", "pool", "web"]);
    let web = ctx
        .children()
        .into_iter()
        .find(|child| child.name() == "web");
    web.unwrap().upgrade().unwrap().close().await;
    let mut left = names(&ctx);
    left.sort();
    assert!(
        left.ends_with(&["jobs".to_owned(), "pool".to_owned()]),
        "{left:?}"
    );
    assert!(ctx.close().await.is_clean());
    drop(service);
}
