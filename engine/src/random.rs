//! Numbers from a seed: for the jitter of sessions, and for everything in the simulator.
//!
//! No source of its own: the same seed gives the same numbers for ever, as replays depend on it.

use std::time::Duration;

/// splitmix64: small, and good enough to spread timers and to mix scenarios. Not for secrets.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random { state: seed }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to `limit`, without it; 0 if there is nothing below it.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        let drawn = self.next() % (limit as u64).max(1);
        drawn as usize
    }

    /// True `times` in a hundred.
    pub(crate) fn percent(&mut self, times: u64) -> bool {
        self.next() % 100 < times
    }

    /// From nothing up to and with `most`.
    pub(crate) fn up_to(&mut self, most: Duration) -> Duration {
        let nanos = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX - 1);
        Duration::from_nanos(self.next() % (nanos + 1))
    }

    /// One of them. There must be one.
    pub(crate) fn pick<'t, T>(&mut self, from: &'t [T]) -> &'t T {
        &from[self.below(from.len())]
    }

    /// `duration` times a fresh uniform factor from 0.75 to 1.0 (RFC 4271 §10).
    pub(crate) fn jitter(&mut self, duration: Duration) -> Duration {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let spread = nanos / 4;
        let less = if spread == 0 {
            0
        } else {
            self.next() % (spread + 1)
        };
        Duration::from_nanos(nanos - less)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_within_three_quarters_and_one_and_uses_the_range() {
        let mut random = Random::new(7);
        let whole = Duration::from_secs(120);
        let drawn: Vec<Duration> = (0..1000).map(|_| random.jitter(whole)).collect();
        assert!(drawn.iter().all(|d| *d >= whole * 3 / 4 && *d <= whole));
        assert!(drawn.iter().any(|d| *d < Duration::from_secs(93)));
        assert!(drawn.iter().any(|d| *d > Duration::from_secs(117)));
        assert_eq!(random.jitter(Duration::ZERO), Duration::ZERO);
    }
}
