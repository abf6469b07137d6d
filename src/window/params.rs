//! [`Params`]: what follows the `?` of a request, each parameter known and given once.

use crate::window::problem::Problem;
use axum::{extract::Query, http::Uri};
use std::time::Duration;

/// The parameters of a request.
#[derive(Debug)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// Those of this request, if all of them are known.
    pub(crate) fn of(uri: &Uri, known: &[&str]) -> Result<Self, Problem> {
        let Query(pairs) =
            Query::<Vec<(String, String)>>::try_from_uri(uri).map_err(|_| Problem::bad_query())?;
        for (at, (name, _)) in pairs.iter().enumerate() {
            let is_repeated = pairs[..at].iter().any(|(other, _)| other == name);
            if !known.contains(&&**name) {
                return Err(Problem::unknown_parameter(name, known));
            }
            if is_repeated {
                return Err(Problem::repeated_parameter(name));
            }
        }
        Ok(Self(pairs))
    }

    /// The value of a parameter. An empty one is as good as none: forms send those that were not filled in.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let mut pairs = self.0.iter();
        let (_, value) = pairs.find(|(other, _)| other == name)?;
        Some(&**value).filter(|value| !value.is_empty())
    }

    /// Whether a parameter is there, with whatever value but `0` and `false`.
    pub(crate) fn has(&self, name: &str) -> bool {
        let mut pairs = self.0.iter();
        pairs.any(|(other, value)| other == name && !matches!(&**value, "0" | "false"))
    }

    /// A time in seconds.
    pub(crate) fn seconds(
        &self,
        name: &'static str,
        most: Duration,
    ) -> Result<Option<Duration>, Problem> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let seconds = text.parse().ok();
        let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let wanted = || format!("a number of seconds from 0 to {}", most.as_secs());
        time.filter(|time| *time <= most)
            .map(Some)
            .ok_or_else(|| Problem::bad_parameter(name, &wanted()))
    }

    /// One of these words.
    pub(crate) fn word(
        &self,
        name: &'static str,
        known: &[&'static str],
    ) -> Result<Option<&'static str>, Problem> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let found = known.iter().find(|word| **word == text);
        let wanted = || format!("one of {}", known.join(", "));
        found
            .map(|word| Some(*word))
            .ok_or_else(|| Problem::bad_parameter(name, &wanted()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(query: &str) -> Result<Params, &'static str> {
        let uri = format!("/x?{query}").parse().unwrap();
        Params::of(&uri, &["kind", "older"]).map_err(|problem| problem.code())
    }

    #[test]
    fn unknown_and_repeated_parameters_are_refused() {
        assert!(params("").is_ok());
        assert_eq!(
            params("kind=task&older=3").unwrap().get("kind"),
            Some("task")
        );
        assert_eq!(params("colour=red").unwrap_err(), "unknown_parameter");
        assert_eq!(params("kind=a&kind=b").unwrap_err(), "repeated_parameter");
    }

    #[test]
    fn seconds_are_within_their_limit() {
        let day = Duration::from_secs(86_400);
        let older = |text: &str| {
            params(&format!("older={text}"))
                .unwrap()
                .seconds("older", day)
        };
        assert_eq!(older("1.5"), Ok(Some(Duration::from_millis(1_500))));
        assert_eq!(older(""), Ok(None));
        for text in ["-1", "nan", "inf", "1e300", "x", "86401"] {
            assert_eq!(older(text).unwrap_err().code(), "bad_parameter", "{text}");
        }
    }
}
