//! Web services: the layer that counts requests, and the server, one fact a test. A binary of its own, because it needs hyper.

#![expect(
    clippy::unwrap_used,
    reason = "tests unwrap, and spell futures out as users do"
)]

#[cfg(all(feature = "axum", feature = "dump"))]
mod dumps;
mod layer;
#[cfg(feature = "axum")]
mod peers;
mod said;
mod serve;
mod telling;
#[path = "../it/util.rs"]
#[expect(dead_code, reason = "most of it is for other tests")]
mod util;
