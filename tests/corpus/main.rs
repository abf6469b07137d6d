//! The corpus: small programs with one leak each, and the same programs with the leak fixed.
//!
//! A planted leak must be caught, alone, and on the line that is to blame: the report's block and its advice
//! name it. A fixed twin must be silent, however often and on whatever runtime it runs. What cannot be seen
//! (a plain `Arc`, a handle taken while nothing was recorded) must be found all the same, and said to be
//! unseen.
//!
//! `cargo test --test corpus` runs all; with `-- <text>` only the programs whose name contains the text, and with
//! `-- planted --nocapture` the reports are printed.

#![expect(
    clippy::unwrap_used,
    clippy::unused_async,
    reason = "programs unwrap, and all of them are async"
)]

mod channels;
mod command;
mod contexts;
mod limits;
mod lines;
mod program;
mod run;
mod sources;
mod tasks;
mod values;
mod world;

use headcount::leaks::LeakKind::{
    ClosedButHeld, DroppedOpen, Growing, PinsItself, StillRunning, StillThere, TooMany, TooOld,
};
use program::{Program, named, programs, unseen};
use std::process::ExitCode;

// A program, its twin, and what the report must say of the program.
programs! {
    contexts {
        global_map / global_map_fixed: named(ClosedButHeld);
        singleton / singleton_fixed: named(ClosedButHeld);
        in_thread_local / in_thread_local_fixed: named(ClosedButHeld);
        hook_of_another / hook_of_another_fixed: named(ClosedButHeld);
        hook_of_its_own / hook_of_its_own_fixed: named(StillThere);
        callback_list / callback_list_fixed: named(ClosedButHeld);
        sibling / sibling_fixed: named(ClosedButHeld);
        sibling_declared / sibling_declared_fixed: named(ClosedButHeld);
        closed_in_struct / closed_in_struct_fixed: named(ClosedButHeld);
        never_closed / never_closed_fixed: named(StillThere);
        dropped_open / dropped_open_fixed: named(DroppedOpen);
        child_of_closed / child_of_closed_fixed: named(ClosedButHeld);
        previous_state / previous_state_fixed: named(ClosedButHeld);
        bound_method / bound_method_fixed: named(ClosedButHeld);
        retry_loop / retry_loop_fixed: named(ClosedButHeld).times(3);
        error_value / error_value_fixed: named(ClosedButHeld);
        stashed_in_drop / stashed_in_drop_fixed: named(ClosedButHeld);
        forgotten / forgotten_fixed: named(ClosedButHeld).for_good();
        boxed_and_leaked / boxed_and_leaked_fixed: named(ClosedButHeld).for_good();
        arc_into_raw / arc_into_raw_fixed: named(ClosedButHeld).for_good();
        cycle_of_structs / cycle_of_structs_fixed: named(ClosedButHeld).for_good();
        clone_of_struct / clone_of_struct_fixed: named(ClosedButHeld);
        accept_loop / accept_loop_fixed: named(ClosedButHeld).times(4);
        kept_for_the_log / kept_for_the_log_fixed: named(ClosedButHeld);
        whole_subtree / whole_subtree_fixed: named(StillThere).keeping(4);
        child_pins_parent / child_pins_parent_fixed: named(PinsItself);
        own_each_other / own_each_other_fixed: named(StillThere);
        at_level_counts / at_level_counts_fixed: named(ClosedButHeld);
        derived_clone / derived_clone_fixed: named(ClosedButHeld);
        dropped_open_in_production / dropped_open_in_production_fixed: named(DroppedOpen);
    }
    tasks {
        task_of_another / task_of_another_fixed: named(ClosedButHeld);
        upgrades_its_own / upgrades_its_own_fixed: named(PinsItself);
        upgrades_its_own_in_production / upgrades_its_own_in_production_fixed: named(PinsItself);
        clone_of_its_own / clone_of_its_own_fixed: named(StillThere);
        waits_through_its_own / waits_through_its_own_fixed: named(PinsItself);
        spawns_through_its_own / spawns_through_its_own_fixed: named(PinsItself);
        output_not_awaited / output_not_awaited_fixed: named(ClosedButHeld);
        join_handle / join_handle_fixed: named(ClosedButHeld);
        wrapped_not_polled / wrapped_not_polled_fixed: named(StillRunning).keeping(1);
        ignores_cancellation / ignores_cancellation_fixed: named(StillRunning);
        blocking_closure / blocking_closure_fixed: named(ClosedButHeld);
        std_thread / std_thread_fixed: named(ClosedButHeld);
        root_task / root_task_fixed: named(StillThere);
        interval_not_stopped / interval_not_stopped_fixed: named(StillThere);
        local_task / local_task_fixed: named(StillRunning);
        future_not_polled / future_not_polled_fixed: named(ClosedButHeld);
        in_task_local / in_task_local_fixed: named(ClosedButHeld);
        timer / timer_fixed: named(ClosedButHeld);
        notify_waiter / notify_waiter_fixed: named(ClosedButHeld);
        panic_payload / panic_payload_fixed: named(ClosedButHeld);
        deadlock / deadlock_fixed: named(ClosedButHeld);
        hook_without_end / hook_without_end_fixed: named(StillThere);
        latest_task / latest_task_fixed: named(ClosedButHeld);
        left_on_a_worker / left_on_a_worker_fixed: named(ClosedButHeld).for_good();
        join_set / join_set_fixed: named(ClosedButHeld);
        join_all / join_all_fixed: named(ClosedButHeld);
        one_of_many / one_of_many_fixed: named(ClosedButHeld);
        outside_and_in_task / outside_and_in_task_fixed: named(ClosedButHeld);
        holder_survives / holder_survives_fixed: named(ClosedButHeld);
        grace_without_end / grace_without_end_fixed: named(StillRunning).keeping(1);
        taken_by_who_ended / taken_by_who_ended_fixed: named(ClosedButHeld);
    }
    channels {
        unbounded / unbounded_fixed: named(ClosedButHeld);
        bounded / bounded_fixed: named(ClosedButHeld);
        answer / answer_fixed: named(ClosedButHeld);
        watched / watched_fixed: named(ClosedButHeld);
        broadcast_to_the_slow / broadcast_to_the_slow_fixed: named(ClosedButHeld);
        blocking_queue / blocking_queue_fixed: named(ClosedButHeld);
        returned_to_sender / returned_to_sender_fixed: named(ClosedButHeld);
    }
    values {
        cycle_declared / cycle_declared_fixed: named(StillThere).for_good();
        cycle_undeclared / cycle_undeclared_fixed: named(StillThere).among(2).for_good();
        listener_of_itself / listener_of_itself_fixed: named(StillThere).for_good();
        owned_outlives_close / owned_outlives_close_fixed: named(ClosedButHeld);
        upgraded_and_kept / upgraded_and_kept_fixed: named(StillThere);
        registration_in_map / registration_in_map_fixed: named(StillThere);
        registration_forgotten / registration_forgotten_fixed: named(StillThere).for_good();
        lease_not_returned / lease_not_returned_fixed: named(StillThere);
        permit_without_entry / permit_without_entry_fixed: named(StillThere);
        chain_of_three / chain_of_three_fixed: named(StillThere).keeping(2);
        goes_while_watched / goes_while_watched_fixed: named(StillThere);
        held_twice / held_twice_fixed: named(StillThere).among(2);
        entry_in_value / entry_in_value_fixed: named(StillThere).among(2);
        plain_arc / plain_arc_fixed: unseen(StillThere, "1 untracked", "find the holders of the `Arc` tracked at");
        context_while_off / context_while_off_fixed: unseen(ClosedButHeld, "1 untracked", "nothing was recorded when these handles were taken");
        value_while_off / value_while_off_fixed: unseen(StillThere, "1 untracked", "nothing was recorded when these handles were taken");
    }
    sources {
        automatic_subscription / automatic_subscription_fixed: named(ClosedButHeld);
        reload_handler / reload_handler_fixed: named(ClosedButHeld);
        recorder / recorder_fixed: named(ClosedButHeld);
    }
    lines {
        alike / alike_fixed: named(ClosedButHeld);
    }
    limits {
        subscriptions_grow / subscriptions_grow_fixed: named(Growing);
        hooks_grow / hooks_grow_fixed: named(Growing);
        outputs_grow / outputs_grow_fixed: named(Growing);
        handles_grow / handles_grow_fixed: named(Growing);
        probe_grows / probe_grows_fixed: unseen(Growing, "probe jobs", "see what the probe jobs counts");
        grows_behind_a_dip / grows_behind_a_dip_fixed: named(Growing);
        pool_without_ceiling / pool_without_ceiling_fixed: named(Growing);
        entries_grow / entries_grow_fixed: named(Growing);
        beside_an_allowed_one / beside_an_allowed_one_fixed: named(ClosedButHeld);
        cache_without_eviction / cache_without_eviction_fixed: named(TooMany);
        request_too_old / request_too_old_fixed: named(TooOld);
        too_many_tasks / too_many_tasks_fixed: named(TooMany);
        task_too_old / task_too_old_fixed: named(TooOld);
    }
}

fn main() -> ExitCode {
    sources::assert_covered(PROGRAMS);
    command::run(PROGRAMS)
}
