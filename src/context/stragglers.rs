//! What is still there when a close has lost its patience.

use crate::{
    clock,
    context::core::Core,
    name::Printed,
    sync::lock,
    table::{live::Live, resource::Resource},
};
use std::{fmt, time::Duration};

/// How many stragglers an event names.
const NAMED: usize = 10;

/// Warns of what the close of this context itself waits for; its children warn for themselves. The
/// first warning comes at the end of the grace period, before the abort.
pub(crate) async fn warn(core: &Core) {
    let node = &core.node;
    let children = lock(&core.children).len() as u64;
    if node.gate.inside() <= children {
        return;
    }
    let live = node.table.live().await.tasks();
    let own: Vec<_> = live
        .iter()
        .filter(|task| task.parent() == Some(node.meta.id))
        .collect();
    let since = core
        .begun
        .get()
        .map_or(Duration::ZERO, |(_, at)| clock::now() - *at);
    let said = if node.gate.is_aborting() {
        "still closing"
    } else {
        "the grace period is over, aborting"
    };
    tracing::warn!(
        context = %Printed(&node.meta.name),
        id = %node.meta.id,
        tasks = own.len(),
        "{said} after {}: {}",
        clock::human(since),
        Named(&own)
    );
}

/// `name (kind, state, age, spawned at file:line), …`
struct Named<'a>(&'a [&'a Resource]);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, task) in self.0.iter().take(NAMED).enumerate() {
            if n > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{} ({})", Printed(task.name()), Straggler(task))?;
        }
        match self.0.len().saturating_sub(NAMED) {
            0 => Ok(()),
            more => write!(f, ", … {more} more"),
        }
    }
}

/// What one would want to know of a task that does not end.
struct Straggler<'a>(&'a Resource);

impl fmt::Display for Straggler<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (task, location) = (self.0, self.0.location());
        write!(f, "{} {}", Printed(task.kind()), task.state())?;
        write!(f, " for {}", clock::human(task.age()))?;
        write!(f, ", spawned at {}:{}", location.file(), location.line())?;
        if task.is_unabortable() {
            f.write_str(", cannot be aborted")?;
        }
        Ok(())
    }
}

/// The answer of `close_within` when the limit came first: what is still in the way.
///
/// The close itself goes on; [`close`](crate::Context::close) or [`closed`](crate::Context::closed)
/// joins it.
#[derive(Clone)]
pub struct StillClosing {
    name: String,
    limit: Duration,
    remaining: Live,
}

impl StillClosing {
    pub(crate) fn new(name: &str, limit: Duration, remaining: Live) -> Self {
        Self {
            name: name.to_owned(),
            limit,
            remaining,
        }
    }

    /// The tasks and contexts that the close was waiting for when the limit came.
    pub fn remaining(&self) -> &Live {
        &self.remaining
    }
}

impl fmt::Display for StillClosing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tasks = self.remaining.tasks();
        let own: Vec<_> = tasks.iter().collect();
        write!(
            f,
            "{} is still closing after {}",
            Printed(&self.name),
            clock::human(self.limit)
        )?;
        if own.is_empty() {
            let contexts = self.remaining.contexts().len();
            return write!(
                f,
                ": no task is left, {contexts} contexts are running hooks or dropping values"
            );
        }
        let plural = if own.len() == 1 { "" } else { "s" };
        write!(
            f,
            ", waiting for {} task{plural}: {}",
            own.len(),
            Named(&own)
        )
    }
}

impl fmt::Debug for StillClosing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StillClosing")
            .field("name", &self.name)
            .field("limit", &self.limit)
            .field("remaining", &self.remaining)
            .finish()
    }
}

impl std::error::Error for StillClosing {}
