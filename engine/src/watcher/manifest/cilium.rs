//! Cilium's own kinds, read as leniently as Cilium reads them.

use std::net::IpAddr;
use std::sync::Arc;

use codec::IpPrefix;

use super::fields::{Field, Fields, lenient_prefix};
use super::metadata::selector;
use crate::watcher::fault::Report;
use crate::watcher::resource::{CidrEntry, CidrGroup, CidrTarget, NodeBody, Policy, Rule};

/// Fields of a rule that Cilium knows and that say nothing about CIDRs in egress.
const RULE: &[&str] = &[
    "authentication",
    "description",
    "egressDeny",
    "enableDefaultDeny",
    "endpointSelector",
    "ingress",
    "ingressDeny",
    "labels",
    "log",
];
/// The same of an element of `egress`.
const EGRESS: &[&str] = &[
    "authentication",
    "icmps",
    "toEndpoints",
    "toEntities",
    "toFQDNs",
    "toGroups",
    "toNodes",
    "toPorts",
    "toRequires",
    "toServices",
];

/// Both kinds of policy: `spec`, `specs[]` or both.
pub(super) fn policy(document: &mut Fields<'_>, report: &mut Report) -> Policy {
    let mut rules = Vec::new();
    let faults_before = report.faults();
    let spec = document.get_written("spec", report);
    let specs = document.get_written("specs", report);
    if spec.is_none() && specs.is_none() && report.faults() == faults_before {
        let message = "is missing: spec, or a list of rules in specs";
        report.fault(document.line, &document.path_of("spec"), message);
    }
    rules.extend(spec.and_then(|field| rule(&field, report)));
    let specs = specs.and_then(|field| field.list(report));
    for element in specs.unwrap_or_default() {
        rules.extend(rule(&element, report));
    }
    Policy { rules }
}

fn rule(field: &Field<'_>, report: &mut Report) -> Option<Rule> {
    let mut fields = field.fields(report)?;
    let node_selector = fields.get_written("nodeSelector", report);
    let node_selector = node_selector.map(|field| selector(&field, false, report));
    let mut entries = Vec::new();
    let egress = fields.get_written("egress", report);
    let egress = egress.and_then(|field| field.list(report));
    for element in egress.unwrap_or_default() {
        egress_entries(&element, &mut entries, report);
    }
    fields.close_leniently(RULE, report);
    Some(Rule {
        node_selector,
        entries,
    })
}

fn egress_entries(element: &Field<'_>, entries: &mut Vec<CidrEntry>, report: &mut Report) {
    let Some(mut fields) = element.fields(report) else {
        return;
    };
    if let Some(field) = fields.get_written("toCIDR", report) {
        let nodes = field.elements(report).unwrap_or_default();
        for (index, node) in nodes.iter().enumerate() {
            let path = || format!("{}[{index}]", field.path);
            if let Some(prefix) = lenient_prefix(node, &path, report) {
                entries.push(CidrEntry {
                    rule: path().into(),
                    line: node.line,
                    target: CidrTarget::Cidr(prefix),
                    except: Vec::new(),
                });
            }
        }
    }
    if let Some(field) = fields.get_written("toCIDRSet", report) {
        let elements = field.list(report).unwrap_or_default();
        entries.extend(elements.iter().filter_map(|e| cidr_set(e, report)));
    }
    fields.close_leniently(EGRESS, report);
}

fn cidr_set(element: &Field<'_>, report: &mut Report) -> Option<CidrEntry> {
    let mut fields = element.fields(report)?;
    let cidr = fields.get("cidr");
    let group = fields.get("cidrGroupRef");
    let groups = fields.get("cidrGroupSelector");
    let except = fields.get_written("except", report);
    fields.close_leniently(&[], report);
    let target = match (cidr, group, groups) {
        (Some(field), None, None) => CidrTarget::Cidr(field.lenient_prefix(report)?),
        (None, Some(field), None) => CidrTarget::Group(field.name(report)?.into()),
        (None, None, Some(field)) => CidrTarget::Groups(selector(&field, false, report)),
        _ => {
            element.fault(
                report,
                "exactly one of cidr, cidrGroupRef and cidrGroupSelector is expected",
            );
            return None;
        }
    };
    let except = match except {
        Some(field) => exceptions(&field, &target, report),
        None => Vec::new(),
    };
    Some(CidrEntry {
        rule: element.path.as_str().into(),
        line: element.line,
        target,
        except,
    })
}

fn exceptions(field: &Field<'_>, target: &CidrTarget, report: &mut Report) -> Vec<IpPrefix> {
    let mut prefixes = Vec::new();
    for element in field.list(report).unwrap_or_default() {
        let Some(prefix) = element.lenient_prefix(report) else {
            continue;
        };
        if let CidrTarget::Cidr(cidr) = target {
            if prefix.contains(*cidr) {
                let message = format!("{prefix} covers {cidr} entirely: nothing of it is left");
                element.warn(report, message);
            } else if !cidr.contains(prefix) {
                let message = format!("{prefix} does not overlap {cidr}: it takes nothing out");
                element.warn(report, message);
            }
        }
        prefixes.push(prefix);
    }
    prefixes
}

/// `CiliumCIDRGroup`; its list may be empty and may be very long.
pub(super) fn cidr_group(document: &mut Fields<'_>, report: &mut Report) -> CidrGroup {
    let mut group = CidrGroup::default();
    let spec = document.require("spec", "with externalCIDRs", report);
    let Some(mut fields) = spec.and_then(|field| field.fields(report)) else {
        return group;
    };
    if let Some(field) = fields.get_written("externalCIDRs", report) {
        let nodes = field.elements(report).unwrap_or_default();
        group.cidrs.reserve_exact(nodes.len());
        for (index, node) in nodes.iter().enumerate() {
            let path = || format!("{}[{index}]", field.path);
            let prefix = lenient_prefix(node, &path, report);
            group.cidrs.extend(prefix.map(|prefix| (prefix, node.line)));
        }
    }
    fields.close_leniently(&[], report);
    group
}

/// `CiliumNode`: addresses, pod CIDRs, pools.
pub(super) fn cilium_node(document: &mut Fields<'_>, report: &mut Report) -> NodeBody {
    let mut node = NodeBody::default();
    let Some(mut spec) = document.get("spec").and_then(|field| field.fields(report)) else {
        return node;
    };
    if let Some(field) = spec.get("addresses") {
        for element in field.list(report).unwrap_or_default() {
            address(&element, "ip", &mut node, report);
        }
    }
    let ipam = spec.get("ipam").and_then(|field| field.fields(report));
    spec.close_leniently(&[], report);
    if let Some(mut ipam) = ipam {
        pod_cidrs(ipam.get("podCIDRs"), &mut node.pod_cidrs, report);
        let pools = ipam.get("pools").and_then(|field| field.fields(report));
        let allocated = pools.and_then(|mut pools| pools.get("allocated"));
        let allocated = allocated.and_then(|field| field.list(report));
        for element in allocated.unwrap_or_default() {
            if let Some(mut pool) = element.fields(report) {
                pod_cidrs(pool.get("cidrs"), &mut node.pod_cidrs, report);
            }
        }
        ipam.close_leniently(&["pool"], report);
    }
    node.pod_cidrs.sort_unstable();
    node.pod_cidrs.dedup();
    node
}

/// A list of prefixes.
pub(super) fn pod_cidrs(field: Option<Field<'_>>, into: &mut Vec<IpPrefix>, report: &mut Report) {
    let elements = field.and_then(|field| field.list(report));
    for element in elements.unwrap_or_default() {
        into.extend(element.lenient_prefix(report));
    }
}

/// One address of a node: `{type, ip}` of Cilium's, `{type, address}` of Kubernetes' kind.
/// Host names stand among the addresses of a Node: what is none is left out.
pub(super) fn address(
    element: &Field<'_>,
    name: &'static str,
    node: &mut NodeBody,
    report: &mut Report,
) {
    let Some(mut fields) = element.fields(report) else {
        return;
    };
    let kind = fields.get("type").and_then(|field| field.scalar(report));
    let text = fields.get(name).and_then(|field| field.scalar(report));
    let Some(address) = text.and_then(|text| text.parse::<IpAddr>().ok()) else {
        return;
    };
    node.addresses.push(address);
    if kind.as_deref() == Some("InternalIP") {
        node.internal_addresses.push(address);
    }
}

/// Prefixes in one text, separated by spaces or commas, as flags of Cilium take them.
pub(super) fn prefixes_in(text: &str) -> Result<Vec<IpPrefix>, Arc<str>> {
    text.split([' ', ','])
        .filter(|part| !part.is_empty())
        .map(|part| match super::fields::parse_prefix(part) {
            Some(written) => Ok(written.prefix),
            None => Err(Arc::from(part)),
        })
        .collect()
}
