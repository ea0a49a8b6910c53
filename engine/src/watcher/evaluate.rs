//! Resources in force to the desired state of this node. Pure, but for password files.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use codec::IpPrefix;

use super::fault::{Fault, Severity};
use super::gateways::Gateways;
use super::host::Host;
use super::manifest;
use super::policies::Policies;
use super::resource::{Auth, NeighborSpec, Whom};
use super::routes;
use super::store::InForce;
use super::view::View;
use crate::config::{
    DesiredState, DynamicNeighbors, Instance, InstanceId, Neighbor, OriginAttributes, Password,
    PeerAddress,
};

/// What the watcher is told once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The name of this node among `Node` and `CiliumNode` objects.
    pub node_name: String,
    /// Speak BGP although Cilium's own control plane does.
    pub allow_second_speaker: bool,
}

/// What the resources come to.
#[derive(Clone, Debug, Default)]
pub struct Evaluation {
    /// The desired state.
    pub state: DesiredState,
    /// What the guard refused, groups that are not there, and the like.
    pub warnings: Vec<Fault>,
}

/// The instance that `CiliumConfig` describes.
pub const DEFAULT_INSTANCE: InstanceId = InstanceId(0);

/// Works out the desired state. `gateways` are those of the time when the settings came. `standing` is the one before: past `guard.maxPrefixes` what stands
/// stays.
pub fn evaluate(
    in_force: &InForce,
    host: &dyn Host,
    options: &Options,
    gateways: &Gateways,
    standing: &DesiredState,
) -> Evaluation {
    let network = host.network();
    let Some(view) = View::new(in_force, &network, &options.node_name) else {
        return Evaluation {
            state: standing.clone(),
            warnings: Vec::new(),
        };
    };
    let mut warnings = Vec::new();
    let before = standing.instances.get(&DEFAULT_INSTANCE);
    let no_origins = BTreeMap::new();
    let before = before.map_or(&no_origins, |instance| &instance.origins);
    let mut wanted = routes::wanted(&view);
    warn_of_empty_allow(&view, &mut warnings);
    warnings.append(&mut wanted.warnings);
    let attributes = attributes(
        &view,
        before.values().next().map(|origin| &origin.attributes),
    );
    let origins = routes::origins(&view, &wanted, before, &attributes, &mut warnings);
    let mut policies = Policies::new(in_force, standing);
    let mut neighbors = BTreeMap::new();
    let mut dynamic_neighbors = BTreeMap::new();
    let mut idle: BTreeMap<Arc<str>, Vec<&NeighborSpec>> = BTreeMap::new();
    let own_asns = own_asns(&view);
    for (spec, whom) in found(&view, gateways, &mut warnings) {
        let neighbor = Neighbor {
            import: policies.import(&view, spec, &mut warnings),
            export: policies.export(&view, spec, &mut warnings),
            own_asns: Arc::clone(&own_asns),
            ..neighbor(&view, (spec, whom), host, options)
        };
        if let Password::Missing(why) = &neighbor.password {
            idle.entry(Arc::clone(why)).or_default().push(spec);
        }
        match whom {
            Found::At(address) => {
                // What is named in the settings counts before what is found.
                let by_address = neighbors.entry(address);
                by_address.or_insert_with(|| Arc::new(neighbor));
            }
            Found::Within(prefix) => {
                let range = DynamicNeighbors {
                    prefix,
                    max_peers: spec.max_dynamic_peers,
                    settings: neighbor,
                };
                dynamic_neighbors.insert(prefix, Arc::new(range));
            }
        }
    }
    warn_of_idle(&view, &idle, &mut warnings);
    // What many neighbors have from one template is said once, not for each of them.
    let mut said = HashSet::new();
    warnings.retain(|warning| said.insert(warning.clone()));
    let port = view.overlay.listen_port.unwrap_or(view.peering.listen_port);
    let listen = view.peering.listen_addresses.iter();
    let instance = Instance {
        name: "default".into(),
        enabled: view.peering.enabled,
        router_id: view.router_id,
        listen: listen
            .map(|address| SocketAddr::new(*address, port))
            .collect(),
        memory_max: view.peering.memory_max,
        rpki: Arc::clone(&view.peering.rpki),
        selection: view.peering.selection,
        neighbors,
        dynamic_neighbors,
        origins,
    };
    Evaluation {
        state: DesiredState {
            instances: BTreeMap::from([(DEFAULT_INSTANCE, instance)]),
        },
        warnings,
    }
}

/// The attributes of all routes; the ones before, if they are the same.
fn attributes(view: &View<'_>, before: Option<&Arc<OriginAttributes>>) -> Arc<OriginAttributes> {
    let attributes = &view.peering.advertise.attributes;
    match before {
        Some(before) if **before == *attributes => Arc::clone(before),
        _ => Arc::new(attributes.clone()),
    }
}

fn warn_of_empty_allow(view: &View<'_>, warnings: &mut Vec<Fault>) {
    let guard = &view.peering.guard;
    if view.peering.advertise.network_policies && guard.allow.is_empty() {
        let message = "is empty while advertise.networkPolicies is Applied: a toCIDR is a \
                       destination, and announcing it draws its traffic to this node; name what \
                       may be announced";
        let at = (view.peering.guard_line, view.settings_path("guard.allow"));
        warnings.push(warning(view, at, message.into()));
    }
}

/// Neighbors without their keys: once for each reason, where the first of them is written, however
/// many have it from one template.
fn warn_of_idle(
    view: &View<'_>,
    idle: &BTreeMap<Arc<str>, Vec<&NeighborSpec>>,
    warnings: &mut Vec<Fault>,
) {
    for (why, specs) in idle {
        let Some((first, more)) = specs.split_first() else {
            continue;
        };
        let message = match more.len() {
            0 => format!("stays idle: {why}"),
            more => format!("{} and {more} more stay idle: {why}", first.whom),
        };
        warnings.push(warning(view, (first.line, first.path.to_string()), message));
    }
}

pub(super) fn warning(view: &View<'_>, (line, path): (u32, String), message: String) -> Fault {
    Fault {
        file: Arc::clone(&view.config.file),
        line,
        severity: Severity::Warning,
        path,
        message,
    }
}

/// Which peers a neighbor's settings are for, on this node.
#[derive(Clone, Copy)]
enum Found {
    At(PeerAddress),
    Within(IpPrefix),
}

/// The neighbors' settings, each with the peers they are for; those with an address come first.
fn found<'v>(
    view: &View<'v>,
    gateways: &Gateways,
    warnings: &mut Vec<Fault>,
) -> Vec<(&'v NeighborSpec, Found)> {
    let mut found = Vec::new();
    let mut discovered = Vec::new();
    let peering = view.peering;
    let faulty = peering.faulty.neighbors.iter();
    let faulty = faulty.filter(|spec| !matches!(spec.whom, Whom::DefaultGateways(_)));
    for spec in peering.neighbors.iter().chain(faulty) {
        match spec.whom {
            Whom::Address(address) => found.push((spec, Found::At(address))),
            Whom::Prefix(prefix) => found.push((spec, Found::Within(prefix))),
            Whom::DefaultGateways(family) => {
                let of_family = gateways.of(family);
                if of_family.is_empty() {
                    let at = (spec.line, spec.path.to_string());
                    let message = format!(
                        "there was no default route of {family} with a gateway when the settings \
                         were read: nobody is dialled for it; change the settings, or start \
                         ringbgp again, once there is"
                    );
                    warnings.push(warning(view, at, message));
                }
                discovered.extend(of_family.iter().map(|at| (spec, Found::At(*at))));
            }
        }
    }
    found.extend(discovered);
    found
}

/// Our AS on this node, where a neighbor does not say another.
fn instance_asn(view: &View<'_>) -> Option<u32> {
    view.overlay.local_asn.or(view.peering.local_asn)
}

/// All AS numbers that are ours, in ascending order.
fn own_asns(view: &View<'_>) -> Arc<[u32]> {
    let specs = view.peering.neighbors.iter();
    let own: BTreeSet<u32> = specs
        .filter_map(|spec| spec.local_asn)
        .chain(instance_asn(view))
        .collect();
    own.into_iter().collect()
}

fn neighbor(
    view: &View<'_>,
    (spec, whom): (&NeighborSpec, Found),
    host: &dyn Host,
    options: &Options,
) -> Neighbor {
    let overlay = &view.overlay;
    let cluster_id = overlay.cluster_id.or(view.peering.cluster_id);
    let (address, is_dynamic) = match whom {
        Found::At(address) => (address, false),
        Found::Within(IpPrefix::V4(prefix)) => (prefix.address().into(), true),
        Found::Within(IpPrefix::V6(prefix)) => (prefix.address().into(), true),
    };
    let local_address = overlay.local_addresses.get(&address).copied();
    Neighbor {
        address,
        port: spec.port,
        peer_asn: spec.peer_asn,
        // One of them is there, or the settings would not have been taken.
        local_asn: spec.local_asn.or(instance_asn(view)).unwrap_or_default(),
        router_id: view.router_id,
        cluster_id: cluster_id.unwrap_or(view.router_id),
        local_address: match is_dynamic {
            // Nothing is bound, since nothing is dialled.
            true => None,
            false => local_address.or(spec.local_address),
        },
        passive: spec.passive || is_dynamic,
        password: password(view, spec, host, options),
        ebgp_multihop: spec.ebgp_multihop,
        ttl_security: spec.ttl_security,
        timers: spec.timers,
        families: spec.families,
        max_prefixes: spec.max_prefixes,
        role: spec.role,
        role_strict: spec.role_strict,
        add_paths: spec.add_paths,
        capabilities: spec.capabilities,
        host_name: spec.fqdn.then(|| options.node_name.as_str().into()),
        next_hop_ipv4: spec.next_hop_ipv4,
        next_hop_ipv6: spec.next_hop_ipv6,
        next_hop_self: spec.next_hop_self,
        client: spec.client,
        import: spec.import.clone(),
        export: spec.export.clone(),
        send_communities: spec.send_communities,
        graceful_restart: spec.graceful_restart,
        long_lived: spec.long_lived,
        enhanced_refresh: spec.enhanced_refresh,
        own_asns: Arc::from([]),
        allow_own_asn: spec.allow_own_asn,
        builtin_filters: spec.builtin_filters,
        template: spec.template.clone(),
    }
}

/// The key of a session. A key that can't be had keeps the neighbor idle, and so does Cilium's own
/// speaker: two on one node would fight for the session.
fn password(view: &View<'_>, spec: &NeighborSpec, host: &dyn Host, options: &Options) -> Password {
    if view.cilium_speaks && !options.allow_second_speaker {
        let why = "Cilium's own BGP control plane is on (enable-bgp-control-plane in ConfigMap \
                   cilium-config): switch it off, or start with --allow-second-speaker";
        return Password::Missing(why.into());
    }
    let key = match &spec.auth {
        Auth::None => return Password::None,
        Auth::Secret(name) => view.secret(name),
        Auth::Withheld(why) => return Password::Missing(Arc::clone(why)),
        Auth::File(path) => {
            let shown = manifest::printable(&path.to_string_lossy());
            match host.password_file(path) {
                Ok(mut content) => {
                    while content
                        .last()
                        .is_some_and(|octet| matches!(octet, b'\n' | b'\r'))
                    {
                        content.pop();
                    }
                    manifest::password(content).map_err(|why| format!("the file {shown} {why}"))
                }
                Err(error) => Err(format!("the file {shown} can't be read: {error}")),
            }
        }
    };
    match key {
        Ok(key) => Password::Key(key),
        Err(why) => Password::Missing(why.into()),
    }
}
