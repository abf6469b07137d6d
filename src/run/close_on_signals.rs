//! The signals of a program that owns its runtime.

use crate::{
    registry::registry::Registry,
    run::{options::StopOptions, stop::Stop, watch},
};
use std::{io, panic::Location};
use tokio::runtime::Handle;

/// Closes the registry when a signal comes.
#[track_caller]
pub(crate) fn close_on_signals(
    registry: &Registry,
    options: StopOptions,
    location: &'static Location<'static>,
) -> io::Result<()> {
    let runtime = Handle::current();
    let name = "the registry".to_owned();
    let stop = Stop::new(name, registry, options, (location, false));
    stop.start(&runtime);
    watch::start(&stop).map(drop)
}
