//! What `set` does to attributes: one canonical set in, another one out.

use std::collections::BTreeMap;
use std::net::IpAddr;

use codec::{AttributeSet, AttributeWriter, Family, NextHop, code};

use super::communities::Pattern;
use super::compile::Applied;
use super::spec::{CommunitySet, Set, SetMed, SetNextHop};
use super::tree::NextHopChoice;

/// What becomes of the attribute of each code: its octets, header and all; none: it goes.
type Changes = BTreeMap<u8, Option<Vec<u8>>>;

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
    let mut changes = Changes::new();
    let mut effects = Effects::default();
    if let Some(preference) = set.local_preference {
        write(&mut changes, code::LOCAL_PREF, |writer| {
            writer.local_pref(preference);
        });
    }
    if let Some(med) = set.med {
        set_med(med, &before, &mut changes);
        effects.sets_med = Some(med != SetMed::Remove);
    }
    if let Some((asn, count)) = set.prepend {
        let asns = vec![asn; usize::from(count)];
        write(&mut changes, code::AS_PATH, |writer| {
            writer.as_path(&before.as_path(), &asns, true);
        });
    }
    if let Some(next_hop) = set.next_hop {
        effects.next_hop = set_next_hop(next_hop, family, applied, &mut changes);
    }
    if let Some(values) = edit(&set.standard, before.communities()) {
        write(&mut changes, code::COMMUNITIES, |w| w.communities(&values));
    }
    if let Some(values) = edit(&set.extended, before.extended_communities()) {
        write(&mut changes, code::EXTENDED_COMMUNITIES, |writer| {
            writer.extended_communities(&values);
        });
    }
    if let Some(values) = edit(&set.large, before.large_communities()) {
        write(&mut changes, code::LARGE_COMMUNITIES, |writer| {
            writer.large_communities(&values);
        });
    }
    (merged(&before, changes), effects)
}

/// The set with another LOCAL_PREF.
pub fn with_local_preference(canonical: &[u8], preference: u32) -> Vec<u8> {
    let mut changes = Changes::new();
    write(&mut changes, code::LOCAL_PREF, |writer| {
        writer.local_pref(preference);
    });
    let changed = merged(&AttributeSet::new(canonical), changes);
    changed.unwrap_or_else(|| canonical.to_vec())
}

/// The set as it is after the changes, in the order of codes; none: it is the same.
fn merged(before: &AttributeSet<'_>, changes: Changes) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(before.octets().len() + 64);
    let mut changes = changes.into_iter().peekable();
    for attribute in before.iter() {
        while let Some((_, new)) = changes.next_if(|(code, _)| *code < attribute.code) {
            out.extend(new.unwrap_or_default());
        }
        match changes.next_if(|(code, _)| *code == attribute.code) {
            Some((_, new)) => out.extend(new.unwrap_or_default()),
            None => {
                AttributeWriter::new(&mut out).raw(attribute.flags, attribute.code, attribute.value)
            }
        }
    }
    for (_, new) in changes {
        out.extend(new.unwrap_or_default());
    }
    (out != before.octets()).then_some(out)
}

/// What does not fit an attribute leaves the one that there was.
fn write(changes: &mut Changes, code: u8, write: impl FnOnce(&mut AttributeWriter<'_>)) {
    let mut octets = Vec::new();
    let mut writer = AttributeWriter::new(&mut octets);
    write(&mut writer);
    if !writer.overflowed() {
        changes.insert(code, (!octets.is_empty()).then_some(octets));
    }
}

fn set_med(med: SetMed, before: &AttributeSet<'_>, changes: &mut Changes) {
    let value = match med {
        SetMed::Value(value) => value,
        SetMed::Add(more) => {
            let sum = i64::from(before.med().unwrap_or(0)).saturating_add(more);
            u32::try_from(sum.max(0)).unwrap_or(u32::MAX)
        }
        SetMed::Remove => {
            changes.insert(code::MED, None);
            return;
        }
    };
    write(changes, code::MED, |writer| writer.med(value));
}

/// The last step of export is told what it cannot read from the set.
fn set_next_hop(
    next_hop: SetNextHop,
    family: Family,
    applied: &Applied,
    changes: &mut Changes,
) -> Option<NextHopChoice> {
    let address = match next_hop {
        SetNextHop::Unchanged => return Some(NextHopChoice::Unchanged),
        SetNextHop::Own => match &applied.own {
            None => return Some(NextHopChoice::Own),
            Some(own) => own[family.index()]?,
        },
        SetNextHop::PeerAddress => of_family(applied.peer?, family)?,
        SetNextHop::Address(address) => of_family(address, family)?,
    };
    match (family, address) {
        (Family::Ipv4Unicast, NextHop::V4(address)) => {
            write(changes, code::NEXT_HOP, |writer| writer.next_hop(address));
            changes.insert(code::MP_REACH_NLRI, None);
        }
        (family, address) => {
            write(changes, code::MP_REACH_NLRI, |writer| {
                writer.mp_next_hop(family, &address);
            });
            changes.insert(code::NEXT_HOP, None);
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
) -> Option<Vec<P::Value>> {
    if set.is_empty() {
        return None;
    }
    let mut values = match &set.replace {
        Some(values) => values.clone(),
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
