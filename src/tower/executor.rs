//! Where hyper runs the streams of HTTP/2.

use super::connection::Connection;
use crate::{context::weak::WeakContext, task::spawn::TaskOrigin};
use std::{panic::Location, sync::Arc};

/// Runs each stream as a task, in the context of the requests: that goes on while connections end.
#[derive(Clone)]
pub(super) struct Streams {
    pub(super) ctx: WeakContext,
    pub(super) connection: Arc<Connection>,
    /// Where the server was started.
    pub(super) location: &'static Location<'static>,
}

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output: Default + Send + 'static> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let connection = Arc::clone(&self.connection);
        let stream = async move { connection.contain(stream).await };
        // Where it is refused the stream is reset, as the client sees.
        let task = self.ctx.task("http/2 stream").kind("stream");
        let origin = TaskOrigin::of::<F>("stream").at(self.location);
        drop(task.try_spawn_as(origin, stream));
    }
}
