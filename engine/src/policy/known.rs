//! What is known of the attributes of the routes of a statement, since statements before it set them.
//!
//! But for one: a list of communities or an AS_PATH that fills its attribute (65,535 octets) is not
//! added to, and here it is taken that it is.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use codec::{Family, FamilySet};

use super::communities::Pattern;
use super::compile::within;
use super::coverage::excludes;
use super::spec::{CommunityMatch, CommunitySet, Match, Set, SetMed, SetNextHop};

/// Communities that are kept in mind of one kind; of more nothing is known.
const KEPT_MAX: usize = 256;

/// A key of `match`, and whether a statement sets what it asks for.
pub(super) type Without = (&'static str, fn(&Set) -> bool);

/// What every route has of each attribute.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    med: Option<RangeInclusive<u32>>,
    local_preference: Option<u32>,
    /// The least length of AS_PATH.
    path_length: u32,
    next_hop: [Option<IpAddr>; Family::ALL.len()],
    standard: Communities<super::Standard>,
    large: Communities<super::Large>,
    extended: Communities<super::Extended>,
}

/// What every route has and lacks of one kind.
#[derive(Clone, Debug)]
struct Communities<P: Pattern> {
    has: Vec<P::Value>,
    lacks: Vec<P>,
    /// Others than these it has not.
    only: Option<Vec<P::Value>>,
}

impl<P: Pattern> Default for Communities<P> {
    fn default() -> Communities<P> {
        Communities {
            has: Vec::new(),
            lacks: Vec::new(),
            only: None,
        }
    }
}

impl Known {
    /// Behind a statement: all routes met it, or perhaps some.
    pub(super) fn behind(&mut self, set: &Set, all: bool) {
        let med = set.med.and_then(|set| med_behind(&self.med, set));
        match (set.med, all) {
            (None, _) => {}
            (Some(_), true) => self.med = med,
            (Some(_), false) => {
                let both = self.med.clone().zip(med);
                self.med = both.map(|(a, b)| *a.start().min(b.start())..=*a.end().max(b.end()));
            }
        }
        if let Some(preference) = set.local_preference {
            let same = self.local_preference == Some(preference);
            self.local_preference = (all || same).then_some(preference);
        }
        if let Some((_, count)) = set.prepend
            && all
        {
            self.path_length = self.path_length.saturating_add(count.into());
        }
        match set.next_hop {
            // The attribute stays.
            None | Some(SetNextHop::Unchanged) => {}
            Some(SetNextHop::Own | SetNextHop::PeerAddress) => self.next_hop = Default::default(),
            Some(SetNextHop::Address(address)) => {
                let family = match address {
                    IpAddr::V4(_) => Family::Ipv4Unicast,
                    IpAddr::V6(_) => Family::Ipv6Unicast,
                };
                let of_family = &mut self.next_hop[family.index()];
                let same = *of_family == Some(address);
                *of_family = (all || same).then_some(address);
            }
        }
        self.standard.behind(&set.standard, all);
        self.large.behind(&set.large, all);
        self.extended.behind(&set.extended, all);
    }

    /// Says it in a condition on routes of these families.
    ///
    /// # Errors
    /// No route is left: of what there is none, and what sets that.
    pub(super) fn narrow(&self, asked: &mut Match, families: FamilySet) -> Result<(), Without> {
        let other_med = self
            .med
            .as_ref()
            .is_some_and(|med| !meet(&mut asked.med, med));
        if other_med {
            return Err(("med", |set| set.med.is_some()));
        }
        let preference = self.local_preference.map(|known| known..=known);
        if preference.is_some_and(|known| !meet(&mut asked.local_preference, &known)) {
            return Err(("localPreference", |set| set.local_preference.is_some()));
        }
        let longer = self.path_length..=u32::MAX;
        if self.path_length > 0 && !meet(&mut asked.as_path_length, &longer) {
            return Err(("asPath.length", |set| set.prepend.is_some()));
        }
        let elsewhere = |family: Family| {
            let known = self.next_hop[family.index()];
            known.is_some_and(|address| !within(address, &asked.next_hops))
        };
        if !asked.next_hops.is_empty() && !families.is_empty() && families.iter().all(elsewhere) {
            return Err(("nextHops", |set| set.next_hop.is_some()));
        }
        if !self.standard.narrow(&mut asked.standard) {
            return Err(("communities.standard", |set| !set.standard.is_empty()));
        }
        if !self.large.narrow(&mut asked.large) {
            return Err(("communities.large", |set| !set.large.is_empty()));
        }
        if !self.extended.narrow(&mut asked.extended) {
            return Err(("communities.extended", |set| !set.extended.is_empty()));
        }
        Ok(())
    }
}

/// What a change makes of what is known.
fn med_behind(before: &Option<RangeInclusive<u32>>, set: SetMed) -> Option<RangeInclusive<u32>> {
    match set {
        SetMed::Value(value) => Some(value..=value),
        SetMed::Remove => Some(0..=0),
        SetMed::Add(more) => {
            let moved = |value: u32| {
                let sum = i64::from(value).saturating_add(more).max(0);
                u32::try_from(sum).unwrap_or(u32::MAX)
            };
            let before = before.clone().unwrap_or(0..=u32::MAX);
            Some(moved(*before.start())..=moved(*before.end()))
        }
    }
}

/// The range of both; false: there is none.
fn meet(asked: &mut Option<RangeInclusive<u32>>, known: &RangeInclusive<u32>) -> bool {
    let of = asked.clone().unwrap_or(0..=u32::MAX);
    let both = *of.start().max(known.start())..=*of.end().min(known.end());
    let some = !both.is_empty();
    *asked = Some(both);
    some
}

impl<P: Pattern + Clone + PartialEq> Communities<P> {
    fn behind(&mut self, set: &CommunitySet<P::Value, P>, all: bool) {
        if set.is_empty() {
            return;
        }
        let in_one =
            |values: &[P::Value], lacks: &P| values.iter().any(|value| lacks.matches(*value));
        if let Some(values) = &set.replace {
            self.has.retain(|value| values.contains(value));
            self.lacks.retain(|lacks| !in_one(values, lacks));
            if let Some(only) = &mut self.only {
                only.extend_from_slice(values);
            }
            if all {
                self.has.clone_from(values);
                self.only = Some(values.clone());
            }
        }
        let stays = |value: &P::Value| !set.remove.iter().any(|of| of.matches(*value));
        self.has.retain(stays);
        if all {
            self.lacks.extend(set.remove.iter().cloned());
            self.only.iter_mut().for_each(|only| only.retain(stays));
        }
        self.lacks.retain(|lacks| !in_one(&set.add, lacks));
        if let Some(only) = &mut self.only {
            only.extend_from_slice(&set.add);
        }
        if all {
            self.has.extend_from_slice(&set.add);
        }
        self.has.truncate(KEPT_MAX);
        self.lacks.truncate(KEPT_MAX);
        self.only.take_if(|only| only.len() > KEPT_MAX);
    }

    /// Says it in a condition; false: no route is left.
    fn narrow(&self, asked: &mut CommunityMatch<P>) -> bool {
        let there = |pattern: &P| {
            let only = self.only.as_ref();
            only.is_none_or(|only| only.iter().any(|value| pattern.matches(*value)))
        };
        let any_there = asked.any.is_empty() || asked.any.iter().any(there);
        if !any_there || !asked.all.iter().all(there) {
            return false;
        }
        asked.all.extend(self.has.iter().map(|value| P::of(*value)));
        asked.none.extend(self.lacks.iter().cloned());
        !excludes(&asked.none, asked)
    }
}
