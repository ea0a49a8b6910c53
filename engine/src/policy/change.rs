//! What `set` does to attributes: one canonical set in, another one out.

use std::net::IpAddr;
use std::ops::Range;

use codec::{AttributeSet, AttributeWriter, Family, NextHop, code};
use smallvec::SmallVec;

use super::communities::Pattern;
use super::compile::Applied;
use super::spec::{CommunitySet, Set, SetMed, SetNextHop};
use super::tree::NextHopChoice;

/// What becomes of attributes, by code, each once.
#[derive(Default)]
struct Changes {
    /// Where it stands in `octets`, header and all; nothing: it goes.
    of: SmallVec<[(u8, Range<usize>); 4]>,
    octets: Vec<u8>,
}

impl Changes {
    /// What does not fit an attribute leaves the one that there was.
    fn write(&mut self, code: u8, write: impl FnOnce(&mut AttributeWriter<'_>)) {
        let begin = self.octets.len();
        let mut writer = AttributeWriter::new(&mut self.octets);
        write(&mut writer);
        if !writer.overflowed() {
            self.of.push((code, begin..self.octets.len()));
        }
    }

    fn remove(&mut self, code: u8) {
        self.of.push((code, 0..0));
    }
}

/// What a statement changes beside the octets of the set.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Effects {
    pub(super) next_hop: Option<NextHopChoice>,
    pub(super) sets_med: Option<bool>,
}

/// Carries `set` out. The octets are none where they stay as they are.
pub(super) fn change(
    set: &Set,
    family: Family,
    applied: &Applied,
    canonical: &[u8],
) -> (Option<Vec<u8>>, Effects) {
    let before = AttributeSet::new(canonical);
    let mut changes = Changes::default();
    let mut effects = Effects::default();
    if let Some(preference) = set.local_preference {
        changes.write(code::LOCAL_PREF, |writer| {
            writer.local_pref(preference);
        });
    }
    if let Some(med) = set.med {
        set_med(med, &before, &mut changes);
        effects.sets_med = Some(med != SetMed::Remove);
    }
    if let Some((asn, count)) = set.prepend {
        let asns = vec![asn; usize::from(count)];
        changes.write(code::AS_PATH, |writer| {
            writer.as_path(&before.as_path(), &asns, true);
        });
    }
    if let Some(next_hop) = set.next_hop {
        effects.next_hop = set_next_hop(next_hop, family, applied, &mut changes);
    }
    if let Some(values) = edit(&set.standard, before.communities()) {
        changes.write(code::COMMUNITIES, |w| w.communities(&values));
    }
    if let Some(values) = edit(&set.extended, before.extended_communities()) {
        changes.write(code::EXTENDED_COMMUNITIES, |writer| {
            writer.extended_communities(&values);
        });
    }
    if let Some(values) = edit(&set.large, before.large_communities()) {
        changes.write(code::LARGE_COMMUNITIES, |writer| {
            writer.large_communities(&values);
        });
    }
    (merged(&before, &mut changes), effects)
}

/// The set with another LOCAL_PREF.
pub fn with_local_preference(canonical: &[u8], preference: u32) -> Vec<u8> {
    let mut changes = Changes::default();
    changes.write(code::LOCAL_PREF, |writer| {
        writer.local_pref(preference);
    });
    let changed = merged(&AttributeSet::new(canonical), &mut changes);
    changed.unwrap_or_else(|| canonical.to_vec())
}

/// The set as it is after the changes, in the order of codes; none: it is the same.
fn merged(before: &AttributeSet<'_>, changes: &mut Changes) -> Option<Vec<u8>> {
    changes.of.sort_unstable_by_key(|(code, _)| *code);
    let old = before.octets();
    let mut out = Vec::with_capacity(old.len() + changes.octets.len());
    // What stays is copied in one piece up to what changes.
    let (mut copied, mut at) = (0, 0);
    let mut attributes = before.iter().peekable();
    for (code, new) in &changes.of {
        while let Some(earlier) = attributes.next_if(|attribute| attribute.code < *code) {
            at += earlier.wire_len();
        }
        out.extend_from_slice(&old[copied..at]);
        out.extend_from_slice(&changes.octets[new.clone()]);
        if let Some(replaced) = attributes.next_if(|attribute| attribute.code == *code) {
            at += replaced.wire_len();
        }
        copied = at;
    }
    out.extend_from_slice(&old[copied..]);
    (out != old).then_some(out)
}

fn set_med(med: SetMed, before: &AttributeSet<'_>, changes: &mut Changes) {
    let value = match med {
        SetMed::Value(value) => value,
        SetMed::Add(more) => {
            let sum = i64::from(before.med().unwrap_or(0)).saturating_add(more);
            u32::try_from(sum.max(0)).unwrap_or(u32::MAX)
        }
        SetMed::Remove => {
            changes.remove(code::MED);
            return;
        }
    };
    changes.write(code::MED, |writer| writer.med(value));
}

/// What a `nextHop` comes to for a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NextHopOf {
    /// The last step of export is told what it cannot read from the set.
    Choice(NextHopChoice),
    Address(NextHop),
}

/// None: there is no such next hop for the family, and the route keeps its own.
fn next_hop_of(next_hop: SetNextHop, family: Family, applied: &Applied) -> Option<NextHopOf> {
    let address = match next_hop {
        SetNextHop::Unchanged => return Some(NextHopOf::Choice(NextHopChoice::Unchanged)),
        SetNextHop::Own => match &applied.own {
            None => return Some(NextHopOf::Choice(NextHopChoice::Own)),
            Some(own) => own[family.index()]?,
        },
        // Nobody is told itself as next hop (RFC 4271 §5.1.3): on export it is our end of the session.
        SetNextHop::PeerAddress => match applied.peer {
            None => return Some(NextHopOf::Choice(NextHopChoice::Own)),
            Some(peer) => of_family(peer, family)?,
        },
        SetNextHop::Address(address) => of_family(address, family)?,
    };
    Some(NextHopOf::Address(address))
}

/// Whether a route keeps the next hop that it has, since the one to set is not of its family.
pub(super) fn passes_over(next_hop: SetNextHop, family: Family, applied: &Applied) -> bool {
    next_hop_of(next_hop, family, applied).is_none()
}

/// Whether a statement is to make us the next hop of a received route, and we are none for its family
/// on this session: it would go on with the next hop that it came with, to whoever that is.
pub(super) fn lacks_ourselves(set: &Set, family: Family, applied: &Applied) -> bool {
    let own = applied.own.as_ref();
    set.next_hop == Some(SetNextHop::Own) && own.is_some_and(|own| own[family.index()].is_none())
}

fn set_next_hop(
    next_hop: SetNextHop,
    family: Family,
    applied: &Applied,
    changes: &mut Changes,
) -> Option<NextHopChoice> {
    let address = match next_hop_of(next_hop, family, applied)? {
        NextHopOf::Choice(choice) => return Some(choice),
        NextHopOf::Address(address) => address,
    };
    match (family, address) {
        (Family::Ipv4Unicast, NextHop::V4(address)) => {
            changes.write(code::NEXT_HOP, |writer| writer.next_hop(address));
            changes.remove(code::MP_REACH_NLRI);
        }
        (family, address) => {
            changes.write(code::MP_REACH_NLRI, |writer| {
                writer.mp_next_hop(family, &address);
            });
            changes.remove(code::NEXT_HOP);
        }
    }
    Some(NextHopChoice::Unchanged)
}

/// A route of the other family keeps its next hop.
fn of_family(address: IpAddr, family: Family) -> Option<NextHop> {
    match (family, address) {
        (Family::Ipv4Unicast, IpAddr::V4(address)) => Some(NextHop::V4(address)),
        (Family::Ipv6Unicast, IpAddr::V6(address)) => Some(NextHop::V6(address)),
        _ => None,
    }
}

/// The communities after the change; none: nothing is asked of them.
fn edit<P: Pattern>(
    set: &CommunitySet<P::Value, P>,
    before: impl Iterator<Item = P::Value>,
) -> Option<SmallVec<[P::Value; 16]>> {
    if set.is_empty() {
        return None;
    }
    let mut values: SmallVec<[P::Value; 16]> = match &set.replace {
        Some(values) => values.iter().copied().collect(),
        None => before.collect(),
    };
    values.retain(|value| !set.remove.iter().any(|pattern| pattern.matches(*value)));
    for value in &set.add {
        if !values.contains(value) {
            values.push(*value);
        }
    }
    Some(values)
}
