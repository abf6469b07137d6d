//! An attach from its beginning to the lease.

use crate::{
    clock,
    context::current,
    sessions::{
        build::build,
        error::AttachError,
        joining::{Attach, Progress, Request, Ticket},
        key::SessionKey,
        lease::{Arrival, Lease, Leases},
        settings::Overflow,
        shared::Shared,
        signal::Watch,
    },
};
use futures::future::select;
use std::{pin::pin, sync::Arc};
use tokio::time::Instant;

/// How far one try came.
enum Tried {
    Open,
    Failed(AttachError),
    /// The session closed meanwhile.
    Ended,
}

/// Attaches to a session. The lease is in from the first poll on: dropping this future loses it.
pub(crate) async fn attach<K: SessionKey, V>(
    shared: Arc<Shared<K>>,
    request: Request<K>,
) -> Result<Lease<K, V>, AttachError> {
    let mut give_up = None;
    loop {
        match shared.with(|table, now, fx| table.attach(&request, now, fx)) {
            Attach::In(ticket) => {
                let is_new = ticket.is_new;
                let lease = lease(&shared, &request, ticket);
                match wait(&shared, &lease, &mut give_up).await {
                    Tried::Open => return Ok(lease),
                    Tried::Failed(error) => return Err(error),
                    // Not once more for one that was opened for this attach alone.
                    Tried::Ended if is_new => return Err(AttachError::Closed),
                    Tried::Ended => {}
                }
            }
            Attach::Closing(id, watch) => {
                if is_inside(&watch) {
                    return Err(AttachError::Closed);
                }
                shared.gone(id, &watch).await;
            }
            Attach::Refused(error) => {
                if matches!(error, AttachError::WrongOwner) {
                    shared.note_wrong_owner(request.location);
                }
                return Err(error);
            }
        }
    }
}

/// Whether this code belongs to the session, and would wait for itself (I10).
fn is_inside(watch: &Watch) -> bool {
    let generation = watch.generation();
    generation.is_some_and(|generation| {
        let parent = generation.context.node().parent.as_ref();
        parent.is_some_and(|session| current::is_inside(session))
    })
}

fn lease<K: SessionKey, V>(
    shared: &Arc<Shared<K>>,
    request: &Request<K>,
    ticket: Ticket,
) -> Lease<K, V> {
    let leases: Arc<dyn Leases> = Arc::<Shared<K>>::clone(shared);
    let arrival = if ticket.is_new {
        Arrival::New
    } else {
        Arrival::Resumed
    };
    Lease::new(
        (Arc::clone(request.key.key()), leases),
        (ticket.id, ticket.lease),
        arrival,
        (ticket.signal, ticket.watch),
    )
}

/// Waits until the session is open. The first one that finds that it has a place builds it.
async fn wait<K: SessionKey, V>(
    shared: &Arc<Shared<K>>,
    lease: &Lease<K, V>,
    give_up: &mut Option<Instant>,
) -> Tried {
    let (id, watch) = (lease.id(), lease.watch());
    loop {
        let mut changed = pin!(watch.changed.notified());
        changed.as_mut().enable();
        match shared.with(|table, _, _| table.progress(id)) {
            Progress::Open => return Tried::Open,
            Progress::Build(key, location) => {
                if let Err(error) = build(shared, id, &key, location) {
                    return Tried::Failed(error);
                }
            }
            Progress::Wait => changed.await,
            Progress::Queued => {
                let Overflow::Wait(limit) = shared.overflow else {
                    changed.await;
                    continue;
                };
                let now = clock::now();
                // One that no clock has never comes.
                let until = give_up.or_else(|| now.checked_add(limit));
                *give_up = until;
                match until.map(|until| until.saturating_duration_since(now)) {
                    Some(left) if left.is_zero() => return Tried::Failed(AttachError::TimedOut),
                    Some(left) => {
                        select(changed, clock::sleep(left)).await;
                    }
                    None => changed.await,
                }
            }
            Progress::Ended => {
                let Some(error) = watch.failed() else {
                    return Tried::Ended;
                };
                // What was built is closed by then.
                shared.gone(id, watch).await;
                return Tried::Failed(error);
            }
        }
    }
}
