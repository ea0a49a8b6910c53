//! What is said of connections from addresses that are nobody's.
//!
//! Most often somebody forgot a neighbor, and its router tries again and again; or all the world does.
//! So an address is named as it comes, once in a while after that, with how often it came meanwhile, and
//! of too many at a time only their number is told. No I/O, no clock.
//!
//! Invariant: at most [`NAMED_MAX`] addresses are remembered, and at most one line more than that is
//! said in [`AGAIN`].

use std::collections::HashMap;
use std::time::Duration;

use crate::config::PeerAddress;
use crate::time::Time;

/// Between two lines about one address.
const AGAIN: Duration = Duration::from_secs(300);

/// So many addresses are named within that time.
const NAMED_MAX: usize = 32;

/// Who came.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    named: HashMap<PeerAddress, Came>,
    /// Those that were too many to be named.
    others: Option<Came>,
}

#[derive(Clone, Copy, Debug)]
struct Came {
    /// When that was said last.
    said: Time,
    /// How often since.
    since: u64,
}

impl Came {
    /// It came once more. The number of times that were not said, if it is time to say it.
    fn again(&mut self, now: Time) -> Option<u64> {
        if now.saturating_since(self.said) < AGAIN {
            self.since += 1;
            return None;
        }
        self.said = now;
        Some(std::mem::take(&mut self.since))
    }
}

impl Strangers {
    /// A connection came from an address that no neighbor has and no `peerPrefix` covers. What is to be
    /// said of that, with the mend; none: nothing now.
    pub(super) fn came(&mut self, now: Time, address: PeerAddress) -> Option<String> {
        if let Some(known) = self.named.get_mut(&address) {
            let unsaid = known.again(now)?;
            return Some(words(address, unsaid));
        }
        if self.named.len() >= NAMED_MAX {
            self.named
                .retain(|_, came| now.saturating_since(came.said) < AGAIN);
        }
        let came = Came {
            said: now,
            since: 0,
        };
        if self.named.len() < NAMED_MAX {
            self.named.insert(address, came);
            return Some(words(address, 0));
        }
        let unsaid = match &mut self.others {
            Some(others) => others.again(now)?,
            None => {
                self.others = Some(came);
                0
            }
        };
        Some(format!(
            "{}; so many addresses connect that others are only counted: {unsaid} connections so far",
            words(address, 0)
        ))
    }
}

fn words(address: PeerAddress, unsaid: u64) -> String {
    let times = match unsaid {
        0 => String::new(),
        1 => ", and once before since it was said last".to_owned(),
        unsaid => format!(", and {unsaid} times before since it was said last"),
    };
    format!(
        "closed a connection from {address}{times}: no neighbor has this address, and no peerPrefix \
         covers it; add it to neighbors, or remove this node from the router there"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> PeerAddress {
        std::net::IpAddr::from(std::net::Ipv4Addr::from(0x0a00_0000 + number)).into()
    }

    fn at(seconds: u64) -> Time {
        Time(0) + Duration::from_secs(seconds)
    }

    #[test]
    fn a_stranger_is_named_at_once_and_then_with_how_often_it_came() {
        let mut strangers = Strangers::default();
        let first = strangers.came(at(0), address(9)).unwrap();
        assert!(
            first.starts_with("closed a connection from 10.0.0.9: no neighbor has this address")
        );
        for second in 1..=60 {
            assert_eq!(strangers.came(at(second), address(9)), None);
        }
        assert!(strangers.came(at(60), address(8)).is_some(), "another one");
        let again = strangers.came(at(300), address(9)).unwrap();
        assert!(again.contains("10.0.0.9, and 60 times before"), "{again}");
        let again = strangers.came(at(900), address(9)).unwrap();
        assert!(again.contains("10.0.0.9: no neighbor"), "{again}");
    }

    #[test]
    fn all_the_world_is_counted() {
        let mut strangers = Strangers::default();
        let mut come = |second: u64, range: std::ops::Range<u32>| {
            let said = range.filter_map(|number| strangers.came(at(second), address(number)));
            let said: Vec<String> = said.collect();
            (said.len(), strangers.named.len(), said.last().cloned())
        };
        let (said, known, _) = come(0, 0..100_000);
        assert_eq!((said, known), (NAMED_MAX + 1, NAMED_MAX));
        let (said, known, last) = come(299, 200_000..200_100);
        assert_eq!((said, known, last), (0, NAMED_MAX, None));
        // The first ones are forgotten: others are named for them, and the rest is told.
        let (said, known, last) = come(300, 300_000..300_100);
        assert_eq!((said, known), (NAMED_MAX + 1, NAMED_MAX));
        let unsaid = 100_000 - NAMED_MAX as u64 - 1 + 100;
        let words = format!("others are only counted: {unsaid} connections so far");
        assert!(last.unwrap().contains(&words));
    }
}
