//! Where connections come from: what handlers of axum are told of it, and sockets that are not TCP.

use crate::util::in_time;
use axum::{Extension, Router, extract::ConnectInfo, routing::get};
use headcount::{Registry, tower::serve};
use std::net::SocketAddr;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

async fn ask(mut client: impl AsyncRead + AsyncWrite + Unpin) -> String {
    let request = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    client.write_all(request).await.unwrap();
    let mut answer = String::new();
    in_time(client.read_to_string(&mut answer)).await.unwrap();
    answer
}

#[tokio::test]
async fn handlers_of_axum_get_their_peer_as_connect_info() {
    async fn handler(
        ConnectInfo(peer): ConnectInfo<SocketAddr>,
        Extension(same): Extension<SocketAddr>,
    ) -> String {
        format!("{peer} {same}")
    }
    let ctx = Registry::new().context("server");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router: Router = Router::new().route("/", get(handler));
    let server = serve(listener, router, &ctx);
    let client = TcpStream::connect(address).await.unwrap();
    let own = client.local_addr().unwrap();
    let answer = ask(client).await;
    assert!(answer.ends_with(&format!("\r\n{own} {own}")), "{answer}");
    assert!(in_time(ctx.close()).await.is_clean());
    in_time(server).await.unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_socket_is_served() {
    use std::sync::Arc;
    use tokio::net::{UnixListener, UnixStream, unix};
    async fn handler(ConnectInfo(peer): ConnectInfo<Arc<unix::SocketAddr>>) -> String {
        format!("unnamed: {}", peer.is_unnamed())
    }
    let path = std::env::temp_dir().join(format!("headcount-web-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let ctx = Registry::new().context("server");
    let router: Router = Router::new().route("/", get(handler));
    let server = serve(UnixListener::bind(&path).unwrap(), router, &ctx);
    let answer = ask(UnixStream::connect(&path).await.unwrap()).await;
    assert!(answer.ends_with("unnamed: true"), "{answer}");
    assert!(in_time(ctx.close()).await.is_clean());
    in_time(server).await.unwrap();
    std::fs::remove_file(&path).unwrap();
}
