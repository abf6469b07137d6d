//! Dumps of a context, and of all that is below it.

use crate::{
    context::state::Node,
    dump::{collect, dump::Dump},
    offload::offload,
    poll::running_hooks::RunningHook,
    table::live::Live,
};
use std::{sync::Arc, time::Duration};

/// How long a dump waits for answers, unless told.
pub(crate) const DUMP_LIMIT: Duration = Duration::from_secs(1);

impl Node {
    /// The hooks that its close waits for just now, those of descendants included.
    pub(crate) fn running_hooks(&self) -> Vec<Arc<RunningHook>> {
        let mut hooks = self.table.hooks.all();
        hooks.retain(|hook| hook.is_below(self));
        hooks
    }

    /// Asks the tasks of a listing, or of some part of it, where they wait, and the hooks of this context and those below it.
    pub(crate) async fn dump(
        &self,
        limit: Duration,
        part: impl FnOnce(Live) -> Live + Send + 'static,
    ) -> Dump {
        let asking = collect::asking();
        let table = Arc::clone(&self.table);
        let live = table.live().await;
        // Sorting them takes a while.
        let mut tasks: Vec<_> = offload(move || part(live).tasks().into_iter().collect()).await;
        let all = tasks.len();
        tasks.retain(|task| !asking.contains(&task.id()));
        let leaves_out = tasks.len() < all;
        let mut dump = collect::dump(table, tasks, self.running_hooks(), limit).await;
        dump.leaves_out = leaves_out;
        dump
    }
}
