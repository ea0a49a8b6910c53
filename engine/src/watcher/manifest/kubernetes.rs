//! Kubernetes' own kinds: ConfigMap, Node, Secret.

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::fields::{Field, Fields};
use super::{cilium, node, peering};
use crate::watcher::fault::Report;
use crate::watcher::resource::{ConfigMap, NodeBody};

/// The longest MD5 key that Linux takes (`TCP_MD5SIG_MAXKEYLEN`).
pub const PASSWORD_MAX: usize = 80;

/// The ConfigMap `cilium-config`: the keys that are read, among many that are not.
pub(super) fn config_map(document: &mut Fields<'_>, node: &str, report: &mut Report) -> ConfigMap {
    let mut map = ConfigMap::default();
    let data = document.get("data").and_then(|field| field.fields(report));
    let Some(mut data) = data else {
        return map;
    };
    for name in ["cluster-pool-ipv4-cidr", "cluster-pool-ipv6-cidr"] {
        let Some(field) = data.get(name) else {
            continue;
        };
        let Some(text) = field.scalar(report) else {
            continue;
        };
        match cilium::prefixes_in(&text) {
            Ok(prefixes) => map.cluster_cidrs.extend(prefixes),
            Err(part) => {
                let part = node::shorten(&part);
                field.fault(report, format!("\"{part}\" is not accepted: prefixes"));
            }
        }
    }
    let namespace = data.get("bgp-secrets-namespace");
    let is_empty = |field: &Field<'_>| field.node.value == node::Value::String(String::new());
    let namespace = namespace.filter(|field| !is_empty(field));
    map.secrets_namespace = namespace
        .and_then(|field| field.name(report))
        .map(Arc::from);
    let speaks = data.get("enable-bgp-control-plane");
    let speaks = speaks.and_then(|field| field.scalar(report));
    map.cilium_speaks = speaks.as_deref() == Some("true");
    if let Some(field) = data.get("bgpPeering") {
        map.peering = embedded_peering(&field, node, report);
    }
    data.close_leniently(&[], report);
    map
}

/// The value of the key `bgpPeering` is a text that holds YAML of its own.
fn embedded_peering(
    field: &Field<'_>,
    on_node: &str,
    report: &mut Report,
) -> Option<crate::watcher::resource::BgpPeering> {
    let text = field.string(report)?;
    let documents = match node::parse(text) {
        Ok(documents) => documents,
        Err(error) => {
            let message = format!("in line {} of the text: {}", error.line, error.message);
            field.fault(report, message);
            return None;
        }
    };
    let [mut root] = <[node::Node; 1]>::try_from(documents).unwrap_or_else(|_| {
        field.fault(report, "one YAML document is expected");
        [node::Node {
            line: 1,
            value: node::Value::Null,
        }]
    });
    if root.value == node::Value::Null {
        return None;
    }
    // Lines count from the document that holds the text: a block scalar starts below its key.
    root.shift_lines(field.line);
    let embedded = Field::root(&root).under(field.path.clone(), field.line);
    peering::peering(&embedded, on_node, report)
}

/// `Node`: addresses and pod CIDRs.
pub(super) fn node(document: &mut Fields<'_>, report: &mut Report) -> NodeBody {
    let mut node = NodeBody::default();
    if let Some(mut spec) = document.get("spec").and_then(|field| field.fields(report)) {
        let (several, one) = (spec.get("podCIDRs"), spec.get("podCIDR"));
        cilium::pod_cidrs(several, &mut node.pod_cidrs, report);
        if let Some(one) = one.filter(|_| node.pod_cidrs.is_empty()) {
            node.pod_cidrs.extend(one.lenient_prefix(report));
        }
        spec.close_leniently(&[], report);
    }
    let status = document.get("status");
    if let Some(mut status) = status.and_then(|field| field.fields(report)) {
        let addresses = status.get("addresses");
        let addresses = addresses.and_then(|field| field.list(report));
        for element in addresses.unwrap_or_default() {
            cilium::address(&element, "address", &mut node, report);
        }
    }
    node.pod_cidrs.sort_unstable();
    node.pod_cidrs.dedup();
    node
}

/// `Secret`: the key `password`, or why there is none that can be used. Most Secrets are not for
/// this daemon, so that is no fault here.
pub(super) fn secret(
    document: &mut Fields<'_>,
    report: &mut Report,
) -> Result<Arc<[u8]>, Arc<str>> {
    let plain = document.get("stringData");
    let plain = plain.and_then(|field| field.fields(report));
    let plain = plain.and_then(|mut data| data.get("password"));
    if let Some(field) = plain {
        return password(field.scalar(report).unwrap_or_default().into_bytes());
    }
    let encoded = document.get("data").and_then(|field| field.fields(report));
    let encoded = encoded.and_then(|mut data| data.get("password"));
    let Some(field) = encoded else {
        return Err("has no key password".into());
    };
    let text = field.scalar(report).unwrap_or_default();
    let text: String = text.split_ascii_whitespace().collect();
    match BASE64_STANDARD.decode(text) {
        Ok(bytes) => password(bytes),
        Err(_) => Err("has a key password that is no base64".into()),
    }
}

/// A key of the length that TCP MD5 takes.
pub fn password(bytes: Vec<u8>) -> Result<Arc<[u8]>, Arc<str>> {
    match bytes.len() {
        0 => Err("has an empty password".into()),
        1..=PASSWORD_MAX => Ok(bytes.into()),
        length => Err(format!(
            "has a password of {length} octets; at most {PASSWORD_MAX} are accepted"
        )
        .into()),
    }
}
