use super::*;

const CREATED: Phase = Phase::Created;
const RUNNING: Phase = Phase::Running(Health::Unchecked);

fn exited(code: i64) -> Phase {
    Phase::Exited {
        code,
        out_of_memory: false,
        error: String::new(),
    }
}

fn facts(state: TaskState) -> Facts {
    Facts {
        state,
        ..Facts::new(Timestamp(0))
    }
}

fn next(want: impl Into<Option<Want>>, sight: Sight, state: TaskState) -> Step {
    next_with(want, sight, &facts(state), &NetworksReady::Ready)
}

fn next_with(
    want: impl Into<Option<Want>>,
    sight: Sight,
    facts: &Facts,
    networks: &NetworksReady,
) -> Step {
    step(&Situation {
        want: want.into(),
        sight: &sight,
        facts,
        networks,
        image_missing: false,
        open: true,
        init: None,
    })
}

fn told(step: &Step) -> Option<(TaskState, &str)> {
    match step {
        Step::Tell(news) => Some((news.state, news.err.as_str())),
        _ => None,
    }
}

#[test]
fn a_wanted_task_goes_from_assigned_to_running_one_step_at_a_time() {
    use Sight::{Absent, Present};
    use TaskState::*;
    let rows = [
        (Absent, Assigned, tell(Accepted, "accepted")),
        (Absent, Accepted, tell(Preparing, "preparing")),
        (Absent, Preparing, Step::Create),
        (Present(CREATED), Preparing, tell(Ready, "prepared")),
        (Present(CREATED), Ready, tell(Starting, "starting")),
        (Present(CREATED), Starting, Step::Start),
        (Present(RUNNING), Starting, tell(Running, "started")),
        (Present(RUNNING), Running, Step::Wait(None)),
        (Present(exited(0)), Running, tell(Complete, "finished")),
    ];
    for (sight, state, want) in rows {
        assert_eq!(
            next(Want::Running, sight.clone(), state),
            want,
            "{sight:?} at {state:?}"
        );
    }
}

#[test]
fn a_task_that_is_to_be_ready_is_created_and_parked() {
    let parked = next(Want::Ready, Sight::Present(CREATED), TaskState::Ready);
    assert_eq!(parked, Step::Wait(None));
    let created = next(Want::Ready, Sight::Absent, TaskState::Preparing);
    assert_eq!(created, Step::Create);
}

#[test]
fn what_is_not_known_is_looked_at_first() {
    for want in [None, Some(Want::Running), Some(Want::Stopped)] {
        assert_eq!(
            next(want, Sight::Unknown, TaskState::Running),
            Step::Observe
        );
    }
}

#[test]
fn an_image_that_the_engine_lacks_is_pulled_before_the_next_try() {
    let step = step(&Situation {
        init: None,
        want: Some(Want::Running),
        sight: &Sight::Absent,
        facts: &facts(TaskState::Preparing),
        networks: &NetworksReady::Behind(None),
        image_missing: true,
        open: true,
    });
    assert_eq!(step, Step::Pull);
}

#[test]
fn nothing_is_created_before_its_networks_and_nothing_started_before_its_tables() {
    let reason = Some("subnet taken".to_owned());
    let missing = NetworksReady::Missing(reason.clone());
    let behind = NetworksReady::Behind(None);
    let at = |state, sight, networks| next_with(Want::Running, sight, &facts(state), networks);
    assert_eq!(
        at(TaskState::Preparing, Sight::Absent, &missing),
        Step::Wait(reason)
    );
    assert_eq!(
        at(TaskState::Preparing, Sight::Absent, &behind),
        Step::Create
    );
    assert_eq!(
        at(TaskState::Ready, Sight::Present(CREATED), &behind),
        Step::Wait(None)
    );
    // Adopted after a restart: it runs, but nobody is told before the tables are right.
    assert_eq!(
        at(TaskState::Starting, Sight::Present(RUNNING), &behind),
        Step::Wait(None)
    );
}

#[test]
fn a_task_with_a_health_check_runs_when_it_is_healthy_and_fails_when_it_is_not() {
    let at = |state, health| next(Want::Running, Sight::Present(Phase::Running(health)), state);
    let reason = Some("waiting for its health check to pass".to_owned());
    assert_eq!(
        at(TaskState::Starting, Health::Starting),
        Step::Wait(reason)
    );
    assert_eq!(at(TaskState::Running, Health::Starting), Step::Wait(None));
    assert_eq!(
        at(TaskState::Starting, Health::Healthy),
        tell(TaskState::Running, "started")
    );
    for state in [TaskState::Starting, TaskState::Running] {
        assert_eq!(
            at(state, Health::Unhealthy),
            Step::GiveUp("unhealthy container")
        );
    }
    let doomed = Facts {
        fate: Some("unhealthy container".to_owned()),
        ..facts(TaskState::Running)
    };
    let after = |phase| {
        next_with(
            Want::Running,
            Sight::Present(phase),
            &doomed,
            &NetworksReady::Ready,
        )
    };
    assert_eq!(after(Phase::Running(Health::Unhealthy)), Step::Stop);
    // It obeyed SIGTERM: still a failure.
    assert_eq!(
        told(&after(exited(0))),
        Some((
            TaskState::Failed,
            "task: non-zero exit (0): unhealthy container"
        ))
    );
}

#[test]
fn an_exit_that_is_not_zero_is_a_failure_with_its_causes() {
    let plain = next(Want::Running, Sight::Present(exited(3)), TaskState::Running);
    assert_eq!(
        told(&plain),
        Some((TaskState::Failed, "task: non-zero exit (3)"))
    );
    let killed = Phase::Exited {
        code: 137,
        out_of_memory: true,
        error: String::new(),
    };
    let killed = next(Want::Running, Sight::Present(killed), TaskState::Running);
    assert!(told(&killed).unwrap().1.contains("memory"), "{killed:?}");
}

#[test]
fn a_task_is_never_run_twice() {
    let removed = next(Want::Running, Sight::Absent, TaskState::Running);
    assert_eq!(told(&removed).unwrap().0, TaskState::Failed);
    for state in [
        TaskState::Complete,
        TaskState::Shutdown,
        TaskState::Failed,
        TaskState::Rejected,
    ] {
        for sight in [
            Sight::Absent,
            Sight::Present(CREATED),
            Sight::Present(exited(1)),
        ] {
            assert_eq!(next(Want::Running, sight, state), Step::Wait(None));
        }
        assert_eq!(
            next(Want::Running, Sight::Present(RUNNING), state),
            Step::Stop
        );
    }
}

#[test]
fn a_draining_task_goes_on_running_and_one_that_never_started_just_ends() {
    let serving = next(Want::Draining, Sight::Present(RUNNING), TaskState::Running);
    assert_eq!(serving, Step::Wait(None));
    for (sight, state) in [
        (Sight::Absent, TaskState::Preparing),
        (Sight::Present(CREATED), TaskState::Ready),
    ] {
        let ended = next(Want::Draining, sight, state);
        assert_eq!(told(&ended).unwrap().0, TaskState::Shutdown);
    }
    let ended = next(
        Want::Draining,
        Sight::Present(exited(1)),
        TaskState::Running,
    );
    assert_eq!(told(&ended).unwrap().0, TaskState::Failed);
}

#[test]
fn a_stopped_task_keeps_its_container_and_a_removed_one_does_not() {
    use Sight::{Absent, Present};
    use TaskState::{Ready, Running, Shutdown};
    let shutdown = tell(Shutdown, "shutdown");
    let rows = [
        (Want::Stopped, Present(RUNNING), Running, Step::Stop),
        (
            Want::Stopped,
            Present(exited(143)),
            Running,
            shutdown.clone(),
        ),
        (
            Want::Stopped,
            Present(exited(143)),
            Shutdown,
            Step::Wait(None),
        ),
        (Want::Stopped, Present(CREATED), Ready, shutdown.clone()),
        (Want::Stopped, Absent, Ready, shutdown.clone()),
        (Want::Removed, Present(RUNNING), Running, Step::Stop),
        (Want::Removed, Present(exited(0)), Running, shutdown.clone()),
        (Want::Removed, Present(exited(0)), Shutdown, Step::Remove),
        (Want::Removed, Absent, Shutdown, Step::Wait(None)),
        (Want::Removed, Absent, Ready, shutdown),
    ];
    for (want, sight, state, expected) in rows {
        assert_eq!(
            next(want, sight.clone(), state),
            expected,
            "{want:?} {sight:?} {state:?}"
        );
    }
}

#[test]
fn of_a_forgotten_task_nothing_stays() {
    use Sight::{Absent, Present};
    for state in [TaskState::Preparing, TaskState::Running, TaskState::Failed] {
        assert_eq!(next(None, Present(RUNNING), state), Step::Stop);
        assert_eq!(next(None, Present(exited(0)), state), Step::Remove);
        assert_eq!(next(None, Present(CREATED), state), Step::Remove);
        assert_eq!(next(None, Absent, state), Step::Forget);
    }
}

#[test]
fn nobody_is_sent_to_an_application_that_does_not_listen_yet() {
    let facts = facts(TaskState::Starting);
    let at = |health, state, open| {
        step(&Situation {
            init: None,
            want: Some(Want::Running),
            sight: &Sight::Present(Phase::Running(health)),
            facts: &Facts {
                state,
                ..facts.clone()
            },
            networks: &NetworksReady::Ready,
            image_missing: false,
            open,
        })
    };
    let started = tell(TaskState::Running, "started");
    assert_eq!(
        at(Health::Unchecked, TaskState::Starting, false),
        Step::Listen
    );
    assert_eq!(at(Health::Unchecked, TaskState::Starting, true), started);
    assert_eq!(at(Health::Healthy, TaskState::Starting, false), started);
    assert_eq!(
        at(Health::Unchecked, TaskState::Running, false),
        Step::Wait(None)
    );
}

#[test]
fn an_init_container_runs_to_its_end_before_the_next() {
    use Sight::{Absent, Present};
    const DOING: &str = "preparing: init 1 of 2 migrate";
    let at = |want: Want, sight: &Sight, state, message: &str| {
        let facts = Facts {
            message: message.to_owned(),
            ..facts(state)
        };
        step(&Situation {
            want: Some(want),
            sight,
            facts: &facts,
            networks: &NetworksReady::Ready,
            image_missing: false,
            open: false,
            init: Some(Init {
                name: "migrate",
                place: 1,
                total: 2,
            }),
        })
    };
    let preparing = |want, sight| at(want, &sight, TaskState::Preparing, DOING);
    assert_eq!(
        at(Want::Running, &Absent, TaskState::Accepted, "accepted"),
        tell(TaskState::Preparing, DOING)
    );
    assert_eq!(preparing(Want::Running, Absent), Step::Create);
    assert_eq!(preparing(Want::Running, Present(CREATED)), Step::Start);
    let reason = Some("waiting for init container migrate to end (1 of 2)".to_owned());
    assert_eq!(
        preparing(Want::Running, Present(RUNNING)),
        Step::Wait(reason)
    );
    assert_eq!(preparing(Want::Running, Present(exited(0))), Step::Advance);
    // It waits as its task does, and ends with it.
    assert_eq!(preparing(Want::Ready, Present(CREATED)), Step::Wait(None));
    assert_eq!(preparing(Want::Stopped, Present(RUNNING)), Step::Stop);
    let failed = preparing(Want::Running, Present(exited(3)));
    assert_eq!(
        told(&failed),
        Some((
            TaskState::Failed,
            "init container migrate: task: non-zero exit (3)"
        ))
    );
}
