//! What every router should hold, computed from what the senders say and never from what the
//! target sends, and the comparison with what they do hold.
//!
//! Read first: RFC 4271 §5.1 (what changes on export to another AS), RFC 4456 §8 (reflection),
//! RFC 4271 §9.1.2 (who wins), RFC 7947 §2 (route servers). Invariant: a prefix has the routes that
//! may win, which are equal up to where speakers differ, and a router whose own route may win need
//! not be told any.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;

use ahash::AHashMap;
use codec::{AsPath, AttributeSet, AttributeWriter, RawAttribute, code, flags};
use smallvec::SmallVec;

use crate::ledger::Ledger;

/// What a target does to attributes on the way.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Export {
    /// To another AS: its own AS is prepended, its own address is the next hop, MED and LOCAL_PREF
    /// go. `None`: any next hop but the sender's.
    External { asn: u32, next_hop: Option<IpAddr> },
    /// Reflected: ORIGINATOR_ID and one CLUSTER_LIST entry come in, nothing else changes.
    Reflected,
    /// A transparent route server: nothing changes.
    Unchanged,
}

/// A router as others know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Party {
    /// Its address; also its BGP identifier.
    pub(crate) address: Ipv4Addr,
    /// Its AS number.
    pub(crate) asn: u32,
}

/// The routes that should be there.
pub(crate) struct Truth {
    export: Export,
    parties: Vec<Party>,
    sets: Vec<SentSet>,
    /// By the number of a prefix, its routes.
    contests: Vec<Contest>,
}

/// The routes of one prefix that somebody may be told, as numbers of their sets.
#[derive(Clone, Default)]
struct Contest {
    /// Of these, one wins.
    winners: SmallVec<[u32; 2]>,
    /// Of these, one wins among the routes of those whose own route is not the best.
    runners_up: SmallVec<[u32; 2]>,
}

/// An attribute set as its sender means it, in canonical form.
struct SentSet {
    sender: usize,
    octets: Box<[u8]>,
}

/// What is not as it should be.
#[derive(Debug, Default)]
pub(crate) struct Differences {
    pub(crate) count: u64,
    /// The first of them, in words.
    pub(crate) first: Vec<String>,
}

/// A difference in one table entry, before it is put into words.
enum Wrong {
    Missing,
    /// Nobody announces it, or it should not be told to this router.
    Surplus,
    /// Held with other attributes than the set's.
    Differs(u32),
}

impl Truth {
    /// Nothing is announced; `prefixes` of them will be.
    pub(crate) fn new(export: Export, parties: Vec<Party>, prefixes: usize) -> Truth {
        Truth {
            export,
            parties,
            sets: Vec::new(),
            contests: vec![Contest::default(); prefixes],
        }
    }

    /// An attribute set that a sender announces, canonical.
    pub(crate) fn add_set(&mut self, sender: usize, octets: Vec<u8>) -> u32 {
        self.sets.push(SentSet {
            sender,
            octets: octets.into(),
        });
        (self.sets.len() - 1) as u32
    }

    /// All routes that there are for some prefixes, by their sets. RFC 4271 §9.1.2.2 a and b: the
    /// shortest path wins, then the lowest ORIGIN. MED does not decide: no two senders are of one
    /// AS, or they are equal in it. The rest is a tie here, since speakers differ in how they break
    /// it.
    pub(crate) fn add_routes(&mut self, prefixes: Range<u32>, sets: &[u32]) {
        let rank = |set: u32| {
            let set = AttributeSet::new(&self.sets[set as usize].octets);
            (set.as_path().path_length(), set.origin())
        };
        let best_of = |sets: &[u32]| -> SmallVec<[u32; 2]> {
            let best = sets.iter().map(|set| rank(*set)).min();
            let is_best = |set: &u32| Some(rank(*set)) == best;
            sets.iter().copied().filter(is_best).collect()
        };
        let winners = best_of(sets);
        let rest: SmallVec<[u32; 4]> = match winners.as_slice() {
            [winner] => sets.iter().copied().filter(|set| set != winner).collect(),
            // Each of them comes second to the others.
            _ => SmallVec::new(),
        };
        let contest = Contest {
            runners_up: best_of(&rest),
            winners,
        };
        for prefix in prefixes {
            self.contests[prefix as usize] = contest.clone();
        }
    }

    /// Compares the tables of these routers with what they should be, prefix by prefix.
    pub(crate) fn compare(
        &self,
        ledger: &Ledger,
        routers: impl IntoIterator<Item = usize>,
        name: impl Fn(usize) -> String,
        prefix: impl Fn(u32) -> String,
    ) -> Differences {
        let mut differences = Differences::default();
        let mut known = AHashMap::new();
        for router in routers {
            let mut table = ledger.table(router);
            let mut place = 0;
            loop {
                let entry = table.next();
                if entry.is_none() && place as usize >= self.contests.len() {
                    break;
                }
                let held = entry.flatten();
                if let Some(wrong) = self.judge(router, place, held, ledger, &mut known) {
                    differences.count += 1;
                    if differences.first.len() < DIFFERENCES_SHOWN {
                        let words = self.words(&wrong, held, ledger);
                        let line = format!("{}: {}: {words}", name(router), prefix(place));
                        differences.first.push(line);
                    }
                }
                place += 1;
            }
        }
        differences
    }

    fn judge(
        &self,
        router: usize,
        place: u32,
        held: Option<u32>,
        ledger: &Ledger,
        known: &mut AHashMap<(u32, u32), bool>,
    ) -> Option<Wrong> {
        let nobody = Contest::default();
        let contest = self.contests.get(place as usize).unwrap_or(&nobody);
        let winners = &contest.winners;
        let Some(held) = held else {
            let may_lack = winners.iter().any(|set| self.is_loop(router, *set));
            return (!winners.is_empty() && !may_lack).then_some(Wrong::Missing);
        };
        let mut is_right = |set: &u32| {
            *known.entry((*set, held)).or_insert_with(|| {
                let sent = &self.sets[*set as usize];
                self.difference(sent, ledger.set(held)).is_none()
            })
        };
        // Some speakers tell a router its own routes, which it refuses as loops: no fault.
        if winners.iter().any(&mut is_right) {
            return None;
        }
        let Some(due) = winners.iter().find(|set| !self.is_loop(router, **set)) else {
            // RFC 7947 §2.3: a route server may choose for each client among the others' routes.
            let chooses = matches!(self.export, Export::Unchanged);
            let is_runner_up = chooses && contest.runners_up.iter().any(is_right);
            return (!is_runner_up).then_some(Wrong::Surplus);
        };
        Some(Wrong::Differs(*due))
    }

    /// Whether a router would refuse a route, as its own or for its AS in the path.
    fn is_loop(&self, router: usize, set: u32) -> bool {
        let sent = &self.sets[set as usize];
        let path = AttributeSet::new(&sent.octets).as_path();
        sent.sender == router || path.contains(self.parties[router].asn)
    }

    fn words(&self, wrong: &Wrong, held: Option<u32>, ledger: &Ledger) -> String {
        match wrong {
            Wrong::Missing => "is missing".into(),
            Wrong::Surplus => {
                let path = held.map(|held| ledger.set(held).as_path().to_string());
                format!(
                    "should not be there, and is with AS_PATH [{}]",
                    path.unwrap_or_default()
                )
            }
            Wrong::Differs(set) => {
                let seen = held.map(|held| ledger.set(held));
                let sent = &self.sets[*set as usize];
                seen.and_then(|seen| self.difference(sent, seen))
                    .unwrap_or_default()
            }
        }
    }

    /// The first attribute that is not as it should be after export.
    fn difference(&self, sent: &SentSet, seen: AttributeSet<'_>) -> Option<String> {
        let mut octets = Vec::new();
        self.exported(sent, &mut octets);
        let due = AttributeSet::new(&octets);
        let mut codes: SmallVec<[u8; 16]> = due.iter().chain(seen.iter()).map(|a| a.code).collect();
        codes.sort_unstable();
        codes.dedup();
        codes.into_iter().find_map(|code| match code {
            code::NEXT_HOP | code::MP_REACH_NLRI => self.next_hop_difference(due, seen),
            code::CLUSTER_LIST => {
                let clusters = seen.cluster_list().count();
                let wanted = usize::from(matches!(self.export, Export::Reflected));
                (clusters != wanted)
                    .then(|| format!("CLUSTER_LIST has {clusters} entries, should have {wanted}"))
            }
            // RFC 4271 §9.1.2.2 c: none and 0 mean the same; some reflectors write the 0.
            code::MED if matches!(self.export, Export::Reflected) => {
                let (due, seen) = (due.med(), seen.med());
                (due.unwrap_or(0) != seen.unwrap_or(0))
                    .then(|| format!("MULTI_EXIT_DISC is {seen:?}, should be {due:?}"))
            }
            _ => {
                let (due, seen) = (due.get(code), seen.get(code));
                (!is_same(due, seen)).then(|| {
                    let name = code::name(code).map_or(format!("attribute {code}"), str::to_owned);
                    format!("{name} is {}, should be {}", shown(seen), shown(due))
                })
            }
        })
    }

    fn next_hop_difference(&self, due: AttributeSet<'_>, seen: AttributeSet<'_>) -> Option<String> {
        let (due, seen) = (due.next_hop()?.address(), seen.next_hop());
        let Some(seen) = seen.map(|next_hop| next_hop.address()) else {
            return Some(format!("the next hop is missing, should be {due}"));
        };
        match self.export {
            Export::External { next_hop, .. } => match next_hop {
                Some(own) => (seen != own)
                    .then(|| format!("the next hop is {seen}, should be the target's, {own}")),
                None => (seen == due)
                    .then(|| format!("the next hop is still {seen}, should be the target's")),
            },
            _ => (seen != due).then(|| format!("the next hop is {seen}, should be {due}")),
        }
    }

    /// The set as the target should pass it on; the next hop is left as it was sent.
    fn exported(&self, sent: &SentSet, out: &mut Vec<u8>) {
        let mut originator =
            matches!(self.export, Export::Reflected).then(|| self.parties[sent.sender].address);
        let mut writer = AttributeWriter::new(out);
        for RawAttribute { flags, code, value } in AttributeSet::new(&sent.octets).iter() {
            if code > code::ORIGINATOR_ID
                && let Some(originator) = originator.take()
            {
                writer.originator_id(originator);
            }
            match (self.export, code) {
                (Export::External { asn, .. }, code::AS_PATH) => {
                    writer.as_path(&AsPath::new(value), &[asn], true);
                }
                (Export::External { .. }, _) if !passes_to_another_as(flags, code) => {}
                _ => writer.raw(flags, code, value),
            }
        }
        if let Some(originator) = originator {
            writer.originator_id(originator);
        }
    }
}

/// RFC 4271 §5, §5.1.4 and §5.1.5, RFC 4456 §8: what stays inside an AS. The place of an IPv6 next
/// hop is not transitive but always there.
fn passes_to_another_as(flags: u8, code: u8) -> bool {
    match code {
        code::MP_REACH_NLRI => true,
        code::MED | code::LOCAL_PREF => false,
        _ => flags & flags::TRANSITIVE != 0,
    }
}

/// Equal but for what a speaker may change: the order of communities, and the Partial bit.
fn is_same(due: Option<RawAttribute<'_>>, seen: Option<RawAttribute<'_>>) -> bool {
    let (Some(due), Some(seen)) = (due, seen) else {
        return due.is_none() && seen.is_none();
    };
    let free = flags::PARTIAL | flags::EXTENDED_LENGTH;
    let same_flags = (due.flags | free) == (seen.flags | free);
    let same_value = match due.code {
        code::COMMUNITIES => entries::<4>(due.value) == entries::<4>(seen.value),
        code::EXTENDED_COMMUNITIES => entries::<8>(due.value) == entries::<8>(seen.value),
        code::LARGE_COMMUNITIES => entries::<12>(due.value) == entries::<12>(seen.value),
        _ => due.value == seen.value,
    };
    same_flags && same_value
}

/// Entries as a set: sorted, each once.
fn entries<const N: usize>(value: &[u8]) -> Vec<[u8; N]> {
    let mut entries = value.as_chunks::<N>().0.to_vec();
    entries.sort_unstable();
    entries.dedup();
    entries
}

fn shown(attribute: Option<RawAttribute<'_>>) -> String {
    let Some(RawAttribute { code, value, .. }) = attribute else {
        return "absent".into();
    };
    match (code, <[u8; 4]>::try_from(value)) {
        (code::AS_PATH, _) => format!("[{}]", AsPath::new(value)),
        (code::MED | code::LOCAL_PREF, Ok(number)) => u32::from_be_bytes(number).to_string(),
        (code::ORIGINATOR_ID, Ok(address)) => Ipv4Addr::from(address).to_string(),
        _ => value.iter().map(|octet| format!("{octet:02x}")).collect(),
    }
}

/// How many differences are put into words.
const DIFFERENCES_SHOWN: usize = 10;

#[cfg(test)]
mod tests {
    use codec::{HEADER_LEN, IpPrefix, Ipv4Prefix, NextHop, Origin, Prefix, WireFormat};

    use super::*;
    use crate::prefix_ids::PrefixIds;
    use crate::script::Script;

    const DUT: u32 = 65_000;
    const DUT_ADDRESS: Ipv4Addr = Ipv4Addr::LOCALHOST;

    /// Three routers and one prefix, which router 0 announces.
    struct Case {
        truth: Truth,
        ledger: Ledger,
        ids: PrefixIds,
    }

    #[derive(Clone)]
    struct Set {
        path: Vec<u32>,
        next_hop: Ipv4Addr,
        med: Option<u32>,
        local_pref: Option<u32>,
        communities: Vec<u32>,
        reflected_by: Vec<Ipv4Addr>,
    }

    fn sent() -> Set {
        Set {
            path: vec![100, 7],
            next_hop: [198, 18, 0, 1].into(),
            med: Some(5),
            local_pref: None,
            communities: vec![1, 2],
            reflected_by: Vec::new(),
        }
    }

    fn exported() -> Set {
        Set {
            path: vec![DUT, 100, 7],
            next_hop: DUT_ADDRESS,
            med: None,
            ..sent()
        }
    }

    impl Set {
        fn octets(&self) -> Vec<u8> {
            let mut octets = Vec::new();
            let mut writer = AttributeWriter::new(&mut octets);
            writer.origin(Origin::Igp);
            writer.as_path(&AsPath::new(&[]), &self.path, true);
            writer.next_hop(self.next_hop);
            self.med.into_iter().for_each(|med| writer.med(med));
            let local_pref = self.local_pref.into_iter();
            local_pref.for_each(|value| writer.local_pref(value));
            writer.communities(&self.communities);
            if !self.reflected_by.is_empty() {
                writer.originator_id([127, 1, 0, 1].into());
                writer.cluster_list(&self.reflected_by);
            }
            octets
        }
    }

    fn prefix() -> IpPrefix {
        Ipv4Prefix::masked([20, 0, 0, 0].into(), 8).erase()
    }

    impl Case {
        fn new(export: Export, asns: [u32; 3]) -> Case {
            let parties = (1..).zip(asns).map(|(host, asn)| Party {
                address: [127, 1, 0, host].into(),
                asn,
            });
            Case {
                truth: Truth::new(export, parties.collect(), 1),
                ledger: Ledger::new(3),
                ids: PrefixIds::new(&[prefix()]),
            }
        }

        fn external() -> Case {
            let export = Export::External {
                asn: DUT,
                next_hop: Some(DUT_ADDRESS.into()),
            };
            Case::new(export, [100, 101, 102])
        }

        fn announced(mut self, sender: usize, set: &Set) -> Case {
            let set = self.truth.add_set(sender, set.octets());
            self.truth.add_routes(0..1, &[set]);
            self
        }

        /// A router is told the prefix.
        fn told(mut self, router: usize, set: &Set) -> Case {
            let mut script = Script::new(codec::Family::Ipv4Unicast);
            script.announce(&set.octets(), &NextHop::V4(set.next_hop), [prefix()]);
            let wire = WireFormat {
                peer: match self.truth.export {
                    Export::Reflected => codec::PeerKind::Internal,
                    _ => codec::PeerKind::External,
                },
                ..WireFormat::default()
            };
            let said = script.finish();
            let ids = &mut self.ids;
            let id = |prefix| ids.id(prefix, 0);
            let taken = self.ledger.take(router, &wire, &said[0][HEADER_LEN..], id);
            assert_eq!(taken, Ok(()));
            self
        }

        fn differences(&self) -> Vec<String> {
            let name = |router: usize| format!("router {router}");
            let differences = self
                .truth
                .compare(&self.ledger, 0..3, name, |id| id.to_string());
            assert_eq!(differences.count, differences.first.len() as u64);
            differences.first
        }
    }

    #[test]
    fn right_tables_do_not_differ() {
        let case = Case::external().announced(0, &sent());
        let case = case.told(1, &exported()).told(2, &exported());
        assert_eq!(case.differences(), [""; 0]);
        // A speaker may sort communities, and tell a router its own routes.
        let mut sorted = exported();
        sorted.communities.reverse();
        let case = case.told(1, &sorted).told(0, &exported());
        assert_eq!(case.differences(), [""; 0]);
    }

    #[test]
    fn each_change_is_found_and_named() {
        let wrong = |change: &dyn Fn(&mut Set)| {
            let mut set = exported();
            change(&mut set);
            let case = Case::external().announced(0, &sent());
            let mut words = case.told(1, &exported()).told(2, &set).differences();
            assert_eq!(words.len(), 1, "{words:?}");
            words.remove(0)
        };
        assert_eq!(
            wrong(&|set| set.path = vec![100, 7]),
            "router 2: 0: AS_PATH is [100 7], should be [65000 100 7]"
        );
        assert_eq!(
            wrong(&|set| set.med = Some(5)),
            "router 2: 0: MULTI_EXIT_DISC is 5, should be absent"
        );
        assert_eq!(
            wrong(&|set| set.communities = vec![1]),
            "router 2: 0: COMMUNITIES is 00000001, should be 0000000100000002"
        );
        assert_eq!(
            wrong(&|set| set.next_hop = [198, 18, 0, 1].into()),
            "router 2: 0: the next hop is 198.18.0.1, should be the target's, 127.0.0.1"
        );
    }

    #[test]
    fn what_is_missing_or_left_over_is_found() {
        let case = Case::external().announced(0, &sent());
        assert_eq!(
            case.told(2, &exported()).differences(),
            ["router 1: 0: is missing"]
        );
        let case = Case::external().told(1, &exported());
        assert_eq!(
            case.differences(),
            ["router 1: 0: should not be there, and is with AS_PATH [65000 100 7]"]
        );
    }

    #[test]
    fn a_survivor_of_one_as_must_not_keep_the_route_of_the_dead() {
        let export = Export::External {
            asn: DUT,
            next_hop: None,
        };
        // The best route is router 0's; router 1 of the same AS would refuse it as a loop, and may
        // be told it or not.
        let both = Case::new(export, [100, 100, 102]).announced(0, &sent());
        let both = both.told(2, &exported());
        assert_eq!(both.differences(), [""; 0]);
        assert_eq!(both.told(1, &exported()).differences(), [""; 0]);
        // Router 0 is dead, router 1's own route wins: what it was told of router 0 must go.
        let mut own = sent();
        own.communities = vec![3];
        let mut own_exported = exported();
        own_exported.communities = vec![3];
        let one = Case::new(export, [100, 100, 102]).announced(1, &own);
        let one = one.told(1, &exported()).told(2, &own_exported);
        let words = one
            .truth
            .compare(&one.ledger, 1..3, |r| r.to_string(), |id| id.to_string());
        assert_eq!(
            words.first,
            ["1: 0: should not be there, and is with AS_PATH [65000 100 7]"]
        );
    }

    #[test]
    fn the_shortest_path_wins_and_a_route_server_may_pass_on_the_second() {
        let (short, mut long) = (sent(), sent());
        long.path = vec![101, 8, 9];
        let contested = |export, told: &Set| {
            let mut case = Case::new(export, [100, 101, 102]);
            let sets = [(0, &short), (1, &long)];
            let sets = sets.map(|(sender, set)| case.truth.add_set(sender, set.octets()));
            case.truth.add_routes(0..1, &sets);
            // Router 0's own route is the best.
            let case = case.told(1, &short).told(2, &short).told(0, told);
            case.differences()
        };
        assert_eq!(contested(Export::Unchanged, &long), [""; 0]);
        assert_eq!(contested(Export::Unchanged, &short), [""; 0]);
        assert_eq!(contested(Export::Unchanged, &exported()).len(), 1);
        let mut case = Case::external();
        let sets = [(0, &short), (1, &long)];
        let sets = sets.map(|(sender, set)| case.truth.add_set(sender, set.octets()));
        case.truth.add_routes(0..1, &sets);
        let mut wrong = exported();
        wrong.path = vec![DUT, 101, 8, 9];
        let case = case.told(1, &exported()).told(2, &wrong);
        assert_eq!(
            case.differences(),
            ["router 2: 0: AS_PATH is [65000 101 8 9], should be [65000 100 7]"]
        );
    }

    #[test]
    fn reflectors_and_route_servers_change_nothing_else() {
        let mut inside = sent();
        inside.local_pref = Some(100);
        let mut reflected = inside.clone();
        reflected.reflected_by = vec![[10, 0, 0, 1].into()];
        let case = Case::new(Export::Reflected, [DUT; 3]).announced(0, &inside);
        let case = case.told(1, &reflected).told(2, &inside);
        let words = case.differences();
        assert_eq!(
            words,
            ["router 2: 0: ORIGINATOR_ID is absent, should be 127.1.0.1"]
        );
        let case = Case::new(Export::Unchanged, [100, 101, 102]).announced(0, &sent());
        let case = case.told(1, &sent()).told(2, &exported());
        assert_eq!(case.differences().len(), 1);
    }
}
