//! `POST /close`: begins the close of a context, where the program allows it.

use crate::{
    context::{current::node_of, driver},
    event,
    name::Printed,
    table::resource::short_path,
    window::{answer::answer, params::Params, problem::Problem, shared::Shared},
};
use serde::Serialize;
use std::{net::SocketAddr, sync::Arc};

#[derive(Serialize)]
struct Closing {
    /// What closes.
    closing: String,
}

/// Begins the close, and notes who asked for it. Needs the token, which is checked before.
pub(crate) fn close(
    shared: &Arc<Shared>,
    uri: &axum::http::Uri,
    peer: Option<SocketAddr>,
) -> Result<String, Problem> {
    let is_guarded = shared.access.token.is_some();
    let allowed = shared.allows_close.filter(|_| is_guarded);
    let allowed = allowed.ok_or_else(Problem::closing_is_off)?;
    let params = Params::of(uri, &["id"])?;
    let found = shared.find(params.get("id").ok_or_else(Problem::missing_id)?)?;
    let node = node_of(found.record()).ok_or_else(Problem::not_a_context)?;
    let core = node.core.upgrade().ok_or_else(Problem::gone)?;
    let peer = peer.map_or_else(|| "an unknown address".to_owned(), |peer| peer.to_string());
    let path = short_path(node);
    let path = Printed(&path);
    event::emit!(target: "headcount::window", WARN, context = %path, peer = %peer, "its close was asked for through the window");
    driver::request_at(&core, "window".into(), allowed);
    let closing = shared.ids.write(found.id());
    Ok(answer(shared, Closing { closing }))
}
