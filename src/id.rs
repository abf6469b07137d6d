//! The identity of everything a registry lists.

use std::fmt;

/// Names one entry of one registry, and never another: ids are not reused.
///
/// An id is a place in the registry's table plus the generation of that place, plus the registry it
/// belongs to. An id of something that is gone therefore never matches a newer entry, and an id of
/// one registry never matches in another.
///
/// It prints as `#t12`, or `#t12.3` for the fourth tenant of place 12, which is one thing within a registry: `t` stands
/// for the tasks and registrations, `c` for the contexts and owned values, `a` for the tracked `Arc`s, `h` for hooks that
/// are running, which a dump names. The id of a task that was refused prints as `#refused`.
///
/// ```
/// let registry = headcount::Registry::new();
/// let door = registry.register("front door", "door");
/// let id = door.id();
/// assert_eq!(registry.live_now().find("front door").map(|r| r.id()), Some(id));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceId {
    pub(crate) table: u32,
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl ResourceId {
    /// What a task that was refused has for an id: it names no entry of any registry.
    pub(crate) const REFUSED: Self = Self {
        table: u32::MAX,
        index: u32::MAX,
        generation: u32::MAX,
    };
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::REFUSED {
            return f.write_str("#refused");
        }
        // A registry has four lists, with numbers that follow each other.
        let table = ['t', 'c', 'a', 'h'][self.table as usize % 4];
        match self.generation {
            0 => write!(f, "#{table}{}", self.index),
            generation => write!(f, "#{table}{}.{generation}", self.index),
        }
    }
}

impl fmt::Debug for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResourceId({self})")
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for ResourceId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
