//! What is to be listened on, worked out from the instances and their neighbors.

use std::collections::BTreeMap;
use std::sync::Arc;

use codec::IpPrefix;

use crate::config::{
    DynamicNeighbors, InstanceId, InstanceSettings, Neighbor, Password, PeerAddress, host_prefix,
};
use crate::ring::ListenPlan;

/// The neighbors of an instance.
#[derive(Default)]
pub(super) struct Neighbors {
    /// By address.
    pub(super) named: BTreeMap<PeerAddress, Arc<Neighbor>>,
    /// Those that are only known by where they connect from.
    pub(super) dynamic: Box<[Arc<DynamicNeighbors>]>,
}

impl Neighbors {
    /// The keys of those that have one, by where the peers are.
    fn passwords(&self) -> impl Iterator<Item = (IpPrefix, &Arc<[u8]>)> {
        let named = self.named.values();
        let named = named.map(|neighbor| (host_prefix(neighbor.address.ip()), &neighbor.password));
        let dynamic = self.dynamic.iter();
        let dynamic = dynamic.map(|range| (range.prefix, &range.settings.password));
        named
            .chain(dynamic)
            .filter_map(|(peers, password)| match password {
                Password::Key(key) => Some((peers, key)),
                Password::None | Password::Missing(_) => None,
            })
    }
}

/// One listener for each address and port, whichever instances ask for it, with the keys of their
/// neighbors. Where two instances sign the same peer differently, the first one's key holds; one
/// address on two links has one key (`refuse_two_keys` of the settings sees to it).
pub(super) fn plan<'a>(
    instances: impl Iterator<Item = (InstanceId, &'a InstanceSettings, &'a Neighbors)>,
) -> ListenPlan {
    let mut plan = ListenPlan::default();
    for (id, settings, neighbors) in instances {
        for address in &settings.listen {
            let listener = plan.listeners.entry(*address).or_default();
            if !listener.instances.contains(&id) {
                listener.instances.push(id);
            }
            for (peers, key) in neighbors.passwords() {
                if matches!(peers, IpPrefix::V6(_)) == address.is_ipv6() {
                    let passwords = &mut listener.passwords;
                    passwords.entry(peers).or_insert_with(|| Arc::clone(key));
                }
            }
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::config::Instance;
    use crate::config::some_neighbor;

    #[test]
    fn instances_share_a_listener_and_keys_go_by_family() {
        let settings = |listen: &[&str]| InstanceSettings {
            listen: listen.iter().map(|text| text.parse().unwrap()).collect(),
            ..Instance::new(Ipv4Addr::new(10, 0, 0, 5)).settings()
        };
        let mut signed = some_neighbor("10.0.0.6");
        signed.password = Password::Key(Arc::from(*b"key"));
        let mut missing = some_neighbor("2001:db8::6");
        missing.password = Password::Missing("no such Secret".into());
        let range = |text: &str, password| {
            Arc::new(DynamicNeighbors {
                prefix: text.parse::<ipnet::IpNet>().unwrap().into(),
                max_peers: 1,
                settings: crate::config::Neighbor {
                    password,
                    ..some_neighbor("10.0.0.0")
                },
            })
        };
        let neighbors = Neighbors {
            named: [signed, missing, some_neighbor("10.0.0.7")]
                .map(|neighbor| (neighbor.address, Arc::new(neighbor)))
                .into(),
            dynamic: Box::new([
                range("10.1.0.0/16", Password::Key(Arc::from(*b"another"))),
                range("10.2.0.0/16", Password::None),
            ]),
        };
        let (both, one) = (
            settings(&["0.0.0.0:179", "[::]:179"]),
            settings(&["0.0.0.0:179"]),
        );
        let none = Neighbors::default();
        let plan = plan(
            [
                (InstanceId(0), &both, &none),
                (InstanceId(1), &one, &neighbors),
            ]
            .into_iter(),
        );
        let ipv4 = &plan.listeners[&"0.0.0.0:179".parse().unwrap()];
        assert_eq!(ipv4.instances, [InstanceId(0), InstanceId(1)]);
        let peers: Vec<String> = ipv4.passwords.keys().map(ToString::to_string).collect();
        assert_eq!(peers, ["10.0.0.6/32", "10.1.0.0/16"]);
        let ipv6 = &plan.listeners[&"[::]:179".parse().unwrap()];
        assert_eq!(ipv6.instances, [InstanceId(0)]);
        assert!(ipv6.passwords.is_empty());
    }
}
