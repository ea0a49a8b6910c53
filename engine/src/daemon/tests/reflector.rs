//! An engine as a route reflector between engines.

use std::collections::BTreeSet;

use super::*;
use crate::admin::model::Route;
use crate::config::{Client, Export};

const ASN: u32 = 65001;

/// A reflector with a router at each of `clients` and `others`, all of one AS and established.
struct Reflection {
    reflector: Node,
    routers: Vec<Node>,
}

impl Reflection {
    fn start(io: IoMode, first: u8, clients: usize, others: usize) -> Reflection {
        let address = free_address(first);
        let mut reflector = Node::start(io, 1, address);
        let mut routers = Vec::new();
        for index in 0..clients + others {
            let at = free_address(first + 1 + index as u8);
            let mut router = Node::start(io, 1, at);
            insert(&mut router, towards(at, address, ASN, ASN));
            let mut neighbor = towards(address, at, ASN, ASN);
            neighbor.export = Export::All;
            neighbor.cluster_id = CLUSTER;
            neighbor.client = (index < clients).then_some(Client::RouteReflector);
            insert(&mut reflector, neighbor);
            routers.push(router);
        }
        until("established", || {
            let peers = peers(&reflector);
            peers
                .iter()
                .all(|peer| peer.state == PeerState::Established)
        });
        Reflection { reflector, routers }
    }

    /// What a router was told of a prefix.
    fn told(&self, router: usize) -> Option<Route> {
        let query = RoutesQuery::all(RoutesKind::Received);
        let reply = self.routers[router].ask(|handle| async move { handle.routes(query).await });
        reply.unwrap().routes.pop()
    }
}

const CLUSTER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);

fn peers(node: &Node) -> Vec<Peer> {
    let query = PeersQuery::default();
    let peers = node.ask(|handle| async move { handle.peers(query).await });
    peers.unwrap()
}

fn groups(node: &Node) -> Vec<u32> {
    let mut groups: Vec<u32> = peers(node).iter().filter_map(|peer| peer.group).collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}

#[test]
fn clients_share_one_group_and_hear_each_other() {
    for (index, io) in modes().into_iter().enumerate() {
        let mut world = Reflection::start(io, 200 + 8 * index as u8, 3, 2);
        assert_eq!(groups(&world.reflector).len(), 2);
        let of = |peer: &Peer| (peer.route_reflector_client, peer.group);
        let of_peers: BTreeSet<_> = peers(&world.reflector).iter().map(of).collect();
        assert_eq!(
            of_peers.len(),
            2,
            "clients in one group, the others in one: {of_peers:?}"
        );

        // A client's route goes to all, with its own identifier and our cluster.
        world.routers[0].originate(1, 100);
        until("reflected", || {
            (1..5).all(|router| world.told(router).is_some())
        });
        let originator = world.routers[0].address.ip().to_string();
        let next_hop = own_next_hop(world.routers[0].address).to_string();
        for router in 1..5 {
            let route = world.told(router).unwrap();
            assert_eq!(route.originator_id.as_deref(), Some(&*originator));
            assert_eq!(route.cluster_list, Some(vec![CLUSTER.to_string()]));
            assert_eq!(route.next_hop.as_ref(), Some(&next_hop));
        }
        assert_eq!(world.told(0), None, "never back to whom it came from");
        world.routers[0].originate(0, 100);
        until("gone", || (1..5).all(|router| world.told(router).is_none()));

        // Another's goes to clients only.
        world.routers[4].originate(1, 100);
        until("reflected", || {
            (0..3).all(|router| world.told(router).is_some())
        });
        assert_eq!(world.told(3), None);
    }
}

#[test]
fn a_peer_becomes_a_client_and_stops_being_one_under_its_session() {
    for (index, io) in modes().into_iter().enumerate() {
        let mut world = Reflection::start(io, 220 + 8 * index as u8, 0, 2);
        world.routers[0].originate(1, 100);
        until("taken", || {
            world.reflector.count(RoutesKind::Available) == 1
        });
        assert_eq!(world.told(1), None);
        // Two connections may have met while the sessions came up.
        let errors = |world: &Reflection| -> Vec<Option<String>> {
            let peers = peers(&world.reflector).into_iter();
            peers.map(|peer| peer.last_error).collect()
        };
        let before = errors(&world);
        let address = world.routers[0].address.ip();
        for client in [Some(Client::RouteReflector), None] {
            let neighbor = &world.reflector.state.instances[&INSTANCE].neighbors[&address.into()];
            let mut changed = Neighbor::clone(neighbor);
            changed.client = client;
            insert(&mut world.reflector, changed);
            until("told anew", || world.told(1).is_some() == client.is_some());
            assert_eq!(errors(&world), before, "a session was reset");
        }
    }
}
