//! [`LimitUsage`]: how full a limit is.

use std::fmt;

/// How full a limit was at one moment. Made by [`Limit::usage`](crate::Limit::usage).
///
/// The numbers are of the same moment: as long as any code waits, at least [`max`](Self::max) places are used.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let ctx = headcount::Registry::new().context("ctx");
/// let limit = ctx.limit("uploads", 8).queue(100);
/// let _permit = limit.acquire().await.unwrap();
/// let usage = limit.usage();
/// assert_eq!((usage.used, usage.max, usage.waiting, usage.queue), (1, 8, 0, 100));
/// assert_eq!(usage.to_string(), "1 of 8 used");
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimitUsage {
    /// Places that are taken, those included that were given to code that waited and has not been polled since. More than
    /// [`max`](Self::max) after it was [set](crate::Limit::set) below what was used.
    pub used: usize,
    /// How many places there are.
    pub max: usize,
    /// How many wait for one.
    pub waiting: usize,
    /// How many may wait.
    pub queue: usize,
}

/// `8 of 8 used, 3 waiting`
impl fmt::Display for LimitUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} used", self.used, self.max)?;
        match self.waiting {
            0 => Ok(()),
            waiting => write!(f, ", {waiting} waiting"),
        }
    }
}
