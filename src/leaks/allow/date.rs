//! Days, as entries end with them.

use super::what::Problem;
use crate::name::Printed;
use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

const SECONDS_A_DAY: i64 = 86_400;

/// A day of the Gregorian calendar, in UTC. The order is that of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Day {
    year: i64,
    month: i64,
    of_month: i64,
}

impl Day {
    /// By the clock of the system. It does not stand still when tokio's does.
    pub(crate) fn today() -> Self {
        Self::of(SystemTime::now())
    }

    fn of(time: SystemTime) -> Self {
        let seconds = match time.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
            // A second that has begun counts: it lies before the epoch.
            Err(before) => {
                let before = before.duration();
                let whole = i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
                -whole - i64::from(before.subsec_nanos() > 0)
            }
        };
        Self::since_epoch(seconds.div_euclid(SECONDS_A_DAY))
    }

    /// `civil_from_days` of Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms". Years begin in
    /// March there, so that a leap day is the last of its year; an era has 400 of them.
    fn since_epoch(days: i64) -> Self {
        let days = days + 719_468;
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let month = if from_march < 10 {
            from_march + 3
        } else {
            from_march - 9
        };
        Self {
            year: days.div_euclid(146_097) * 400 + year_of_era + i64::from(month <= 2),
            month,
            of_month: day_of_year - (153 * from_march + 2) / 5 + 1,
        }
    }

    pub(crate) fn parse(text: &str) -> Result<Self, Problem> {
        let shown = Printed(text);
        let Some([year, month, of_month]) = numbers(text) else {
            return Err(format!(
                "`{shown}` is no date: write it like 2026-12-31, or never"
            ));
        };
        let Some(last) = days_of(year, month) else {
            return Err(format!("`{shown}` is no date: there is no month {month}"));
        };
        if !(1..=last).contains(&of_month) {
            return Err(format!("`{shown}` is no date: that month has {last} days"));
        }
        Ok(Self {
            year,
            month,
            of_month,
        })
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            year,
            month,
            of_month,
        } = self;
        write!(f, "{year:04}-{month:02}-{of_month:02}")
    }
}

/// The last day an entry holds: none for `never`.
pub(super) fn parse_until(text: &str) -> Result<Option<Day>, Problem> {
    if text == "never" {
        return Ok(None);
    }
    Day::parse(text).map(Some)
}

/// The three numbers, if there are just as many digits as in 2026-12-31: what is shorter may mean another
/// order, or another century.
fn numbers(text: &str) -> Option<[i64; 3]> {
    let mut parts = text.split('-');
    let mut number = |digits: usize| {
        let part = parts.next()?;
        (part.len() == digits && part.bytes().all(|c| c.is_ascii_digit()))
            .then(|| part.parse().ok())?
    };
    let found = [number(4)?, number(2)?, number(2)?];
    parts.next().is_none().then_some(found)
}

fn days_of(year: i64, month: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    Some(match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(leap),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn day(text: &str) -> Day {
        Day::parse(text).unwrap()
    }

    fn after_epoch(seconds: u64) -> String {
        Day::of(UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
    }

    #[test]
    fn a_day_prints_as_it_was_written() {
        for text in ["2026-12-31", "2024-02-29", "2000-02-29", "0001-01-01"] {
            assert_eq!(day(text).to_string(), text);
        }
    }

    #[test]
    fn days_are_in_the_order_of_time() {
        assert!(day("2026-12-31") < day("2027-01-01"));
        assert!(day("2026-09-30") < day("2026-10-01"));
        assert!(day("2026-10-09") < day("2026-10-10"));
    }

    #[test]
    fn a_day_that_is_not_in_the_calendar_is_refused() {
        for (text, why) in [
            ("2026-02-30", "that month has 28 days"),
            ("2024-02-30", "that month has 29 days"),
            ("1900-02-29", "that month has 28 days"),
            ("2026-04-31", "that month has 30 days"),
            ("2026-01-00", "that month has 31 days"),
            ("2026-13-01", "there is no month 13"),
            ("2026-00-01", "there is no month 0"),
        ] {
            assert_eq!(
                Day::parse(text).unwrap_err(),
                format!("`{text}` is no date: {why}")
            );
        }
    }

    #[test]
    fn a_date_of_another_form_is_refused() {
        for text in [
            "",
            "26-1-1",
            "2026-1-1",
            "31.12.2026",
            "2026/12/31",
            "20261231",
            "2026-12-31-",
            "2026-12-31T00:00",
            "-2026-12-31",
            "+026-12-31",
            "2026-12-3１",
            "２026-12-31",
            "Never",
            " 2026-12-31",
        ] {
            assert_eq!(
                Day::parse(text).unwrap_err(),
                format!("`{text}` is no date: write it like 2026-12-31, or never")
            );
        }
    }

    #[test]
    fn a_day_begins_at_midnight() {
        assert_eq!(after_epoch(0), "1970-01-01");
        assert_eq!(after_epoch(86_399), "1970-01-01");
        assert_eq!(after_epoch(86_400), "1970-01-02");
        assert_eq!(after_epoch(1_798_761_599), "2026-12-31");
        assert_eq!(after_epoch(1_798_761_600), "2027-01-01");
    }

    #[test]
    fn what_lies_before_the_epoch_is_the_day_before() {
        let moment = UNIX_EPOCH.checked_sub(Duration::from_millis(1));
        // Not every system has such times.
        if let Some(moment) = moment {
            assert_eq!(Day::of(moment).to_string(), "1969-12-31");
        }
    }

    /// 800 years of them, against the lengths of the months.
    #[test]
    fn day_follows_day() {
        let mut expected = day("1599-12-31");
        let first = -135_141;
        for days in first..first + 293_000 {
            assert_eq!(Day::since_epoch(days), expected, "{days}");
            expected.of_month += 1;
            if Some(expected.of_month) > days_of(expected.year, expected.month) {
                (expected.of_month, expected.month) = (1, expected.month + 1);
            }
            if expected.month == 13 {
                (expected.month, expected.year) = (1, expected.year + 1);
            }
        }
    }

    #[test]
    fn today_is_not_before_this_was_written() {
        assert!(Day::today() > day("2025-01-01"));
    }
}
