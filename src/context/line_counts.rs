//! [`LineCounts`]: what happens again and again on a line is told the first time, the tenth, the hundredth and so on (I19).

use crate::sync::{Mutex, lock};
use std::{
    collections::{HashMap, hash_map::RandomState},
    fmt,
    panic::Location,
};

type CallSite = &'static Location<'static>;

/// How often something happened on each line of a program.
#[derive(Default)]
pub(crate) struct LineCounts(Mutex<HashMap<CallSite, u64, RandomState>>);

impl LineCounts {
    /// Counts one more from this line, and says how many that makes.
    pub(crate) fn count(&self, line: CallSite) -> u64 {
        let mut lines = lock(&self.0);
        let count = lines.entry(line).or_default();
        *count += 1;
        *count
    }
}

/// Whether it is told that something happened so many times.
pub(crate) fn is_told(count: u64) -> bool {
    count
        .checked_ilog10()
        .is_some_and(|log| 10_u64.pow(log) == count)
}

/// `, 100 times so far`
pub(crate) struct SoFar(pub(crate) u64);

impl fmt::Display for SoFar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 1 {
            return Ok(());
        }
        write!(
            f,
            ", {} so far; the next warning comes at ten times as many",
            Times(self.0)
        )
    }
}

/// `once`, `3 times`, `1,204 times`
pub(crate) struct Times(pub(crate) u64);

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 1 {
            return f.write_str("once");
        }
        let digits = self.0.to_string();
        for (n, digit) in digits.chars().enumerate() {
            if n > 0 && (digits.len() - n) % 3 == 0 {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        f.write_str(" times")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_come_at_powers_of_ten() {
        let warned: Vec<_> = (0..=1_000).filter(|count| is_told(*count)).collect();
        assert_eq!(warned, [1, 10, 100, 1_000]);
    }

    #[test]
    fn times_are_grouped_by_thousands() {
        let cases = [
            (1, "once"),
            (2, "2 times"),
            (999, "999 times"),
            (1_204, "1,204 times"),
        ];
        for (count, said) in cases {
            assert_eq!(Times(count).to_string(), said);
        }
        assert_eq!(Times(1_000_000).to_string(), "1,000,000 times");
    }
}
