//! What each figure is, in a sentence for the recorder.

use metrics::{Unit, describe_counter, describe_gauge};

pub(super) fn describe() {
    let gauges = [
        (
            "headcount_leaks",
            "What the latest look of a leak watch has found.",
        ),
        ("headcount_entries", "What is alive, by kind and state."),
        (
            "headcount_tasks_running",
            "Tasks that were accepted and have not ended.",
        ),
        (
            "headcount_contexts_open",
            "Contexts that are open or closing.",
        ),
        (
            "headcount_runtime_workers",
            "Worker threads of the tokio runtime.",
        ),
        ("headcount_runtime_tasks", "Tasks of the tokio runtime."),
        (
            "headcount_runtime_queue_depth",
            "Tasks in the global queue of the tokio runtime.",
        ),
    ];
    for (name, what) in gauges {
        describe_gauge!(name, Unit::Count, what);
    }
    let counters = [
        (
            "headcount_tasks_ended_total",
            "Tasks that have ended, by outcome.",
        ),
        (
            "headcount_tasks_failed_total",
            "Tasks that failed otherwise than by a panic.",
        ),
        (
            "headcount_tasks_restarted_total",
            "Attempts of supervised tasks that another one followed.",
        ),
        (
            "headcount_tasks_refused_total",
            "Tasks that were refused and dropped, by reason.",
        ),
        (
            "headcount_contexts_closed_total",
            "Contexts that have closed, by reason.",
        ),
        (
            "headcount_close_seconds_bucket",
            "Closes that took no longer than this.",
        ),
        (
            "headcount_closes_unclean_total",
            "Closes that were not clean.",
        ),
    ];
    for (name, what) in counters {
        describe_counter!(name, Unit::Count, what);
    }
    let seconds = [
        (
            "headcount_close_seconds_total",
            "How long all closes took together.",
        ),
        (
            "headcount_runtime_busy_seconds_total",
            "How long the workers of the tokio runtime were busy.",
        ),
    ];
    for (name, what) in seconds {
        describe_counter!(name, Unit::Seconds, what);
    }
}
