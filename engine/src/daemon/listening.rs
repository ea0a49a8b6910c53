//! What is to be listened on, worked out from the instances and their neighbors.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::config::{InstanceId, InstanceSettings, Neighbor, Password};
use crate::ring::ListenPlan;

/// The neighbors of an instance by address.
pub(super) type Neighbors = BTreeMap<IpAddr, Arc<Neighbor>>;

/// One listener for each address and port, whichever instances ask for it, with the keys of their
/// neighbors. Where two instances sign the same peer differently, the first one's key holds.
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
            for (peer, neighbor) in neighbors {
                if let Password::Key(key) = &neighbor.password
                    && peer.is_ipv6() == address.is_ipv6()
                {
                    let passwords = &mut listener.passwords;
                    passwords.entry(*peer).or_insert_with(|| Arc::clone(key));
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
    use crate::daemon::placement::tests::neighbor;

    #[test]
    fn instances_share_a_listener_and_keys_go_by_family() {
        let settings = |listen: &[&str]| InstanceSettings {
            name: "default".into(),
            enabled: true,
            router_id: Ipv4Addr::new(10, 0, 0, 5),
            listen: listen.iter().map(|text| text.parse().unwrap()).collect(),
            memory_max: u64::MAX,
        };
        let mut signed = neighbor("10.0.0.6");
        signed.password = Password::Key(Arc::from(*b"key"));
        let mut missing = neighbor("2001:db8::6");
        missing.password = Password::Missing("no such Secret".into());
        let neighbors: Neighbors = [signed, missing, neighbor("10.0.0.7")]
            .map(|neighbor| (neighbor.address, Arc::new(neighbor)))
            .into();
        let (both, one) = (
            settings(&["0.0.0.0:179", "[::]:179"]),
            settings(&["0.0.0.0:179"]),
        );
        let none = Neighbors::new();
        let plan = plan(
            [
                (InstanceId(0), &both, &none),
                (InstanceId(1), &one, &neighbors),
            ]
            .into_iter(),
        );
        let ipv4 = &plan.listeners[&"0.0.0.0:179".parse().unwrap()];
        assert_eq!(ipv4.instances, [InstanceId(0), InstanceId(1)]);
        assert_eq!(ipv4.passwords.len(), 1);
        let ipv6 = &plan.listeners[&"[::]:179".parse().unwrap()];
        assert_eq!(ipv6.instances, [InstanceId(0)]);
        assert!(ipv6.passwords.is_empty());
    }
}
