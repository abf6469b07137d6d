//! [`HookOutput`]: what a hook may return.

use std::fmt;

/// What a hook may return: nothing, or a result whose error goes into the close report.
///
/// Implemented for `()`, for `Result<(), E>` with any printable `E`, and for `!`, which is what a hook
/// returns that always panics.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let ctx = headcount::Registry::new().context("config");
/// ctx.on_closing(|| async { println!("the config is closing") }).unwrap();
/// ctx.on_close(|| async { "x".parse::<u8>().map(drop) }).unwrap(); // a `Result<(), ParseIntError>`
///
/// let report = ctx.close().await;
/// assert_eq!((report.hooks().ran, report.hooks().failed), (2, 1));
/// assert_eq!(report.failures()[0].message(), "invalid digit found in string");
/// # }
/// ```
pub trait HookOutput {
    /// The error to be reported, printed.
    fn into_error(self) -> Option<String>;
}

impl HookOutput for () {
    fn into_error(self) -> Option<String> {
        None
    }
}

impl<E: fmt::Display> HookOutput for Result<(), E> {
    fn into_error(self) -> Option<String> {
        self.err().map(|error| error.to_string())
    }
}

/// `!`, by a name that the stable compiler accepts.
pub(crate) type Never = <fn() -> ! as Returns>::Output;

pub(crate) trait Returns {
    type Output;
}

impl<T> Returns for fn() -> T {
    type Output = T;
}

#[doc(hidden)]
#[expect(
    private_interfaces,
    reason = "the private trait is only a way to write `!`"
)]
impl HookOutput for Never {
    fn into_error(self) -> Option<String> {
        self
    }
}
