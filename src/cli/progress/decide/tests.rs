//! Looks at services, and what is shown and decided.

use super::*;

const MONITOR: Duration = Duration::from_secs(5);

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn task(slot: u64, state: &str) -> TaskView {
    TaskView {
        slot: slot.to_string(),
        desired: "running".into(),
        state: state.into(),
        error: String::new(),
    }
}

fn replicas(wanted: u64, states: &[&str]) -> Snapshot {
    Snapshot {
        name: "web".into(),
        goal: Goal::Replicas(wanted),
        update: None,
        monitor: MONITOR,
        run: None,
        tasks: (1..)
            .zip(states)
            .map(|(slot, state)| task(slot, state))
            .collect(),
    }
}

fn with_update(snapshot: Snapshot, state: &str, message: &str) -> Snapshot {
    Snapshot {
        update: Some(Update {
            state: state.into(),
            awaits_promotion: false,
            message: message.into(),
        }),
        ..snapshot
    }
}

fn texts(view: &View) -> Vec<String> {
    view.lines
        .iter()
        .map(|line| format!("{}: {}", line.id, line.text))
        .collect()
}

#[test]
fn a_service_must_stay_converged_for_its_monitor_time() {
    let mut tracker = Tracker::new(false);
    let view = tracker.look(&replicas(2, &["preparing"]), at(0));
    assert_eq!(view.verdict, Verdict::Waiting);
    assert_eq!(
        texts(&view),
        [
            "overall progress: 0 out of 2 tasks",
            "1/2: preparing",
            "2/2: "
        ]
    );
    assert_eq!(view.lines[1].bar, Some((6, 9)));
    let up = replicas(2, &["running", "running"]);
    let view = tracker.look(&up, at(1));
    assert_eq!(view.verdict, Verdict::Waiting);
    assert_eq!(
        texts(&view)[3],
        "verify: Waiting 5 seconds to verify that tasks are stable..."
    );
    assert_eq!(tracker.look(&up, at(5)).verdict, Verdict::Waiting);
    let view = tracker.look(&up, at(6));
    assert_eq!(view.verdict, Verdict::Converged);
    assert_eq!(texts(&view)[3], "verify: Service web converged");
}

#[test]
fn a_failure_while_verifying_starts_the_wait_anew() {
    let mut tracker = Tracker::new(false);
    let up = replicas(1, &["running"]);
    tracker.look(&up, at(0));
    let view = tracker.look(&replicas(1, &["failed"]), at(4));
    assert_eq!(view.verdict, Verdict::Waiting);
    assert_eq!(texts(&view)[2], "verify: Detected task failure");
    assert_eq!(tracker.look(&up, at(6)).verdict, Verdict::Waiting);
    assert_eq!(tracker.look(&up, at(10)).verdict, Verdict::Waiting);
    assert_eq!(tracker.look(&up, at(11)).verdict, Verdict::Converged);
}

#[test]
fn a_paused_update_ends_the_wait_at_once() {
    let mut tracker = Tracker::new(false);
    let view = tracker.look(
        &with_update(
            replicas(1, &["failed"]),
            "paused",
            "update paused due to failure",
        ),
        at(0),
    );
    assert_eq!(
        view.verdict,
        Verdict::Paused("update paused due to failure".into())
    );
    let view = tracker.look(
        &with_update(replicas(1, &[]), "rollback_paused", "m"),
        at(0),
    );
    assert_eq!(view.verdict, Verdict::RollbackPaused("m".into()));
}

#[test]
fn a_step_that_waits_for_its_promotion_is_no_failure() {
    let mut at_step = with_update(
        replicas(1, &["running"]),
        "paused",
        "update waits for promotion after step 1 of 2",
    );
    at_step.update.as_mut().unwrap().awaits_promotion = true;
    let view = Tracker::new(false).look(&at_step, at(0));
    let message = "update waits for promotion after step 1 of 2";
    assert_eq!(view.verdict, Verdict::AwaitsPromotion(message.into()));
}

#[test]
fn an_update_that_rolled_back_by_itself_is_no_success() {
    let mut tracker = Tracker::new(false);
    let back = with_update(
        replicas(1, &["running"]),
        "rollback_started",
        "update failed",
    );
    let view = tracker.look(&back, at(0));
    assert_eq!(
        texts(&view)[0],
        "overall progress: rolling back update: 1 out of 1 tasks"
    );
    assert!(texts(&view).contains(&"rollback: update failed".to_owned()));
    assert_eq!(tracker.look(&back, at(9)).verdict, Verdict::Waiting);
    let done = with_update(
        replicas(1, &["running"]),
        "rollback_completed",
        "rollback completed",
    );
    assert_eq!(
        tracker.look(&done, at(10)).verdict,
        Verdict::RolledBack("rollback completed".into())
    );
}

#[test]
fn a_rollback_that_was_asked_for_is_a_success() {
    let mut tracker = Tracker::new(true);
    let done = with_update(replicas(1, &["running"]), "rollback_completed", "m");
    tracker.look(&done, at(0));
    assert_eq!(tracker.look(&done, at(5)).verdict, Verdict::Converged);
}

#[test]
fn an_update_that_the_daemon_still_watches_is_not_over() {
    let mut tracker = Tracker::new(false);
    let updating = with_update(replicas(1, &["running"]), "updating", "update in progress");
    tracker.look(&updating, at(0));
    assert_eq!(tracker.look(&updating, at(6)).verdict, Verdict::Waiting);
    let done = with_update(replicas(1, &["running"]), "completed", "update completed");
    assert_eq!(tracker.look(&done, at(7)).verdict, Verdict::Converged);
}

#[test]
fn a_task_that_waits_for_a_node_says_why() {
    let mut tracker = Tracker::new(false);
    let mut snapshot = replicas(2, &["running", "pending"]);
    snapshot.tasks[1].error = "no suitable node (insufficient resources on 3 nodes)".into();
    let view = tracker.look(&snapshot, at(0));
    assert_eq!(view.verdict, Verdict::Waiting);
    assert_eq!(
        texts(&view)[2],
        "2/2: no suitable node (insufficient resources on 3 nodes)"
    );
    assert!(tracker.unplaced().unwrap().starts_with("no suitable node"));
    tracker.look(&replicas(2, &["running", "running"]), at(1));
    assert_eq!(tracker.unplaced(), None);
}

#[test]
fn of_several_tasks_in_a_slot_the_wanted_one_counts() {
    let mut tracker = Tracker::new(false);
    let mut snapshot = replicas(1, &["running"]);
    snapshot.tasks.push(TaskView {
        desired: "shutdown".into(),
        state: "failed".into(),
        error: "exit 1".into(),
        slot: "1".into(),
    });
    let view = tracker.look(&snapshot, at(0));
    assert_eq!(texts(&view)[0], "overall progress: 1 out of 1 tasks");
    assert_eq!(texts(&view)[1], "1/1: running");
}

#[test]
fn many_tasks_share_a_line() {
    let states = vec!["running"; 60];
    let mut snapshot = replicas(60, &states);
    snapshot.tasks[3].error = "boom".into();
    snapshot.tasks[3].state = "failed".into();
    snapshot.tasks[4] = snapshot.tasks[3].clone();
    snapshot.tasks[4].slot = "5".into();
    let view = Tracker::new(false).look(&snapshot, at(0));
    assert_eq!(
        texts(&view),
        ["overall progress: 58 out of 60 tasks", "boom: 2 tasks"]
    );
}

#[test]
fn a_job_is_done_when_its_run_is() {
    let job = |total, states: &[&str], state: &str, failed| Snapshot {
        goal: Goal::Completions(total),
        run: Some(RunView {
            number: 3,
            state: state.into(),
            failed,
            message: "exit 1".into(),
        }),
        ..replicas(0, states)
    };
    let verdict = |snapshot| Tracker::new(false).look(&snapshot, at(0)).verdict;
    assert_eq!(
        verdict(job(2, &["complete", "running"], "running", 0)),
        Verdict::Waiting
    );
    assert_eq!(
        verdict(job(1, &["complete"], "completed", 0)),
        Verdict::Converged
    );
    assert_eq!(
        verdict(job(2, &["complete"], "completed", 0)),
        Verdict::Waiting
    );
    assert_eq!(
        verdict(job(2, &["complete", "failed"], "failed", 1)),
        Verdict::RunEnded(
            "run 3 failed: 1 task ended badly and will not be tried again: exit 1".into()
        )
    );
    assert_eq!(
        verdict(job(2, &[], "replaced", 0)),
        Verdict::RunEnded("run 3 was stopped for a newer one".into())
    );
}

#[test]
fn global_services_and_jobs_have_goals_of_their_own() {
    let with = |goal, states: &[&str]| Snapshot {
        goal,
        ..replicas(0, states)
    };
    let first = |goal, states: &[&str]| {
        let view = Tracker::new(false).look(&with(goal, states), at(0));
        texts(&view)[0].clone()
    };
    assert_eq!(
        first(Goal::EveryNode, &[]),
        "overall progress: waiting for new tasks"
    );
    assert_eq!(
        first(Goal::EveryNode, &["running", "starting"]),
        "overall progress: 1 out of 2 tasks"
    );
    assert_eq!(
        first(Goal::Completions(3), &["complete", "running"]),
        "job progress: 1 out of 3 complete"
    );
    let none = with(Goal::Replicas(0), &[]);
    let mut tracker = Tracker::new(false);
    tracker.look(&none, at(0));
    assert_eq!(tracker.look(&none, at(5)).verdict, Verdict::Converged);
}
