//! Runs by the clock: which times have come, and what becomes of them.

use std::collections::BTreeMap;

use crate::plan::desk::Desk;
use crate::plan::wait::Wait;
use crate::spec::schedule::{Clock, Concurrency};
use crate::spec::{Schedule, Timestamp};
use crate::state::Job;
use crate::state::job::{Cause, Why, completed_by_run};

/// Missed times that are counted one by one; more are "at least" so many.
const COUNTED: usize = 1_000;

/// Starts the run that is due, or remembers why there was none. Whether one was started.
///
/// That a time has had its run is written down together with the run, so no leader starts it
/// again.
pub(super) fn start(desk: &mut Desk<'_>) -> bool {
    let Some(schedule) = desk.service.spec.schedule() else {
        return false;
    };
    if schedule.suspended {
        desk.wait(Wait::Suspended);
        return false;
    }
    let clock = match schedule.clock() {
        Ok(clock) => clock,
        Err(error) => {
            // Written by a newer version, which knew more.
            desk.wait(Wait::NoTimes(error.to_string()));
            return false;
        }
    };
    let now = desk.now;
    let version = desk.service.spec_version;
    let Some(since) = desk.job.as_ref().map(|job| job.decided_until) else {
        return false;
    };
    let due = Due::at(now, since, &clock, schedule);
    let completed = match &due {
        Some(_) => completed_by_run(desk.tasks()),
        None => BTreeMap::new(),
    };
    let Some(job) = desk.job.as_mut() else {
        return false;
    };
    let started = due.is_some_and(|due| due.decide(job, schedule, version, &completed, now));
    let latest = now.max(job.decided_until);
    if let Some(next) = clock.after(latest) {
        desk.wake(next);
        desk.wait(Wait::NextRun(next));
    }
    started
}

/// What has become due since times were last dealt with.
#[derive(Debug, PartialEq, Eq)]
struct Due {
    /// First, last and number of those that are too late to be made up for.
    missed: Option<(Timestamp, Timestamp, u64)>,
    /// The time that is to have its run.
    run: Option<Timestamp>,
    /// The last of all.
    last: Timestamp,
}

impl Due {
    /// `None` when nothing is due. Of several times at once, only the last has a run.
    fn at(now: Timestamp, since: Timestamp, clock: &Clock, schedule: &Schedule) -> Option<Self> {
        let times: Vec<Timestamp> = clock
            .times_after(since)
            .take_while(|time| *time <= now)
            .take(COUNTED)
            .collect();
        let (first, counted) = (*times.first()?, *times.last()?);
        let last = clock.last_between(counted, now).unwrap_or(counted);
        let in_time = now - last <= schedule.missed_window();
        let mut late = &times[..];
        if in_time && last == counted {
            late = &late[..late.len() - 1];
        }
        let missed = late.last().map(|end| {
            let end = if in_time { *end } else { last };
            (first, end, late.len() as u64)
        });
        Some(Self {
            missed,
            run: in_time.then_some(last),
            last,
        })
    }

    /// Writes down what becomes of these times. Whether a run was started.
    fn decide(
        self,
        job: &mut Job,
        schedule: &Schedule,
        version: u64,
        completed: &BTreeMap<u64, u64>,
        now: Timestamp,
    ) -> bool {
        job.decided_until = self.last;
        if let Some((first, last, count)) = self.missed {
            job.omit(first, last, count, Why::Missed);
        }
        let Some(due) = self.run else { return false };
        let live: Vec<u64> = job.live_runs().map(|run| run.number).collect();
        let runs = live.len() as u64;
        let hindrance = match (schedule.concurrency, live.first()) {
            (_, None) => None,
            (Concurrency::Forbid, Some(run)) => Some(Why::Overlap { run: *run }),
            (Concurrency::Allow, Some(_)) => {
                (runs >= Schedule::MOST_AT_ONCE).then_some(Why::TooMany { runs })
            }
            (Concurrency::Replace, Some(_)) => {
                job.replace_live_runs(now, completed);
                None
            }
        };
        match hindrance {
            Some(why) => job.omit(due, due, 1, why),
            None => {
                job.start(Cause::Due(due), version, false, now);
            }
        }
        hindrance.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Nanos;

    fn minutes(count: i64) -> Timestamp {
        Timestamp(count * 60_000_000_000)
    }

    fn due(cron: &str, since: i64, now: i64, window: i64) -> Option<Due> {
        let schedule = Schedule {
            cron: cron.to_owned(),
            missed_window: Some(Nanos::from_secs(window * 60)),
            ..Schedule::default()
        };
        let clock = schedule.clock().unwrap();
        Due::at(minutes(now), minutes(since), &clock, &schedule)
    }

    #[test]
    fn of_several_times_the_last_runs_if_it_is_not_too_late() {
        assert_eq!(due("*/10 * * * *", 0, 9, 5), None);
        let one = due("*/10 * * * *", 0, 10, 5).unwrap();
        assert_eq!((one.missed, one.run), (None, Some(minutes(10))));
        let some = due("*/10 * * * *", 0, 34, 5).unwrap();
        let missed = Some((minutes(10), minutes(20), 2));
        assert_eq!((some.missed, some.run), (missed, Some(minutes(30))));
        let late = due("*/10 * * * *", 0, 36, 5).unwrap();
        let missed = Some((minutes(10), minutes(30), 3));
        assert_eq!((late.missed, late.run), (missed, None));
        assert_eq!(late.last, minutes(30));
    }

    #[test]
    fn a_year_of_missed_minutes_is_not_counted_to_its_end() {
        let year = 366 * 24 * 60;
        let due = due("* * * * *", 0, year, 5).unwrap();
        assert_eq!(due.run, Some(minutes(year)));
        assert_eq!(due.last, minutes(year));
        let (first, _, count) = due.missed.unwrap();
        assert_eq!((first, count), (minutes(1), 1_000));
    }
}
