//! Why a prefix is announced as own, or not: every rule that has to do with it and what the guard
//! said. The judgement is the one that the daemon acts on.

use codec::IpPrefix;

use super::evaluate::Options;
use super::host::HostNetwork;
use super::resource::{CidrEntry, PodCidrs, Resource};
use super::routes::{Judgement, POD_CIDRS_RULE, PodCidrLeft, judge, source};
use super::store::InForce;
use super::view::{Named, View};
use crate::config::{DesiredState, RouteSource};

/// Rules told of one prefix; a question about `0.0.0.0/0` is not answered with everything.
const CLAIMS_MAX: usize = 200;

/// What the resources have to do with one prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explanation {
    /// Whether exactly this prefix is an own route.
    pub originated: bool,
    /// The rules that have to do with it, those that make it a route first.
    pub claims: Vec<Claim>,
    /// Own routes that cover it or lie within it, at most a few.
    pub near: Vec<IpPrefix>,
    /// What holds whatever the rules say, for example that there are no settings.
    pub notes: Vec<String>,
}

/// What one rule has to do with a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The rule.
    pub source: RouteSource,
    /// `file:line` of the CIDR.
    pub location: String,
    /// Whether the rule makes the prefix an own route.
    pub originates: bool,
    /// Why, or why not, in one sentence.
    pub reason: String,
}

/// Explains one prefix.
pub fn explain(
    prefix: IpPrefix,
    in_force: &InForce,
    network: &HostNetwork,
    options: &Options,
    state: &DesiredState,
) -> Explanation {
    let mut explanation = Explanation::default();
    let Some(view) = View::new(in_force, network, &options.node_name) else {
        let note = match &in_force.config {
            None => {
                "there is no CiliumConfig named cilium-config, and no ConfigMap of that name with \
                 bgpPeering: nothing is announced"
            }
            Some(_) => {
                "this node's element of bgpPeering.nodes is not valid and never was: nothing new is \
                 announced"
            }
        };
        explanation.notes.push(note.into());
        return explanation;
    };
    let origins = state
        .instances
        .values()
        .flat_map(|instance| instance.origins.keys());
    for origin in origins {
        if *origin == prefix {
            explanation.originated = true;
        } else if overlap(*origin, prefix) && explanation.near.len() < 10 {
            explanation.near.push(*origin);
        }
    }
    for (policy, body) in view.policies() {
        for rule in &body.rules {
            let out = view.policy_is_out(policy).or_else(|| {
                let here = view.rule_is_here(rule);
                (!here).then_some("the rule's nodeSelector does not select this node")
            });
            for entry in &rule.entries {
                claims_of(&view, prefix, policy, entry, out, &mut explanation.claims);
            }
        }
    }
    claims_of_node(&view, prefix, &mut explanation.claims);
    explanation.claims.sort_by_key(|claim| !claim.originates);
    notes(&view, prefix, &mut explanation);
    explanation
}

fn overlap(a: IpPrefix, b: IpPrefix) -> bool {
    a.contains(b) || b.contains(a)
}

fn claims_of<'a>(
    view: &View<'a>,
    prefix: IpPrefix,
    policy: &'a Resource,
    entry: &'a CidrEntry,
    out: Option<&str>,
    claims: &mut Vec<Claim>,
) {
    let Ok(named) = view.named(policy, entry.line, &entry.target) else {
        return;
    };
    for named in named.filter(|named| overlap(named.prefix, prefix)) {
        if claims.len() >= CLAIMS_MAX {
            return;
        }
        let (originates, reason) = match out {
            Some(out) => (false, format!("{} does not count: {out}", named.prefix)),
            None => verdict(view, prefix, &named, &entry.except),
        };
        let reason = match named.group {
            Some(group) => format!("{} of {}: {reason}", named.prefix, group.key),
            None => reason,
        };
        claims.push(Claim {
            source: source(policy, entry.rule.clone()),
            location: format!("{}:{}", named.file, named.line),
            originates,
            reason,
        });
    }
}

/// Whether a CIDR makes `prefix` a route, and why.
fn verdict(
    view: &View<'_>,
    prefix: IpPrefix,
    named: &Named<'_>,
    except: &[IpPrefix],
) -> (bool, String) {
    let cidr = named.prefix;
    match judge(view, cidr, except) {
        Judgement::Refused(refusal) => {
            let pieces = if except.is_empty() {
                ""
            } else {
                ", and a refused CIDR contributes nothing, not even what its except leaves"
            };
            (
                false,
                format!("the guard refuses {cidr} as written: {refusal}{pieces}"),
            )
        }
        Judgement::TooManyPieces => (
            false,
            format!("{cidr} without its exceptions is too many prefixes"),
        ),
        Judgement::Pieces(pieces) => of_pieces(prefix, cidr, except, &pieces),
        Judgement::PodNetwork {
            network,
            announced,
            left,
        } => of_pod_network(prefix, cidr, network, &announced, &left),
    }
}

fn of_pieces(
    prefix: IpPrefix,
    cidr: IpPrefix,
    except: &[IpPrefix],
    pieces: &[(IpPrefix, Result<(), super::guard::Refusal>)],
) -> (bool, String) {
    let exact = pieces.iter().find(|(piece, _)| *piece == prefix);
    match exact {
        Some((_, Ok(()))) if prefix == cidr => return (true, format!("{cidr} is asked for")),
        Some((_, Ok(()))) => {
            return (true, format!("it is what the exceptions leave of {cidr}"));
        }
        Some((_, Err(refusal))) => return (false, format!("the guard refuses it: {refusal}")),
        None => {}
    }
    if let Some(except) = except.iter().find(|except| except.contains(prefix)) {
        return (false, format!("{cidr} is asked for, except {except}"));
    }
    let near = pieces
        .iter()
        .filter(|(piece, verdict)| verdict.is_ok() && overlap(*piece, prefix));
    let near: Vec<String> = near.take(4).map(|(piece, _)| piece.to_string()).collect();
    if near.is_empty() {
        (false, format!("of {cidr} nothing near it is announced"))
    } else {
        let near = near.join(", ");
        (
            false,
            format!("{near} is announced for it, not this prefix itself"),
        )
    }
}

fn of_pod_network(
    prefix: IpPrefix,
    cidr: IpPrefix,
    network: IpPrefix,
    announced: &[IpPrefix],
    left: &[(IpPrefix, PodCidrLeft)],
) -> (bool, String) {
    if announced.contains(&prefix) {
        return (
            true,
            format!("{cidr} covers it, and it is this node's own pod CIDR"),
        );
    }
    let itself =
        format!("{cidr} reaches into the pod network {network} and is not announced itself");
    let mut parts = vec![itself];
    let list: Vec<String> = announced.iter().map(ToString::to_string).collect();
    if !list.is_empty() {
        parts.push(format!("it covers this node's own {}", list.join(", ")));
    }
    for (pods, why) in left {
        parts.push(match why {
            PodCidrLeft::NotContained => {
                format!("this node's own {pods} is not contained in it, an overlap is no cover")
            }
            PodCidrLeft::Except(except) => {
                format!("this node's own {pods} overlaps its exception {except}")
            }
            PodCidrLeft::Refused(refusal) => {
                format!("the guard refuses this node's own {pods}: {refusal}")
            }
            PodCidrLeft::SwitchedOff => {
                format!("this node's own {pods} is not announced: advertise.podCIDRs is Off")
            }
        });
    }
    (false, parts.join("; "))
}

fn claims_of_node(view: &View<'_>, prefix: IpPrefix, claims: &mut Vec<Claim>) {
    let Some(from) = view.pod_cidrs_from else {
        return;
    };
    if !view.pod_cidrs.contains(&prefix) {
        return;
    }
    let (originates, reason) = match (view.peering.advertise.pod_cidrs, view.guard.judge(prefix)) {
        (PodCidrs::All, Ok(())) => (true, "it is this node's own pod CIDR".into()),
        (_, Err(refusal)) => (false, format!("the guard refuses it: {refusal}")),
        (PodCidrs::CoveredByPolicy, Ok(())) => (
            false,
            "it is this node's own pod CIDR; a policy CIDR that contains it switches it on".into(),
        ),
        (PodCidrs::Off, Ok(())) => (false, "advertise.podCIDRs is Off".into()),
    };
    let rule = match view.peering.advertise.pod_cidrs {
        PodCidrs::All => POD_CIDRS_RULE,
        _ => "pod CIDRs",
    };
    claims.push(Claim {
        source: source(from, rule.into()),
        location: format!("{}:{}", from.file, from.line),
        originates,
        reason,
    });
}

fn notes(view: &View<'_>, prefix: IpPrefix, explanation: &mut Explanation) {
    let notes = &mut explanation.notes;
    if !view.peering.enabled {
        notes.push("bgpPeering.enabled is false: every session is closed".into());
    }
    let claimed = explanation.claims.iter().any(|claim| claim.originates);
    if claimed && !explanation.originated {
        notes.push("guard.maxPrefixes holds it back".into());
    }
    if explanation.claims.is_empty() {
        notes.push("no rule of any resource has to do with it".into());
        if let Err(refusal) = view.guard.judge(prefix) {
            notes.push(format!("the guard would refuse it: {refusal}"));
        }
    } else if explanation.claims.len() >= CLAIMS_MAX {
        notes.push(format!("only the first {CLAIMS_MAX} rules are told"));
    }
}
