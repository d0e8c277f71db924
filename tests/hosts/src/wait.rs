//! Waiting for what takes as long as it takes.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Looks until `look` succeeds and returns what it found.
///
/// Errors with `what` and the last look's error when `deadline` has passed.
pub fn eventually<T>(
    what: &str,
    deadline: Duration,
    mut look: impl FnMut() -> Result<T>,
) -> Result<T> {
    let begin = Instant::now();
    loop {
        match look() {
            Ok(found) => return Ok(found),
            Err(error) if begin.elapsed() >= deadline => {
                return Err(anyhow!("{what}: not within {deadline:?}; last: {error:#}"));
            }
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_comes_true_is_returned() {
        let mut looks = 0;
        let found = eventually("third look", Duration::from_secs(60), || {
            looks += 1;
            if looks == 3 {
                Ok(looks)
            } else {
                Err(anyhow!("only {looks}"))
            }
        });
        assert_eq!(found.unwrap(), 3);
    }

    #[test]
    fn a_condition_that_never_comes_true_says_what_it_saw_last() {
        let error = eventually("the moon", Duration::ZERO, || {
            Err::<(), _>(anyhow!("clouds"))
        });
        let text = format!("{:#}", error.unwrap_err());
        assert!(
            text.contains("the moon") && text.contains("clouds"),
            "{text}"
        );
    }
}
