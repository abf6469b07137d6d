//! What a dump says of a web socket of axum.

use headcount::Registry;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use web_service::Service;

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                       sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// The library of the socket keeps two wakers for one wait.
#[tokio::test]
async fn each_branch_of_a_web_sockets_handler_is_named_once() {
    let registry = Registry::new();
    let ctx = registry.context("app");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = Box::pin(Service::start(&ctx, registry.readiness(), listener));
    let service = service.await.unwrap();
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(UPGRADE.as_bytes()).await.unwrap();
    socket.read_u8().await.unwrap();
    while registry.live().await.find("chat").is_none() {
        tokio::task::yield_now().await;
    }
    let dump = registry.dump().await;
    let chat = dump.find("chat").unwrap().to_string();
    for branch in [
        "→ axum::extract::ws::WebSocket::recv",
        "→ headcount::WeakContext::cancelled",
    ] {
        assert_eq!(chat.matches(branch).count(), 1, "{chat}");
    }
    assert!(!chat.contains(" × "), "{chat}");
    assert!(ctx.close().await.is_clean());
    drop(service);
}
