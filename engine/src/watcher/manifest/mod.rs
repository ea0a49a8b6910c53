//! One manifest file: text to resources, faults and warnings.
//!
//! No files are opened here and nothing is remembered: what a fault means for what is in force is
//! the store's business. Kinds of ours are read strictly, Cilium's and Kubernetes' leniently.

mod capabilities;
mod cilium;
mod client;
mod fields;
mod graceful;
mod guard;
mod kubernetes;
mod max_prefixes;
mod metadata;
mod neighbor;
mod node;
mod overlay;
mod peering;
mod policy;
mod policy_match;
mod policy_set;
#[cfg(test)]
mod policy_tests;
mod role;
mod rpki;
mod templates;
#[cfg(test)]
mod tests;
mod unsupported;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::fault::{Fault, Report};
use super::resource::{Body, Key, Kind, Resource};
use fields::{Field, Fields};
use node::Value;

pub use kubernetes::{PASSWORD_MAX, password};
pub use node::FILE_SIZE_MAX;
pub(crate) use node::printable;
pub(super) use peering::agree;

/// The object, and the ConfigMap, that hold the settings.
pub const CONFIG_NAME: &str = "cilium-config";

/// What one file holds.
#[derive(Debug, Default)]
pub struct Contents {
    /// The valid resources in the order of the text.
    pub resources: Vec<Resource>,
    /// Resources that are there and are not valid.
    pub invalid: Vec<Key>,
    /// There is an invalid document of which not even the name is known.
    pub nameless: bool,
    /// The text is no YAML: nothing else here means anything.
    pub unreadable: bool,
    /// Objects, of whatever kind; elements of lists count, lists don't.
    pub documents: usize,
    /// Kinds that are not read, with how many there were.
    pub passed_over: BTreeMap<String, usize>,
    /// What is to be said.
    pub faults: Vec<Fault>,
}

/// What is read, and for whom.
#[derive(Clone, Copy)]
pub struct Reading<'a> {
    /// How messages call the file.
    pub file: &'a Arc<str>,
    /// The node whose overlay of the settings counts.
    pub node: &'a str,
}

/// Reads a text in one pass.
pub fn read(of: Reading<'_>, text: &[u8]) -> Contents {
    let mut contents = Contents::default();
    let mut report = Report::new(Arc::clone(of.file));
    let parsed = match std::str::from_utf8(text) {
        Ok(text) => node::parse(text),
        Err(error) => Err(node::SyntaxError {
            line: line_at(text, error.valid_up_to()),
            message: "octets that are no UTF-8".into(),
        }),
    };
    match parsed {
        Ok(documents) => {
            for document in &documents {
                read_document(&Field::root(document), of, &mut contents, &mut report);
            }
        }
        Err(error) => {
            contents.unreadable = true;
            report.fault(error.line, "", format!("not YAML: {}", error.message));
        }
    }
    contents.faults = report.into_list();
    contents
}

fn line_at(text: &[u8], offset: usize) -> u32 {
    let before = text.iter().take(offset);
    let lines = before.filter(|octet| **octet == b'\n').count();
    u32::try_from(lines + 1).unwrap_or(u32::MAX)
}

fn read_document(root: &Field<'_>, of: Reading<'_>, contents: &mut Contents, report: &mut Report) {
    let Some(mut fields) = root.fields(report) else {
        contents.documents += 1;
        contents.nameless = true;
        return;
    };
    let api_version = fields.require("apiVersion", "for example cilium.io/v2", report);
    let api_version = api_version.and_then(|field| field.scalar(report));
    let kind = fields.require("kind", "for example CiliumNetworkPolicy", report);
    let kind = kind.and_then(|field| field.scalar(report));
    let (Some(api_version), Some(kind)) = (api_version, kind) else {
        contents.documents += 1;
        contents.nameless = true;
        return;
    };
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    if group.is_empty() && kind == "List" {
        let items = fields.get("items").and_then(|field| field.list(report));
        for item in items.unwrap_or_default() {
            read_document(&item, of, contents, report);
        }
        return;
    }
    contents.documents += 1;
    let path = fields.path_of("kind");
    if unsupported::is_kind(group, &kind) {
        let kind = node::shorten(&kind);
        report.fault(root.line, &path, format!("{kind} is not supported yet"));
        return;
    }
    if let Some(known) = known_kind(group, &kind) {
        return read_known(known, version, root.line, fields, of, contents, report);
    }
    let of_group = KINDS.iter().filter(|(of, _)| *of == group);
    let names: Vec<&str> = of_group.map(|(_, kind)| kind.name()).collect();
    let meant = fields::nearest(&kind, &names);
    let shown = node::shorten(&kind);
    if group == OUR_GROUP {
        // Nobody else's kind: whoever wrote it means it for us.
        let mend = meant.unwrap_or(Kind::RoutePolicy.name());
        let message = format!("there is no kind {shown} of {OUR_GROUP}; did you mean {mend}?");
        report.fault(root.line, &path, message);
        return;
    }
    if kind == Kind::RoutePolicy.name() {
        let message = format!("a RoutePolicy is only read as {OUR_GROUP}/v1alpha1");
        report.warn(root.line, &path, message);
    } else if let Some(meant) = meant {
        let message = format!("{shown} is not read; did you mean {meant}?");
        report.warn(root.line, &path, message);
    }
    pass_over(&kind, contents);
}

/// The API group of the kinds that are ours alone.
const OUR_GROUP: &str = "ringbgp.io";

/// The kinds that are read, by API group.
const KINDS: [(&str, Kind); 10] = [
    ("cilium.io", Kind::CiliumConfig),
    ("cilium.io", Kind::CiliumNetworkPolicy),
    ("cilium.io", Kind::CiliumClusterwideNetworkPolicy),
    ("cilium.io", Kind::CiliumCidrGroup),
    ("cilium.io", Kind::CiliumNode),
    (OUR_GROUP, Kind::RoutePolicy),
    ("", Kind::ConfigMap),
    ("", Kind::Node),
    ("", Kind::Namespace),
    ("", Kind::Secret),
];

fn known_kind(group: &str, kind: &str) -> Option<Kind> {
    let mut known = KINDS.iter();
    let found = known.find(|(of, known)| *of == group && known.name() == kind);
    found.map(|(_, kind)| *kind)
}

fn accepted_versions(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::CiliumConfig => &["v2alpha1"],
        Kind::RoutePolicy => &["v1alpha1"],
        Kind::CiliumCidrGroup => &["v2", "v2alpha1"],
        Kind::CiliumNetworkPolicy | Kind::CiliumClusterwideNetworkPolicy | Kind::CiliumNode => {
            &["v2"]
        }
        Kind::ConfigMap | Kind::Node | Kind::Namespace | Kind::Secret => &["v1"],
    }
}

fn pass_over(kind: &str, contents: &mut Contents) {
    let kind = node::shorten(kind);
    *contents.passed_over.entry(kind).or_default() += 1;
}

fn read_known(
    kind: Kind,
    version: &str,
    line: u32,
    mut fields: Fields<'_>,
    of: Reading<'_>,
    contents: &mut Contents,
    report: &mut Report,
) {
    if kind == Kind::CiliumConfig && version != "v2alpha1" && !has_peering(&mut fields) {
        // The OLM operator's kind of the same name holds Helm values.
        if version == "v1alpha1" {
            pass_over("CiliumConfig (of the Cilium operator)", contents);
        } else {
            let path = fields.path_of("apiVersion");
            let version = node::shorten(version);
            let message = format!("version {version} of CiliumConfig is not read: v2alpha1");
            report.warn(line, &path, message);
        }
        return;
    }
    let faults_before = report.unconfined();
    let named = metadata::metadata(kind, &mut fields, report);
    let accepted = accepted_versions(kind);
    if !accepted.contains(&version) {
        let path = fields.path_of("apiVersion");
        let version = node::shorten(version);
        let message = format!("version {version} is not read: {}", accepted.join(" or "));
        report.fault(line, &path, message);
    }
    let Some((key, labels)) = named else {
        contents.nameless = true;
        return;
    };
    if matches!(kind, Kind::ConfigMap | Kind::CiliumConfig) && &*key.name != CONFIG_NAME {
        if kind == Kind::CiliumConfig {
            let path = fields.path_of("metadata.name");
            let message = format!("only the CiliumConfig named {CONFIG_NAME} is read");
            report.warn(line, &path, message);
        }
        return;
    }
    let body = body(kind, (&key.name, of.node), &mut fields, report);
    if matches!(kind, Kind::CiliumConfig | Kind::RoutePolicy) {
        fields.get("status");
        fields.close_strictly(report);
    } else {
        fields.close_leniently(TOP_LEVEL, report);
    }
    match body {
        Some(body) if report.unconfined() == faults_before => contents.resources.push(Resource {
            key,
            file: Arc::clone(of.file),
            line,
            labels,
            body,
        }),
        _ => contents.invalid.push(key),
    }
}

/// Top-level fields of kinds that are read leniently.
const TOP_LEVEL: &[&str] = &[
    "binaryData",
    "data",
    "immutable",
    "spec",
    "specs",
    "status",
    "stringData",
    "type",
];

fn has_peering(fields: &mut Fields<'_>) -> bool {
    let Some(spec) = fields.get("spec") else {
        return false;
    };
    matches!(&spec.node.value, Value::Map(entries) if entries.iter().any(|e| e.key == "bgpPeering"))
}

fn body(
    kind: Kind,
    (name, node): (&Arc<str>, &str),
    fields: &mut Fields<'_>,
    report: &mut Report,
) -> Option<Body> {
    Some(match kind {
        Kind::CiliumConfig => {
            let spec = fields.require("spec", "with bgpPeering", report)?;
            let mut spec = spec.fields(report)?;
            let field = spec.require("bgpPeering", "the settings", report);
            let peering = field.and_then(|field| peering::peering(&field, node, report));
            spec.close_strictly(report);
            Body::Config(Box::new(peering?))
        }
        Kind::RoutePolicy => policy::policy(name, fields, report)?,
        Kind::ConfigMap => Body::ConfigMap(Box::new(kubernetes::config_map(fields, node, report))),
        Kind::CiliumNetworkPolicy | Kind::CiliumClusterwideNetworkPolicy => {
            Body::Policy(cilium::policy(fields, report))
        }
        Kind::CiliumCidrGroup => Body::CidrGroup(cilium::cidr_group(fields, report)),
        Kind::CiliumNode => Body::Node(cilium::cilium_node(fields, report)),
        Kind::Node => Body::Node(kubernetes::node(fields, report)),
        Kind::Namespace => Body::Namespace,
        Kind::Secret => Body::Secret(kubernetes::secret(fields, report)),
    })
}
