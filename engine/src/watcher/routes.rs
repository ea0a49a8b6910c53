//! Policies to the prefixes that this node announces, rule by rule.
//!
//! One judgement for the daemon and for `explain`: what becomes of a CIDR is decided in
//! [`judge`] and nowhere else. The guard sees each CIDR as written, before exceptions are taken
//! out, and each resulting prefix again.

use std::collections::BTreeMap;
use std::sync::Arc;

use codec::{Family, IpPrefix};

use super::fault::{Fault, Severity};
use super::guard::{self, Refusal};
use super::prefix_set::{PIECES_MAX, subtract};
use super::resource::{CidrEntry, PodCidrs, Resource};
use super::view::{Named, View};
use crate::config::{Origin, OriginAttributes, RouteSource};
use crate::policy::Sources;

/// Warnings about one policy; a group of a hundred thousand refused CIDRs is one mistake.
const WARNINGS_MAX: usize = 20;

/// What becomes of one CIDR as written.
#[derive(Debug, PartialEq)]
pub(crate) enum Judgement {
    /// Nothing of it is announced.
    Refused(Refusal),
    /// It reaches into a pod network: it is not announced itself, these own pod CIDRs are.
    PodNetwork {
        network: IpPrefix,
        announced: Vec<IpPrefix>,
        /// The own pod CIDRs that are not, and why.
        left: Vec<(IpPrefix, PodCidrLeft)>,
    },
    /// The exceptions leave too many pieces.
    TooManyPieces,
    /// Each piece with what the guard says to it; without exceptions the CIDR itself.
    Pieces(Vec<(IpPrefix, Result<(), Refusal>)>),
}

/// Why an own pod CIDR is not announced for a CIDR that reaches into a pod network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum PodCidrLeft {
    /// An overlap is no cover.
    NotContained,
    Except(IpPrefix),
    Refused(Refusal),
    SwitchedOff,
}

/// Judges one CIDR of one entry.
pub(crate) fn judge(view: &View<'_>, cidr: IpPrefix, except: &[IpPrefix]) -> Judgement {
    if let Err(refusal) = view.guard.judge(cidr) {
        return Judgement::Refused(refusal);
    }
    if let Some(network) = view.pod_network_of(cidr) {
        let mut announced = Vec::new();
        let mut left = Vec::new();
        for pods in &view.pod_cidrs {
            match judge_pod_cidr(view, *pods, cidr, except) {
                Ok(()) => announced.push(*pods),
                Err(why) => left.push((*pods, why)),
            }
        }
        return Judgement::PodNetwork {
            network,
            announced,
            left,
        };
    }
    if except.is_empty() {
        return Judgement::Pieces(vec![(cidr, Ok(()))]);
    }
    match subtract(cidr, except) {
        Ok(pieces) => {
            let judged = |piece| (piece, view.guard.judge(piece));
            Judgement::Pieces(pieces.into_iter().map(judged).collect())
        }
        Err(_) => Judgement::TooManyPieces,
    }
}

fn judge_pod_cidr(
    view: &View<'_>,
    pods: IpPrefix,
    cidr: IpPrefix,
    except: &[IpPrefix],
) -> Result<(), PodCidrLeft> {
    if !cidr.contains(pods) {
        return Err(PodCidrLeft::NotContained);
    }
    let overlaps = |e: &&IpPrefix| e.contains(pods) || pods.contains(**e);
    if let Some(except) = except.iter().find(overlaps) {
        return Err(PodCidrLeft::Except(*except));
    }
    if view.peering.advertise.pod_cidrs == PodCidrs::Off {
        return Err(PodCidrLeft::SwitchedOff);
    }
    view.guard.judge(pods).map_err(PodCidrLeft::Refused)
}

/// What the resources ask for, before `guard.maxPrefixes`.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    /// With the index of the source; sorted, and each pair once.
    pub(crate) prefixes: Vec<(IpPrefix, u32)>,
    pub(crate) sources: Vec<RouteSource>,
    pub(crate) warnings: Vec<Fault>,
}

/// Everything that this node wants to announce.
pub(crate) fn wanted(view: &View<'_>) -> Wanted {
    let mut wanted = Wanted::default();
    for (policy, body) in view.policies() {
        if view.policy_is_out(policy).is_some() {
            continue;
        }
        let mut warnings = Warnings::new(policy);
        for rule in body.rules.iter().filter(|rule| view.rule_is_here(rule)) {
            for entry in &rule.entries {
                want_entry(view, policy, entry, &mut wanted, &mut warnings);
            }
        }
        warnings.move_into(&mut wanted.warnings);
    }
    if view.peering.advertise.pod_cidrs == PodCidrs::All {
        want_all_pod_cidrs(view, &mut wanted);
    }
    wanted.prefixes.sort_unstable();
    wanted.prefixes.dedup();
    wanted
}

fn want_entry<'a>(
    view: &View<'a>,
    policy: &'a Resource,
    entry: &'a CidrEntry,
    wanted: &mut Wanted,
    warnings: &mut Warnings<'_>,
) {
    let named = match view.named(policy, entry.line, &entry.target) {
        Ok(named) => named,
        Err(group) => {
            let message = format!("CiliumCIDRGroup {group} is not there: nothing is announced");
            return warnings.add(&policy.file, entry.line, &entry.rule, message);
        }
    };
    let index = u32::try_from(wanted.sources.len()).unwrap_or(u32::MAX);
    for named in named {
        match judge(view, named.prefix, &entry.except) {
            Judgement::Pieces(pieces) => {
                for (piece, verdict) in pieces {
                    match verdict {
                        Ok(()) => wanted.prefixes.push((piece, index)),
                        Err(refusal) => warnings.refused(&named, entry, piece, refusal),
                    }
                }
            }
            Judgement::PodNetwork { announced, .. } => {
                wanted
                    .prefixes
                    .extend(announced.into_iter().map(|pods| (pods, index)));
            }
            Judgement::Refused(refusal) => warnings.refused(&named, entry, named.prefix, refusal),
            Judgement::TooManyPieces => {
                let message = format!(
                    "{} without its exceptions is more than {PIECES_MAX} prefixes: \
                     nothing of it is announced",
                    named.prefix
                );
                warnings.add(named.file, named.line, &entry.rule, message);
            }
        }
    }
    wanted.sources.push(source(policy, Arc::clone(&entry.rule)));
}

fn want_all_pod_cidrs(view: &View<'_>, wanted: &mut Wanted) {
    let Some(from) = view.pod_cidrs_from else {
        return;
    };
    let index = u32::try_from(wanted.sources.len()).unwrap_or(u32::MAX);
    let mut warnings = Warnings::new(from);
    for pods in &view.pod_cidrs {
        match view.guard.judge(*pods) {
            Ok(()) => wanted.prefixes.push((*pods, index)),
            Err(refusal) => {
                let message = format!("pod CIDR {pods} is not announced: {refusal}");
                warnings.add(&from.file, from.line, POD_CIDRS_RULE, message);
            }
        }
    }
    warnings.move_into(&mut wanted.warnings);
    wanted.sources.push(source(from, POD_CIDRS_RULE.into()));
}

/// The rule of a pod CIDR that is announced whatever the policies say.
pub(crate) const POD_CIDRS_RULE: &str = "pod CIDRs (advertise.podCIDRs: All)";

pub(crate) fn source(resource: &Resource, rule: Arc<str>) -> RouteSource {
    RouteSource {
        kind: resource.key.kind.name().into(),
        namespace: Arc::clone(&resource.key.namespace),
        name: Arc::clone(&resource.key.name),
        rule,
    }
}

/// The routes, under `guard.maxPrefixes`: what stands and is still wanted stays, then new ones
/// come in order while there is room.
pub(crate) fn origins(
    view: &View<'_>,
    wanted: &Wanted,
    standing: &BTreeMap<IpPrefix, Origin>,
    attributes: &Arc<OriginAttributes>,
    warnings: &mut Vec<Fault>,
) -> BTreeMap<IpPrefix, Origin> {
    let mut room = [0; 2];
    for family in Family::ALL {
        room[family.index()] = new_ones(view, wanted, standing, family, warnings);
    }
    let mut list: Vec<(IpPrefix, Origin)> = Vec::with_capacity(wanted.prefixes.len());
    for same in wanted.prefixes.chunk_by(|a, b| a.0 == b.0) {
        let Some((prefix, _)) = same.first() else {
            continue;
        };
        let room = &mut room[prefix.family().index()];
        // With room for everything, which is almost always, nobody asks what stands.
        if *room != usize::MAX && !standing.contains_key(prefix) {
            if *room == 0 {
                continue;
            }
            *room -= 1;
        }
        let sources = same
            .iter()
            .filter_map(|(_, index)| wanted.sources.get(*index as usize));
        let mut sources: Vec<RouteSource> = sources.cloned().collect();
        sources.sort_unstable();
        let kinds = match view.pod_cidrs.contains(prefix) {
            true => Sources::POD_CIDR,
            false => Sources::NETWORK_POLICY,
        };
        let origin = Origin {
            attributes: Arc::clone(attributes),
            sources,
            kinds,
        };
        list.push((*prefix, origin));
    }
    list.into_iter().collect()
}

/// How many routes may be announced that do not stand yet.
fn new_ones(
    view: &View<'_>,
    wanted: &Wanted,
    standing: &BTreeMap<IpPrefix, Origin>,
    family: Family,
    warnings: &mut Vec<Fault>,
) -> usize {
    let max = guard::limit(&view.peering.guard, family);
    let all = wanted.prefixes.chunk_by(|a, b| a.0 == b.0);
    let all = all
        .filter_map(|same| same.first())
        .map(|(prefix, _)| prefix);
    let all = || all.clone().filter(|prefix| prefix.family() == family);
    let count = all().count();
    if count <= max {
        return usize::MAX;
    }
    let staying = all().filter(|prefix| standing.contains_key(prefix)).count();
    let room = max.saturating_sub(staying);
    let held_back = (count - staying).saturating_sub(room);
    if held_back > 0 {
        warnings.push(Fault {
            file: Arc::clone(&view.config.file),
            line: view.config.line,
            severity: Severity::Warning,
            path: view.settings_path("guard.maxPrefixes"),
            message: format!(
                "{count} {family} prefixes are asked for and {max} allowed: \
                 held back: {held_back}; what stands stays"
            ),
        });
    }
    room
}

/// The warnings about one resource.
struct Warnings<'a> {
    about: &'a Resource,
    list: Vec<Fault>,
    dropped: usize,
}

impl<'a> Warnings<'a> {
    fn new(about: &'a Resource) -> Warnings<'a> {
        Warnings {
            about,
            list: Vec::new(),
            dropped: 0,
        }
    }

    fn refused(&mut self, named: &Named<'_>, entry: &CidrEntry, prefix: IpPrefix, why: Refusal) {
        // No text is made for what is not kept.
        if self.list.len() >= WARNINGS_MAX {
            self.dropped += 1;
            return;
        }
        let message = if prefix == named.prefix {
            format!("{prefix} is not announced: {why}")
        } else {
            format!(
                "{prefix}, left of {}, is not announced: {why}",
                named.prefix
            )
        };
        self.add(named.file, named.line, &entry.rule, message);
    }

    fn add(&mut self, file: &Arc<str>, line: u32, rule: &str, message: String) {
        if self.list.len() >= WARNINGS_MAX {
            self.dropped += 1;
            return;
        }
        self.list.push(Fault {
            file: Arc::clone(file),
            line,
            severity: Severity::Warning,
            path: format!("{} {rule}", self.about.key),
            message,
        });
    }

    fn move_into(mut self, all: &mut Vec<Fault>) {
        if self.dropped > 0 {
            let message = format!("and {} more like these", self.dropped);
            self.list.push(Fault {
                file: Arc::clone(&self.about.file),
                line: self.about.line,
                severity: Severity::Warning,
                path: self.about.key.to_string(),
                message,
            });
        }
        all.append(&mut self.list);
    }
}
