//! Validated ROA payloads, and which of them cover a prefix.
//!
//! A family's VRPs stand in one row, ordered by prefix, a covering prefix before those that it covers;
//! beside each stands the place of the last VRP of the nearest prefix around it. Whatever covers a
//! route's prefix comes before it in this order, and the last VRP before it is covered by that too: so
//! one binary search finds where to begin, and the links lead outwards. 20 octets an IPv4 VRP.
//!
//! A table is never changed: [`VrpTable::with`] makes the next one in one pass over both.

use std::cmp::Ordering;

use codec::{IpPrefix, Ipv4Prefix, Ipv6Prefix, Prefix};

use super::error::{ErrorCode, Fault};
use crate::policy::Validation;

/// A validated ROA payload (RFC 6811 §2): this AS may originate the prefix, and what lies within it up
/// to a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vrp<P> {
    /// The prefix.
    pub prefix: P,
    /// Of routes that may be originated, from the prefix's own to 32 or 128.
    pub max_length: u8,
    /// The AS; 0: nobody may (RFC 6483 §4).
    pub asn: u32,
}

/// All VRPs at one moment.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct VrpTable {
    ipv4: Rows<Ipv4Prefix>,
    ipv6: Rows<Ipv6Prefix>,
}

/// Prefixes under which states may have changed; none lies within another one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// IPv4 ones, in order.
    pub ipv4: Vec<Ipv4Prefix>,
    /// IPv6 ones, in order.
    pub ipv6: Vec<Ipv6Prefix>,
}

impl Changed {
    /// How many they are.
    pub fn len(&self) -> usize {
        self.ipv4.len() + self.ipv6.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The one at a place, IPv4 first.
    pub fn get(&self, place: usize) -> Option<IpPrefix> {
        match self.ipv4.get(place) {
            Some(prefix) => Some(prefix.erase()),
            None => self
                .ipv6
                .get(place - self.ipv4.len())
                .map(|prefix| prefix.erase()),
        }
    }
}

/// What a response said, in its order: true where a VRP is announced, false where it is withdrawn.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub(super) ipv4: Vec<(Vrp<Ipv4Prefix>, bool)>,
    pub(super) ipv6: Vec<(Vrp<Ipv6Prefix>, bool)>,
}

impl Records {
    pub(super) fn len(&self) -> usize {
        self.ipv4.len() + self.ipv6.len()
    }
}

impl VrpTable {
    /// The table after what a response said.
    ///
    /// # Errors
    /// What is withdrawn is not there, or what is announced is.
    pub(super) fn with(&self, records: Records) -> Result<VrpTable, Fault> {
        Ok(VrpTable {
            ipv4: self.ipv4.with(records.ipv4)?,
            ipv6: self.ipv6.with(records.ipv6)?,
        })
    }

    /// A table of these: prefix, max length, origin AS.
    pub fn of(vrps: &[(IpPrefix, u8, u32)]) -> VrpTable {
        let (mut ipv4, mut ipv6) = (Vec::new(), Vec::new());
        for (prefix, max_length, asn) in vrps.iter().copied() {
            match prefix {
                IpPrefix::V4(prefix) => ipv4.push(Vrp {
                    prefix,
                    max_length,
                    asn,
                }),
                IpPrefix::V6(prefix) => ipv6.push(Vrp {
                    prefix,
                    max_length,
                    asn,
                }),
            }
        }
        VrpTable {
            ipv4: Rows::of(each_once(ipv4)),
            ipv6: Rows::of(each_once(ipv6)),
        }
    }

    /// How many IPv4 and IPv6 VRPs there are.
    pub fn counts(&self) -> (usize, usize) {
        (self.ipv4.vrps.len(), self.ipv6.vrps.len())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.counts() == (0, 0)
    }

    /// The state of a route to a prefix from an AS; none: its origin cannot be told, and no VRP
    /// matches it.
    pub fn validate(&self, prefix: IpPrefix, origin: Option<u32>) -> Validation {
        match prefix {
            IpPrefix::V4(prefix) => self.ipv4.validate(prefix, origin),
            IpPrefix::V6(prefix) => self.ipv6.validate(prefix, origin),
        }
    }

    /// As [`VrpTable::validate`], quickly where prefixes are asked for in order. `cursor` begins at 0,
    /// and is any number: it is only where the search begins.
    pub fn validate_next(
        &self,
        cursor: &mut usize,
        prefix: IpPrefix,
        origin: Option<u32>,
    ) -> Validation {
        match prefix {
            IpPrefix::V4(prefix) => self.ipv4.validate_next(cursor, prefix, origin),
            IpPrefix::V6(prefix) => self.ipv6.validate_next(cursor, prefix, origin),
        }
    }

    /// The VRPs that cover a prefix, the nearest first.
    pub fn covering(&self, prefix: IpPrefix) -> Vec<Vrp<IpPrefix>> {
        match prefix {
            IpPrefix::V4(prefix) => self.ipv4.covering(prefix).map(erased).collect(),
            IpPrefix::V6(prefix) => self.ipv6.covering(prefix).map(erased).collect(),
        }
    }

    /// Under which prefixes states may differ between this and another table.
    pub fn changed(&self, new: &VrpTable) -> Changed {
        Changed {
            ipv4: self.ipv4.changed(&new.ipv4),
            ipv6: self.ipv6.changed(&new.ipv6),
        }
    }
}

fn each_once<P: Prefix>(mut vrps: Vec<Vrp<P>>) -> Vec<Vrp<P>> {
    vrps.sort_unstable();
    vrps.dedup();
    vrps
}

fn erased<P: Prefix>(vrp: &Vrp<P>) -> Vrp<IpPrefix> {
    Vrp {
        prefix: vrp.prefix.erase(),
        max_length: vrp.max_length,
        asn: vrp.asn,
    }
}

/// No prefix is around.
const OUTERMOST: u32 = u32::MAX;

#[derive(Debug, PartialEq, Eq)]
struct Rows<P> {
    vrps: Vec<Vrp<P>>,
    /// By place of a VRP: the place of the last one of the nearest prefix around its own.
    around: Vec<u32>,
}

impl<P> Default for Rows<P> {
    fn default() -> Rows<P> {
        Rows {
            vrps: Vec::new(),
            around: Vec::new(),
        }
    }
}

impl<P: Prefix> Rows<P> {
    /// Of VRPs in order, each once.
    fn of(vrps: Vec<Vrp<P>>) -> Rows<P> {
        let mut around = Vec::with_capacity(vrps.len());
        // The last places of the prefixes around the one at hand, the outermost first.
        let mut open: Vec<u32> = Vec::new();
        for run in vrps.chunk_by(|a, b| a.prefix == b.prefix) {
            let prefix = run[0].prefix;
            while let Some(last) = open.last()
                && !covers(vrps[*last as usize].prefix, prefix)
            {
                open.pop();
            }
            let nearest = open.last().copied().unwrap_or(OUTERMOST);
            around.resize(around.len() + run.len(), nearest);
            open.push(around.len() as u32 - 1);
        }
        Rows { vrps, around }
    }

    fn with(&self, mut records: Vec<(Vrp<P>, bool)>) -> Result<Rows<P>, Fault> {
        // Those of one VRP stay in their order.
        records.sort_by_key(|(vrp, _)| *vrp);
        let mut vrps = Vec::with_capacity(self.vrps.len() + records.len());
        let mut old = self.vrps.as_slice();
        for of_one in records.chunk_by(|a, b| a.0 == b.0) {
            let vrp = of_one[0].0;
            let (before, rest) = old.split_at(old.partition_point(|old| *old < vrp));
            vrps.extend(before);
            let mut present = rest.first() == Some(&vrp);
            old = &rest[usize::from(present)..];
            for (_, announced) in of_one {
                if *announced == present {
                    return Err(contradiction(vrp, present));
                }
                present = *announced;
            }
            vrps.extend(present.then_some(vrp));
        }
        vrps.extend(old);
        vrps.shrink_to_fit();
        Ok(Rows::of(vrps))
    }

    fn covering(&self, prefix: P) -> impl Iterator<Item = &Vrp<P>> {
        self.covering_before(self.before(&self.vrps, prefix), prefix)
    }

    /// How many of some VRPs come before what lies within a prefix.
    fn before(&self, vrps: &[Vrp<P>], prefix: P) -> usize {
        vrps.partition_point(|vrp| vrp.prefix <= prefix)
    }

    /// The same of all of them, looked for from a place on in ever longer steps.
    fn before_from(&self, from: usize, prefix: P) -> usize {
        let (passed, ahead) = self.vrps.split_at(from.min(self.vrps.len()));
        if passed.last().is_some_and(|last| last.prefix > prefix) {
            return self.before(passed, prefix);
        }
        let mut step = 1;
        while ahead.get(step - 1).is_some_and(|vrp| vrp.prefix <= prefix) {
            step *= 2;
        }
        passed.len() + self.before(&ahead[..(step - 1).min(ahead.len())], prefix)
    }

    /// The VRPs that cover a prefix, of which so many come before what lies within it.
    fn covering_before(&self, before: usize, prefix: P) -> impl Iterator<Item = &Vrp<P>> {
        let mut place = before.checked_sub(1);
        // What does not cover the prefix is passed over outwards.
        while let Some(at) = place
            && !covers(self.vrps[at].prefix, prefix)
        {
            place = self.around(at);
        }
        std::iter::from_fn(move || {
            let at = place?;
            let vrp = &self.vrps[at];
            place = match at.checked_sub(1) {
                Some(next) if self.vrps[next].prefix == vrp.prefix => Some(next),
                _ => self.around(at),
            };
            Some(vrp)
        })
    }

    fn around(&self, at: usize) -> Option<usize> {
        let around = self.around[at];
        (around != OUTERMOST).then_some(around as usize)
    }

    fn validate(&self, prefix: P, origin: Option<u32>) -> Validation {
        Self::state(self.covering(prefix), prefix, origin)
    }

    fn validate_next(&self, cursor: &mut usize, prefix: P, origin: Option<u32>) -> Validation {
        *cursor = self.before_from(*cursor, prefix);
        Self::state(self.covering_before(*cursor, prefix), prefix, origin)
    }

    // RFC-DONE 6811 §2: Valid, Invalid and NotFound by the VRPs that cover a route, whoever said them.
    fn state<'v>(
        covering: impl Iterator<Item = &'v Vrp<P>>,
        prefix: P,
        origin: Option<u32>,
    ) -> Validation {
        let mut state = Validation::NotFound;
        for vrp in covering {
            // RFC 6483 §4: AS 0 originates nothing.
            let matches = vrp.asn != 0 && Some(vrp.asn) == origin;
            if matches && prefix.length() <= vrp.max_length {
                return Validation::Valid;
            }
            state = Validation::Invalid;
        }
        state
    }

    fn changed(&self, new: &Rows<P>) -> Vec<P> {
        let mut changed: Vec<P> = Vec::new();
        let mut note = |prefix: P| {
            // In order, so what lies within one comes right behind it.
            if changed.last().is_none_or(|last| !covers(*last, prefix)) {
                changed.push(prefix);
            }
        };
        let (mut old, mut new) = (self.vrps.iter().peekable(), new.vrps.iter().peekable());
        loop {
            let order = match (old.peek(), new.peek()) {
                (Some(old), Some(new)) => old.cmp(new),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return changed,
            };
            if order != Ordering::Greater
                && let Some(gone) = old.next()
                && order == Ordering::Less
            {
                note(gone.prefix);
            }
            if order != Ordering::Less
                && let Some(come) = new.next()
                && order == Ordering::Greater
            {
                note(come.prefix);
            }
        }
    }
}

fn covers<P: Prefix>(around: P, prefix: P) -> bool {
    around.length() <= prefix.length()
        && P::from_left_aligned(prefix.bits_left_aligned(), around.length()) == around
}

fn contradiction<P: Prefix>(vrp: Vrp<P>, present: bool) -> Fault {
    let Vrp {
        prefix,
        max_length,
        asn,
    } = vrp;
    let (code, what) = match present {
        true => (ErrorCode::DuplicateAnnouncement, "announced twice"),
        false => (ErrorCode::UnknownWithdrawal, "withdrawn and was not there"),
    };
    Fault::new(
        code,
        format!("{prefix} up to /{max_length} of AS {asn} is {what}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    type Plain = (IpPrefix, u8, u32);

    /// RFC 6811 §2, word by word.
    fn reference(vrps: &[Plain], route: IpPrefix, origin: Option<u32>) -> Validation {
        let covering = vrps.iter().filter(|(prefix, ..)| prefix.contains(route));
        let covering: Vec<_> = covering.collect();
        let matched = covering.iter().any(|(_, max_length, asn)| {
            route.length() <= *max_length && origin == Some(*asn) && *asn != 0
        });
        match (covering.is_empty(), matched) {
            (true, _) => Validation::NotFound,
            (false, true) => Validation::Valid,
            (false, false) => Validation::Invalid,
        }
    }

    /// Few bits, so that many cover one another.
    fn prefix() -> impl Strategy<Value = IpPrefix> {
        (any::<u32>(), 0u8..=8, any::<bool>()).prop_map(|(bits, length, ipv6)| match ipv6 {
            false => Ipv4Prefix::masked(Ipv4Addr::from(bits), length).erase(),
            true => Ipv6Prefix::from_left_aligned(u128::from(bits) << 96, length).erase(),
        })
    }

    fn vrps() -> impl Strategy<Value = Vec<Plain>> {
        let vrp = (prefix(), 0u8..4, 0u32..4);
        let vrp = vrp.prop_map(|(prefix, more, asn)| (prefix, prefix.length() + more, asn));
        prop::collection::vec(vrp, 0..60).prop_map(|mut vrps| {
            vrps.sort_unstable();
            vrps.dedup();
            vrps
        })
    }

    fn records(from: &[Plain], to: &[Plain]) -> Records {
        let mut records = Records::default();
        let gone = from
            .iter()
            .filter(|vrp| !to.contains(vrp))
            .map(|vrp| (vrp, false));
        let come = to
            .iter()
            .filter(|vrp| !from.contains(vrp))
            .map(|vrp| (vrp, true));
        for ((prefix, max_length, asn), announced) in gone.chain(come) {
            let (max_length, asn) = (*max_length, *asn);
            match *prefix {
                IpPrefix::V4(prefix) => {
                    records.ipv4.push((
                        Vrp {
                            prefix,
                            max_length,
                            asn,
                        },
                        announced,
                    ));
                }
                IpPrefix::V6(prefix) => {
                    records.ipv6.push((
                        Vrp {
                            prefix,
                            max_length,
                            asn,
                        },
                        announced,
                    ));
                }
            }
        }
        records
    }

    proptest! {
        // RFC-SHOWN 6811 §2
        #[test]
        fn states_are_those_of_the_reference(
            vrps in vrps(), routes in prop::collection::vec((prefix(), 0u32..5), 1..40),
        ) {
            let table = VrpTable::of(&vrps);
            let mut cursor = 0;
            for (route, origin) in routes {
                let origin = (origin < 4).then_some(origin);
                let state = reference(&vrps, route, origin);
                prop_assert_eq!(table.validate(route, origin), state);
                prop_assert_eq!(table.validate_next(&mut cursor, route, origin), state);
                let mut covering: Vec<Plain> = table
                    .covering(route)
                    .into_iter()
                    .map(|vrp| (vrp.prefix, vrp.max_length, vrp.asn))
                    .collect();
                covering.sort_unstable();
                let plain = vrps.iter().filter(|(prefix, ..)| prefix.contains(route));
                prop_assert!(plain.copied().eq(covering));
            }
        }

        #[test]
        fn a_change_leads_from_one_table_to_the_other(
            before in vrps(), after in vrps(), routes in prop::collection::vec((prefix(), 0u32..4), 1..40),
        ) {
            let old = VrpTable::of(&before);
            let new = old.with(records(&before, &after)).unwrap();
            prop_assert_eq!(&new, &VrpTable::of(&after));
            let changed = old.changed(&new);
            let prefixes: Vec<IpPrefix> = (0..changed.len()).filter_map(|at| changed.get(at)).collect();
            for (at, prefix) in prefixes.iter().enumerate() {
                let around = prefixes.iter().enumerate();
                prop_assert!(!around.into_iter().any(|(of, other)| of != at && other.contains(*prefix)));
            }
            for (route, origin) in routes {
                if old.validate(route, Some(origin)) != new.validate(route, Some(origin)) {
                    prop_assert!(prefixes.iter().any(|prefix| prefix.contains(route)));
                }
            }
        }
    }

    #[test]
    fn what_contradicts_the_table_is_refused() {
        let prefix = Ipv4Prefix::masked(Ipv4Addr::new(192, 0, 2, 0), 24);
        let vrp = Vrp {
            prefix,
            max_length: 24,
            asn: 65002,
        };
        let said = |announced: &[bool]| Records {
            ipv4: announced
                .iter()
                .map(|announced| (vrp, *announced))
                .collect(),
            ipv6: vec![],
        };
        let empty = VrpTable::default();
        let code = |records| empty.with(records).map_err(|fault| fault.code);
        assert_eq!(code(said(&[false])), Err(ErrorCode::UnknownWithdrawal));
        assert_eq!(
            code(said(&[true, true])),
            Err(ErrorCode::DuplicateAnnouncement)
        );
        assert_eq!(code(said(&[true, false])), Ok(VrpTable::default()));
        let one = empty.with(said(&[true])).unwrap();
        assert_eq!(one.counts(), (1, 0));
        assert_eq!(
            one.with(said(&[true])).map_err(|fault| fault.to_string()),
            Err(
                "192.0.2.0/24 up to /24 of AS 65002 is announced twice (Duplicate Announcement \
                 Received)"
                    .to_owned()
            )
        );
        assert_eq!(one.with(said(&[false, true])).unwrap(), one);
    }
}
