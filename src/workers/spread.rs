//! Spreads scheduled sweeps over the time between them, so that thousands of accounts are not read in the same second.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Accounts that are read without a pause. Smaller installations are read at once.
const TOGETHER: usize = 256;

/// A schedule that rings less often is not spread any further.
const LONGEST: Duration = Duration::from_mins(10);

/// When scheduled sweeps begin.
#[derive(Debug, Default)]
pub struct Rhythm {
    rang_at: Option<Instant>,
}

impl Rhythm {
    /// Notes that the schedule rings. Returns the time over which this sweep is spread: half of the time since it rang
    /// before. The first sweep is not spread.
    pub fn ring(&mut self, now: Instant) -> Duration {
        let between = self.rang_at.map(|at| now.saturating_duration_since(at));
        self.rang_at = Some(now);
        between.unwrap_or_default().min(LONGEST) / 2
    }
}

/// The accounts of one sweep, some at a time.
#[derive(Debug)]
pub struct Turns<T> {
    rest: std::vec::IntoIter<T>,
    together: usize,
    next_at: Instant,
    gap: Duration,
}

impl<T> Turns<T> {
    /// All of them, spread over the time `over`.
    pub fn new(all: Vec<T>, over: Duration) -> Self {
        let turns = u32::try_from(all.len().div_ceil(TOGETHER)).unwrap_or(u32::MAX);
        let together = if over.is_zero() { usize::MAX } else { TOGETHER };
        Self { rest: all.into_iter(), together, next_at: Instant::now(), gap: over / turns.max(1) }
    }

    /// Those whose turn it is, when it is. `None` at the end, or when `stop` is cancelled.
    pub async fn next(&mut self, stop: &CancellationToken) -> Option<Vec<T>> {
        let some: Vec<T> = self.rest.by_ref().take(self.together).collect();
        if some.is_empty() {
            return None;
        }
        stop.run_until_cancelled(tokio::time::sleep_until(self.next_at)).await?;
        self.next_at += self.gap;
        Some(some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIVE_MINUTES: Duration = Duration::from_mins(5);

    async fn turns(accounts: usize, over: Duration, each: Duration) -> Vec<(usize, u64)> {
        let begun = Instant::now();
        let (mut sweep, mut seen) = (Turns::new((0..accounts).collect(), over), Vec::new());
        while let Some(some) = sweep.next(&CancellationToken::new()).await {
            seen.push((some.len(), begun.elapsed().as_secs()));
            tokio::time::sleep(each).await;
        }
        seen
    }

    #[tokio::test(start_paused = true)]
    async fn a_sweep_takes_half_of_its_interval_and_a_small_one_no_time() {
        let mut rhythm = Rhythm::default();
        assert_eq!(rhythm.ring(Instant::now()), Duration::ZERO, "the first sweep is not spread");
        tokio::time::advance(FIVE_MINUTES).await;
        let over = rhythm.ring(Instant::now());
        assert_eq!(over, Duration::from_secs(150));
        tokio::time::advance(Duration::from_hours(24)).await;
        assert_eq!(rhythm.ring(Instant::now()), FIVE_MINUTES, "once a day");

        let quick = Duration::from_millis(1);
        assert_eq!(turns(200, over, quick).await, [(200, 0)]);
        assert_eq!(turns(1_000, over, quick).await, [(256, 0), (256, 37), (256, 75), (232, 112)]);
        assert_eq!(turns(1_000, Duration::ZERO, quick).await, [(1_000, 0)], "at once");
        assert!(turns(0, over, quick).await.is_empty());
        // Whoever is late does not wait.
        let slow = Duration::from_secs(100);
        assert_eq!(turns(600, over, slow).await, [(256, 0), (256, 100), (88, 200)]);
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_when_the_daemon_does() {
        let stop = CancellationToken::new();
        let mut sweep = Turns::new((0..10_000).collect(), FIVE_MINUTES);
        assert!(sweep.next(&stop).await.is_some());
        stop.cancel();
        let begun = Instant::now();
        assert!(sweep.next(&stop).await.is_none());
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
