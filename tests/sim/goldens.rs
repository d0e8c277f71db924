//! The scripts in this folder print what they say they print.
//!
//! `SWARMR_BLESS=1 cargo test --test it goldens` writes down what they print now.

use std::path::PathBuf;

use super::script;

fn compare(name: &str) {
    let path = folder().join(format!("{name}.txt"));
    let script = std::fs::read_to_string(&path).expect("the script");
    let shown = script::run(&script);
    if std::env::var_os("SWARMR_BLESS").is_some() {
        std::fs::write(&path, &shown).expect("the script is writable");
    } else {
        assert!(
            shown == script,
            "{name}.txt prints something else now (bless it if that is right):\n{}",
            difference(&script, &shown)
        );
    }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/sim")
}

/// The lines from the first that differs, of both.
fn difference(old: &str, new: &str) -> String {
    let same = old
        .lines()
        .zip(new.lines())
        .take_while(|(old, new)| old == new)
        .count();
    let rest = |text: &str, sign: char| -> String {
        text.lines()
            .skip(same)
            .take(12)
            .map(|line| format!("{sign} {line}\n"))
            .collect()
    };
    format!("{}{}", rest(old, '-'), rest(new, '+'))
}

macro_rules! goldens {
    ($($test:ident: $script:literal,)*) => {
        $(
            #[test]
            fn $test() {
                compare($script);
            }
        )*

        #[test]
        fn every_script_is_run() {
            let run = [$(concat!($script, ".txt")),*];
            for entry in std::fs::read_dir(folder()).expect("the folder") {
                let name = entry.expect("an entry").file_name();
                let name = name.to_string_lossy();
                assert!(
                    !name.ends_with(".txt") || run.contains(&name.as_ref()),
                    "{name} is run by no test"
                );
            }
        }
    };
}

goldens! {
    a_service_is_created_and_scaled: "scale",
    what_does_not_run_is_given_up_first: "scale_down",
    an_update_keeps_parallelism_and_delay: "update",
    a_failing_update_pauses: "update_pauses",
    a_failing_update_rolls_itself_back: "update_rolls_back",
    a_failing_rollback_pauses: "rollback_pauses",
    a_user_rolls_back_by_the_rollback_policy: "rollback",
    failures_within_the_ratio_are_accepted: "failure_ratio",
    start_first_never_has_fewer_tasks: "start_first",
    a_new_spec_supersedes_a_running_update: "supersede",
    a_service_scales_while_it_updates: "scale_while_updating",
    a_paused_update_resumes_by_another_policy: "resume",
    an_update_survives_its_leaders: "leader_crash",
    an_update_that_cannot_be_placed_says_so: "update_unplaceable",
    a_task_that_never_runs_pauses_its_update: "deadline_pauses",
    a_task_that_never_is_healthy_rolls_its_update_back: "deadline_rolls_back",
    slots_beyond_the_deadline_are_not_waited_for: "deadline_continues",
    steps_wait_for_their_promotion: "steps",
    steps_with_a_delay_go_on_by_themselves: "steps_by_time",
    a_canary_that_fails_rolls_back: "steps_fail",
    steps_follow_scale_spec_and_rollback: "steps_change",
    a_drain_goes_on_while_a_step_waits: "steps_drain",
    a_lost_node_does_not_stretch_the_deadline: "deadline_moves",
    a_user_pauses_and_resumes: "pause_by_user",
    revisions_are_remembered: "revisions",
    restarts_wait_longer_each_time: "backoff",
    restarts_back_off_unless_they_are_limited: "backoff_default",
    a_service_restarts_by_its_update_policy: "restart_service",
    a_stopped_service_goes_on_where_it_was: "stop_start",
    the_last_slot_is_watched_for_the_monitor_time: "delay_over_monitor",
    all_slots_go_at_once_without_a_limit: "all_at_once",
    tasks_of_a_dead_node_are_replaced_at_once: "node_down",
    a_node_that_is_back_late_stops_the_former_task_first: "node_back_late",
    a_drained_nodes_tasks_move: "drain",
    a_drain_keeps_parallelism_and_delay: "drain_order",
    a_drain_starts_first_where_the_service_does: "drain_start_first",
    a_drain_is_blocked_by_what_has_no_other_place: "drain_blocked",
    a_node_activated_while_it_drains_keeps_the_rest: "drain_activate",
    a_node_that_dies_while_it_drains_is_dead: "drain_node_dies",
    a_drained_nodes_global_tasks_stop_last: "drain_global",
    a_drain_and_an_update_share_the_slots_in_flight: "drain_while_updating",
    a_drain_counts_what_is_down_already: "drain_unplaced",
    init_containers_are_part_of_preparing_a_task: "init_containers",
    a_service_is_rebalanced_when_asked: "rebalance",
    nodes_that_join_and_return_get_tasks_where_wanted: "rebalance_auto",
    each_node_that_joins_has_its_minute: "rebalance_two_nodes",
    rebalancing_follows_preferences_and_waits_for_updates: "rebalance_spread",
    tasks_start_after_the_services_they_depend_on: "depends",
    started_is_what_has_a_process: "depends_started",
    a_service_may_wait_for_one_to_complete: "depends_completed",
    updates_wait_for_dependencies_where_told: "depends_update",
    circles_of_dependencies_are_refused: "depends_circle",
    constraints_are_kept: "constraint",
    a_placement_update_moves_only_what_must: "placement_update",
    tasks_spread_over_labels: "spread",
    resources_are_never_overcommitted: "resources",
    tasks_leave_a_node_that_shrinks: "shrink",
    a_task_that_does_not_stop_is_waited_for_a_minute: "stays",
    host_ports_and_per_node_limits_are_kept: "host_port",
    platforms_are_kept: "platform",
    generic_resources_are_given_and_kept: "generic",
    devices_are_given_to_one_task_each: "devices",
    plugins_are_where_they_are_needed: "plugins",
    tasks_leave_a_node_that_loses_resources: "generic_shrink",
    tasks_are_near_to_their_neighbours: "affinity",
    tasks_keep_apart: "anti_affinity",
    binpack_fills_nodes: "binpack",
    of_equal_nodes_the_freest_is_taken: "spread_free",
    start_first_without_a_spare_port_stops_first: "surge_host_port",
    start_first_counts_what_stays: "surge_limits",
    without_a_ready_node_tasks_wait: "no_ready_node",
    failures_count_for_their_spec: "faulty_spec",
    reservations_bound_the_spread: "resources_ha",
    preferences_nest_and_scale_up: "prefs_scale_up",
    present_constraints_are_enforced: "enforce_outdated",
    tasks_follow_the_role_of_nodes: "enforce_role",
    what_has_completed_is_not_rejected: "enforce_completed",
    waiting_tasks_are_explained: "explain",
    waiting_rollouts_are_explained: "explain_rollout",
    a_change_can_be_rehearsed: "dry_run",
    addresses_run_out_with_a_reason: "addresses",
    a_global_service_follows_the_nodes: "global",
    a_paused_node_gets_no_global_tasks: "global_paused",
    a_global_service_updates_node_by_node: "global_update",
    restarts_wait_for_their_delay: "restart_delay",
    restarts_end_after_max_attempts: "restart_attempts",
    attempts_count_for_their_spec: "restart_attempts_update",
    restarts_count_within_their_window: "restart_window",
    restart_conditions_are_kept: "restart_condition",
    a_node_where_tasks_fail_is_avoided: "faulty_node",
    history_is_limited: "history",
    a_removed_service_leaves_nothing: "remove",
    a_job_runs_until_it_is_done: "job",
    a_job_runs_as_many_at_once_as_it_may: "job_concurrency",
    a_job_restarts_what_failed_only: "job_failure",
    a_job_gives_up_after_max_attempts: "job_attempts",
    a_job_that_must_not_be_restarted_is_not: "job_condition",
    an_update_of_a_job_is_a_new_run: "job_update",
    a_job_scales_its_completions: "job_scale",
    a_job_survives_the_loss_of_a_node: "job_node_down",
    a_job_leaves_a_drained_node: "job_drain",
    a_job_is_placed_as_any_service: "job_placement",
    a_global_job_follows_the_nodes: "job_global",
    a_jobs_history_is_limited: "job_history",
    a_job_survives_its_leaders: "job_leader_crash",
    a_schedule_runs_its_job: "cron",
    a_schedule_may_forbid_a_second_run: "cron_forbid",
    a_schedule_may_allow_runs_side_by_side: "cron_allow",
    runs_side_by_side_share_the_limit_per_node: "cron_per_node",
    a_schedule_may_replace_a_run: "cron_replace",
    a_schedule_makes_up_for_one_missed_time: "cron_missed",
    a_schedule_keeps_to_clocks_that_change: "cron_dst",
    a_job_runs_when_its_user_says_so: "cron_run_now",
    a_schedule_can_be_suspended: "cron_suspend",
    an_update_of_a_scheduled_job_is_for_its_next_run: "cron_update",
    a_scheduled_global_job_runs_on_the_nodes_there_are: "cron_global",
    a_schedule_remembers_as_many_runs_as_asked_for: "cron_history",
    a_schedule_survives_its_leaders: "cron_leader_crash",
}
