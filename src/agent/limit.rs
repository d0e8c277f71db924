//! How many containers an engine is asked to create or start at a time.
//!
//! More than a few make every one slower. A call that takes very long gives its place to others,
//! so that containers that hang never hold up those that do not.

use std::future::Future;
use std::time::Duration;

use tokio::sync::Semaphore;

/// After this long a call counts no more.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Limit {
    places: Semaphore,
    patience: Duration,
}

impl Limit {
    pub(super) fn new(places: usize) -> Self {
        Self {
            places: Semaphore::new(places),
            patience: PATIENCE,
        }
    }

    pub(super) async fn run<T>(&self, work: impl Future<Output = T>) -> T {
        // The semaphore is never closed; were it, the work would go on without a limit.
        let place = self.places.acquire().await;
        tokio::pin!(work);
        if let Ok(done) = tokio::time::timeout(self.patience, &mut work).await {
            return done;
        }
        drop(place);
        work.await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn work_that_hangs_gives_its_place_away() {
        let limit = Arc::new(Limit {
            places: Semaphore::new(1),
            patience: Duration::from_millis(1),
        });
        let hanging = tokio::spawn({
            let limit = limit.clone();
            async move { limit.run(std::future::pending::<()>()).await }
        });
        assert_eq!(limit.run(async { 7 }).await, 7);
        hanging.abort();
    }
}
