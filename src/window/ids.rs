//! [`Ids`]: ids as texts that name their registry, and the way back.

use crate::{id::ResourceId, window::problem::Problem};
use std::{
    hash::{BuildHasher, RandomState},
    sync::OnceLock,
};

/// How the ids of one registry are written: `t12.3@5f2c1a09`.
///
/// The part before `@` is what reports and dumps print. The part behind it differs from registry to registry and from process to process,
/// so a page that was left open does not take something of the next process for what it showed.
#[derive(Debug)]
pub(crate) struct Ids {
    /// The first of the registry's four table numbers.
    first: u32,
    tag: String,
}

impl Ids {
    /// Those of the registry whose table has this number.
    pub(crate) fn of(first: u32) -> Self {
        static KEY: OnceLock<RandomState> = OnceLock::new();
        let hash = KEY.get_or_init(RandomState::new).hash_one(first);
        Self {
            first,
            tag: format!("{:08x}", hash & 0xffff_ffff),
        }
    }

    /// What names the registry.
    pub(crate) fn tag(&self) -> &str {
        &self.tag
    }

    pub(crate) fn write(&self, id: ResourceId) -> String {
        let printed = id.to_string();
        format!("{}@{}", printed.trim_start_matches('#'), self.tag)
    }

    /// An id with its registry, or as reports print it, which is taken for one of this registry.
    pub(crate) fn read(&self, text: &str) -> Result<ResourceId, Problem> {
        let (printed, tag) = text.split_once('@').unwrap_or((text, &self.tag));
        if tag != self.tag {
            return Err(Problem::other_registry());
        }
        let printed = printed.strip_prefix('#').unwrap_or(printed);
        self.parse(printed).ok_or_else(Problem::bad_id)
    }

    fn parse(&self, printed: &str) -> Option<ResourceId> {
        let mut letters = printed.chars();
        let table = ['t', 'c', 'a', 'h']
            .iter()
            .position(|letter| printed.starts_with(*letter))?;
        letters.next();
        let numbers = letters.as_str();
        let (index, generation) = numbers.split_once('.').unwrap_or((numbers, "0"));
        Some(ResourceId {
            table: self.first + u32::try_from(table).ok()?,
            index: digits(index)?,
            generation: digits(generation)?,
        })
    }
}

/// A number of digits alone: `parse` would take `+1`.
fn digits(text: &str) -> Option<u32> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(index: u32, generation: u32) -> ResourceId {
        ResourceId {
            table: 9,
            index,
            generation,
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let ids = Ids::of(8);
        for id in [id(0, 0), id(12, 3), id(u32::MAX, u32::MAX - 1)] {
            assert_eq!(ids.read(&ids.write(id)).unwrap(), id);
            assert_eq!(ids.read(&id.to_string()).unwrap(), id);
        }
    }

    #[test]
    fn nonsense_is_no_id() {
        let ids = Ids::of(8);
        for text in [
            "",
            "#",
            "t",
            "x1",
            "t+1",
            "t-1",
            "t1.",
            "t1.x",
            "t1.2.3",
            "t99999999999",
            "t1 ",
            "#refused",
            "ü1",
        ] {
            assert_eq!(ids.read(text).unwrap_err().code(), "bad_id", "{text:?}");
        }
        let other = Ids::of(16);
        assert_eq!(
            ids.read(&other.write(id(1, 0))).unwrap_err().code(),
            "other_registry"
        );
    }
}
