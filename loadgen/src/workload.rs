//! Synthetic tables: which router announces which prefixes, in which order, with which attributes.
//!
//! The mix is that of a table of the Internet. Prefixes of different owners are distinct. A *run*
//! is a few prefixes that lie near each other and share an attribute set; attributes are a function
//! of (seed, sender, run, version) alone, so that who checks what arrived computes them again
//! instead of remembering them. One seed gives the same octets everywhere.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use clap::ValueEnum;
use codec::{AsPath, AttributeWriter, Family, IpPrefix, NextHop, Origin};
use serde::Serialize;

use crate::random::{Random, mix};
use crate::script::Script;
use crate::space::{LengthMix, draw_prefixes};

/// In which order a sender announces its runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Order {
    /// By prefix, as a dump of a table does.
    Sorted,
    /// In no order, which is harder on a table.
    Shuffled,
}

/// What a table is drawn from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) family: Family,
    /// How many routers own prefixes.
    pub(crate) owners: usize,
    /// Prefixes of each of them.
    pub(crate) prefixes_each: usize,
    /// Prefixes that share an attribute set.
    pub(crate) per_attributes: usize,
    pub(crate) order: Order,
    pub(crate) seed: u64,
}

/// A drawn table.
pub(crate) struct Workload {
    pub(crate) family: Family,
    /// All prefixes, in ascending order.
    pub(crate) prefixes: Vec<IpPrefix>,
    runs: Vec<Run>,
    /// Per owner, the numbers of its runs in the order in which it announces them.
    owned: Vec<Vec<u32>>,
    seed: u64,
}

/// Some prefixes that share an attribute set.
#[derive(Clone, Copy, Debug)]
struct Run {
    owner: u32,
    first: u32,
    count: u32,
}

/// Who announces: what the sender's own settings add to an attribute set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Announcer {
    /// Its number among the routers.
    pub(crate) router: usize,
    pub(crate) asn: u32,
    /// Inside one AS: LOCAL_PREF is sent, the own AS is not in the path.
    pub(crate) internal: bool,
    pub(crate) next_hop: NextHop,
}

/// How an attribute set differs from that of a plain table.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Variant {
    /// Which announcement of the run this is; 0 has no mark, others are marked by a community.
    pub(crate) version: u16,
    /// The number of AS numbers in the path, where that decides who wins.
    pub(crate) path_length: Option<usize>,
    /// Without any standard community, not even the mark.
    pub(crate) bare: bool,
}

/// The attributes of a run, as their sender means them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RouteSet {
    pub(crate) path: Vec<u32>,
    pub(crate) med: Option<u32>,
    pub(crate) local_pref: Option<u32>,
    pub(crate) communities: Vec<u32>,
    pub(crate) large_communities: Vec<[u32; 3]>,
    pub(crate) next_hop: NextHop,
}

impl Workload {
    /// Draws a table.
    ///
    /// # Errors
    /// If address space of this mix does not hold so many prefixes, in words.
    pub(crate) fn draw(shape: &Shape) -> Result<Workload, String> {
        let total = shape.owners.saturating_mul(shape.prefixes_each);
        if total > PREFIXES_MAX {
            return Err(format!("{total} prefixes are more than {PREFIXES_MAX}"));
        }
        let mut random = Random::new(shape.seed);
        let lengths = LengthMix::internet(shape.family);
        let mut prefixes = draw_prefixes(shape.family, total, &lengths, &mut random);
        if prefixes.len() < total {
            let room = prefixes.len();
            return Err(format!(
                "there is room for {room} prefixes, not for {total}"
            ));
        }
        prefixes.sort_unstable();
        let mut workload = Workload {
            family: shape.family,
            prefixes,
            runs: Vec::new(),
            owned: vec![Vec::new(); shape.owners],
            seed: shape.seed,
        };
        workload.deal(shape, &mut random);
        Ok(workload)
    }

    /// Cuts the sorted prefixes into runs and deals them out, so that the owners' runs lie mingled.
    fn deal(&mut self, shape: &Shape, random: &mut Random) {
        let per_run = shape.per_attributes.max(1);
        let (full, rest) = (shape.prefixes_each / per_run, shape.prefixes_each % per_run);
        let mut lots: Vec<(u32, u32)> = Vec::new();
        for owner in 0..shape.owners as u32 {
            lots.extend((0..full).map(|_| (owner, per_run as u32)));
            lots.extend((rest > 0).then_some((owner, rest as u32)));
        }
        shuffle(&mut lots, random);
        let mut first = 0;
        for (owner, count) in lots {
            self.owned[owner as usize].push(self.runs.len() as u32);
            self.runs.push(Run {
                owner,
                first,
                count,
            });
            first += count;
        }
        if shape.order == Order::Shuffled {
            for runs in &mut self.owned {
                shuffle(runs, random);
            }
        }
    }

    /// The runs of an owner, in the order in which it announces them.
    pub(crate) fn owned(&self, owner: usize) -> &[u32] {
        &self.owned[owner]
    }

    /// The numbers of all runs, with their owners.
    pub(crate) fn runs(&self) -> impl Iterator<Item = (u32, usize)> + '_ {
        let owner = |run: &Run| run.owner as usize;
        (0..).zip(self.runs.iter().map(owner))
    }

    /// The places of a run's prefixes among all.
    pub(crate) fn ids_of(&self, run: u32) -> Range<u32> {
        let Run { first, count, .. } = self.runs[run as usize];
        first..first + count
    }

    /// The prefixes of a run.
    pub(crate) fn prefixes_of(&self, run: u32) -> &[IpPrefix] {
        let range = self.ids_of(run);
        &self.prefixes[range.start as usize..range.end as usize]
    }

    /// The attributes with which a sender announces a run.
    pub(crate) fn attributes(&self, run: u32, who: &Announcer, variant: Variant) -> RouteSet {
        let place = (who.router as u64) << 48 | u64::from(variant.version) << 32 | u64::from(run);
        let random = &mut Random::new(mix(self.seed ^ mix(place)));
        let length = 1 + random.below(6) as usize;
        let length = variant.path_length.unwrap_or(length);
        let mut path: Vec<u32> = (0..length)
            .map(|_| PATH_ASNS + random.below(PATH_ASN_COUNT) as u32)
            .collect();
        if !who.internal
            && let Some(first) = path.first_mut()
        {
            *first = who.asn;
        }
        let mark = (variant.version > 0).then(|| mark(variant.version));
        let communities = mark
            .into_iter()
            .chain((0..1 + random.below(5)).map(|_| (64_000 << 16) | random.below(1000) as u32));
        let mut communities: Vec<u32> = communities.collect();
        communities.sort_unstable();
        communities.dedup();
        if variant.bare {
            communities.clear();
        }
        RouteSet {
            path,
            med: (random.below(8) == 0).then(|| random.below(1000) as u32),
            local_pref: who.internal.then_some(100),
            communities,
            large_communities: if random.below(16) == 0 {
                vec![[PATH_ASNS, 1, random.below(1000) as u32]]
            } else {
                Vec::new()
            },
            next_hop: who.next_hop,
        }
    }

    /// Appends announcements of runs to a script.
    pub(crate) fn announce(
        &self,
        runs: &[u32],
        who: &Announcer,
        variant: impl Fn(u32) -> Variant,
        script: &mut Script,
    ) {
        let mut octets = Vec::new();
        for run in runs {
            let set = self.attributes(*run, who, variant(*run));
            octets.clear();
            set.encode(&mut octets);
            let prefixes = self.prefixes_of(*run).iter().copied();
            script.announce(&octets, &set.next_hop, prefixes);
        }
    }

    /// The same with runs of equal attributes together, in as few UPDATEs as they fit: as a speaker
    /// packs that has all at hand.
    pub(crate) fn announce_packed(
        &self,
        runs: &[u32],
        who: &Announcer,
        variant: Variant,
        script: &mut Script,
    ) {
        let mut by_attributes: BTreeMap<Vec<u8>, Vec<u32>> = BTreeMap::new();
        for run in runs {
            let mut octets = Vec::new();
            self.attributes(*run, who, variant).encode(&mut octets);
            by_attributes.entry(octets).or_default().push(*run);
        }
        for (octets, runs) in by_attributes {
            let prefixes = runs.iter().flat_map(|run| self.prefixes_of(*run));
            script.announce(&octets, &who.next_hop, prefixes.copied());
        }
    }
}

impl RouteSet {
    /// The attributes as they stand in an UPDATE, NEXT_HOP only for IPv4.
    fn encode(&self, out: &mut Vec<u8>) {
        self.write(out, |_| {});
    }

    /// The attributes in the canonical form of `codec`, with the next hop of either family.
    pub(crate) fn canonical(&self) -> Vec<u8> {
        let mut octets = Vec::new();
        self.write(&mut octets, |writer| {
            if !matches!(self.next_hop, NextHop::V4(_)) {
                writer.mp_next_hop(Family::Ipv6Unicast, &self.next_hop);
            }
        });
        octets
    }

    fn write(&self, out: &mut Vec<u8>, write_mp_next_hop: impl Fn(&mut AttributeWriter<'_>)) {
        let mut writer = AttributeWriter::new(out);
        writer.origin(Origin::Igp);
        writer.as_path(&AsPath::new(&[]), &self.path, true);
        if let NextHop::V4(address) = self.next_hop {
            writer.next_hop(address);
        }
        if let Some(med) = self.med {
            writer.med(med);
        }
        if let Some(local_pref) = self.local_pref {
            writer.local_pref(local_pref);
        }
        writer.communities(&self.communities);
        write_mp_next_hop(&mut writer);
        writer.large_communities(&self.large_communities);
    }
}

/// The community that marks a version of a run.
pub(crate) fn mark(version: u16) -> u32 {
    (MARK_ASN << 16) | u32::from(version)
}

/// The version that a community marks, if it marks one.
pub(crate) fn version(community: u32) -> Option<u16> {
    (community >> 16 == MARK_ASN).then_some(community as u16)
}

/// A router's next hop: the one after the router before it.
pub(crate) fn next_hop(first: IpAddr, router: usize) -> NextHop {
    match first {
        IpAddr::V4(first) => {
            NextHop::V4(Ipv4Addr::from(u32::from(first).wrapping_add(router as u32)))
        }
        IpAddr::V6(first) => NextHop::V6(Ipv6Addr::from(
            u128::from(first).wrapping_add(router as u128),
        )),
    }
}

/// Fisher and Yates.
fn shuffle<T>(items: &mut [T], random: &mut Random) {
    for last in (1..items.len()).rev() {
        items.swap(last, random.below(last as u64 + 1) as usize);
    }
}

/// What fits in memory beside what is to be loaded, several times the Internet.
const PREFIXES_MAX: usize = 10_000_000;
/// The ASes of paths: none of them is a router's or the target's.
const PATH_ASNS: u32 = 400_000;
const PATH_ASN_COUNT: u64 = 80_000;
/// The high half of the communities that mark versions: below all others, so that who sorts
/// communities has it first too.
const MARK_ASN: u32 = 63_999;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn shape(order: Order) -> Shape {
        Shape {
            family: Family::Ipv4Unicast,
            owners: 3,
            prefixes_each: 1003,
            per_attributes: 5,
            order,
            seed: 9,
        }
    }

    fn announcer(router: usize, internal: bool) -> Announcer {
        Announcer {
            router,
            asn: 100_001 + router as u32,
            internal,
            next_hop: NextHop::V4(Ipv4Addr::new(198, 18, 0, 1)),
        }
    }

    #[test]
    fn every_owner_has_its_own_share_and_one_seed_gives_one_table() {
        for order in [Order::Sorted, Order::Shuffled] {
            let workload = Workload::draw(&shape(order)).unwrap();
            let again = Workload::draw(&shape(order)).unwrap();
            let mut all = HashSet::new();
            for owner in 0..3 {
                let runs = workload.owned(owner);
                assert_eq!(runs, again.owned(owner));
                assert_eq!(runs.is_sorted(), order == Order::Sorted);
                let prefixes = runs.iter().flat_map(|run| workload.prefixes_of(*run));
                let before = all.len();
                all.extend(prefixes.copied());
                assert_eq!(all.len() - before, 1003);
                assert!(runs.iter().all(|run| workload.prefixes_of(*run).len() <= 5));
            }
            assert_eq!(workload.prefixes, again.prefixes);
            assert!(workload.prefixes.is_sorted());
        }
    }

    #[test]
    fn attributes_depend_on_sender_run_and_version_alone() {
        let workload = Workload::draw(&shape(Order::Shuffled)).unwrap();
        let set = |run, router, version| {
            let variant = Variant {
                version,
                path_length: None,
                ..Variant::default()
            };
            workload.attributes(run, &announcer(router, false), variant)
        };
        assert_eq!(set(4, 1, 0), set(4, 1, 0));
        assert_ne!(set(4, 1, 0).path, set(5, 1, 0).path);
        assert_ne!(set(4, 1, 0).path, set(4, 2, 0).path);
        assert_ne!(set(4, 1, 0).communities, set(4, 1, 7).communities);
        assert_eq!(set(4, 1, 0).path[0], 100_002);
        let versions = set(4, 1, 7).communities.into_iter().filter_map(version);
        assert_eq!(versions.collect::<Vec<_>>(), [7]);

        let long = Variant {
            path_length: Some(9),
            ..Variant::default()
        };
        let inside = workload.attributes(4, &announcer(1, true), long);
        assert_eq!((inside.path.len(), inside.local_pref), (9, Some(100)));
        assert!(!inside.path.contains(&100_002));
    }

    #[test]
    fn more_than_there_is_room_for_is_refused() {
        let mut shape = shape(Order::Sorted);
        shape.prefixes_each = PREFIXES_MAX;
        assert!(Workload::draw(&shape).is_err());
    }
}
