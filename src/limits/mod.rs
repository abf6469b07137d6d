//! Limits: how many may be inside at once, and a bounded queue for the rest.
//!
//! [`places`] counts the places and keeps the queue, on tokio's semaphore, and knows no contexts. [`shared`] is a limit as its
//! context and its listing know it, and a [`permit`] is a place that is taken. What users hold is on top: [`limit`], and
//! [`limited_task`] for tasks with settings. [`usage`] and [`error`] are what they are told.

pub(crate) mod error;
pub(crate) mod limit;
pub(crate) mod limited_task;
pub(crate) mod permit;
pub(crate) mod places;
pub(crate) mod shared;
pub(crate) mod usage;
