//! [`WindowError`]: why a window is not served.

use std::{error::Error, fmt, io, net::SocketAddr};

/// Why [`Window::serve`](crate::window::Window::serve) serves nothing.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{Registry, window::WindowError};
/// let refused = Registry::new().window().serve("0.0.0.0:0").await;
/// assert!(matches!(refused, Err(WindowError::NeedsToken(_))));
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum WindowError {
    /// Other machines could reach this address, and there is no token.
    NeedsToken(SocketAddr),
    /// The token is empty, as that of a variable that is not set.
    EmptyToken,
    /// The address cannot be listened on.
    Io(io::Error),
}

impl fmt::Display for WindowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeedsToken(address) => write!(
                f,
                "other machines could reach {address}: set a token, or serve on 127.0.0.1"
            ),
            Self::EmptyToken => f.write_str("the token is empty: is a variable not set?"),
            Self::Io(error) => write!(f, "cannot listen: {error}"),
        }
    }
}

impl Error for WindowError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}
