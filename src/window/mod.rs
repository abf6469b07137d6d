//! The window: a page in the browser that shows what is alive, and the same as JSON.
//!
//! [`Registry::window`](crate::Registry::window) makes a [`Window`], which is served by [`Window::serve`] or merged into a router of
//! the program's own by [`Window::router`]. [`docs::window`](crate::docs::window) has every path and what it answers.
//!
//! ```no_run
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let registry = headcount::Registry::new();
//! let server = registry.window().serve("127.0.0.1:8765").await?;
//! println!("http://{}", server.address());
//! # registry.closed().await; drop(server); Ok(()) }
//! ```

// The path of a request: `routes` has `access` check where it comes from, and hands it to the file that is named after its path. That reads
// its `params`, asks the registry, and writes an `answer` beside the runtime, or returns a `problem`. `shared` is what all of them
// need; `ids` and the crate's `labels` say how ids and names are written.

mod access;
mod answer;
mod close;
mod closing;
mod dump;
mod entry;
mod error;
mod events;
mod growth;
mod holders;
mod ids;
mod json;
mod leaks;
#[cfg(feature = "metrics")]
mod metrics;
mod page;
mod params;
mod problem;
mod resources;
mod routes;
mod server;
mod shared;
mod tree;
#[expect(clippy::module_inception, reason = "it is the window")]
pub(crate) mod window;

pub use error::WindowError;
pub use problem::Problem;
pub use server::WindowServer;
pub use window::Window;
