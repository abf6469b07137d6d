//! The identity of everything a registry lists.

use std::fmt;

/// Identifies one entry of one registry. An id is never reused.
///
/// It consists of a slot of the registry's table, the generation of that slot, and the registry. So the id of something
/// that is gone never matches a newer entry, and an id of one registry never matches in another.
///
/// It prints as `#t12`, or as `#t12.3` for the fourth entry in slot 12, which is unique within its registry. `t` stands for
/// tasks and registrations, `c` for contexts and owned values, `a` for tracked `Arc`s, and `h` for running hooks, which
/// dumps name. The id of a task that was refused prints as `#refused`, and that of a registry itself as `#registry`.
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
    /// The id of a task that was refused, which matches no entry of any registry.
    pub(crate) const REFUSED: Self = Self {
        table: u32::MAX,
        index: u32::MAX,
        generation: u32::MAX,
    };
    /// That of a registry itself, which is in no table.
    pub(crate) const REGISTRY: Self = Self {
        table: 0,
        index: u32::MAX,
        generation: u32::MAX,
    };
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::REFUSED {
            return f.write_str("#refused");
        }
        if *self == Self::REGISTRY {
            return f.write_str("#registry");
        }
        // Each registry has four consecutive table numbers, the first of them a multiple of four.
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
