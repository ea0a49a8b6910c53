//! Own routes that cannot be told for want of a next hop: how often that is said.

use super::*;
use crate::config::{Export, NextHopIpv6, OriginAttributes, OriginChange};
use crate::log_of::warnings_of;

const PEER: &str = "10.0.0.6";

fn originate(bed: &mut Bed, prefix: &str) {
    let attributes = OriginAttributes {
        communities: vec![],
        large_communities: vec![],
        local_preference: 100,
    };
    let change = OriginChange {
        prefix: prefix.parse::<ipnet::IpNet>().unwrap().into(),
        kinds: crate::policy::Sources::NETWORK_POLICY,
        attributes: Some(Arc::new(attributes)),
    };
    let delta = Delta::Origins(INSTANCE, Box::new([change]));
    bed.shard
        .handle_command(bed.now, ShardCommand::Delta(delta));
    bed.run();
}

fn up(bed: &mut Bed) {
    bed.connect(PEER.parse().unwrap(), &open(65002, 6, &[]));
}

/// The session is over IPv4, and the interface has no IPv6 address.
#[test]
fn a_missing_next_hop_is_told_when_own_routes_want_one_and_once_a_session() {
    let settings = |export, next_hop_ipv6| Neighbor {
        export,
        next_hop_ipv6,
        ..neighbor(PEER, 65002)
    };
    let mut bed = Bed::new();
    let quiet = warnings_of(|| {
        bed.configure(settings(Export::All, NextHopIpv6::Auto));
        up(&mut bed);
        originate(&mut bed, "192.0.2.0/24");
        bed.configure(settings(Export::Originated, NextHopIpv6::Auto));
    });
    assert_eq!(quiet, [""; 0]);
    let told = warnings_of(|| originate(&mut bed, "2001:db8::/32"));
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0].contains("set nextHop.ipv6"), "{told:#?}");
    let edited = warnings_of(|| {
        originate(&mut bed, "2001:db8:1::/48");
        bed.configure(settings(Export::All, NextHopIpv6::Auto));
        bed.configure(settings(Export::Originated, NextHopIpv6::Auto));
    });
    assert_eq!(edited, [""; 0]);
    // There is one, and then there is none again.
    bed.configure(settings(Export::All, NextHopIpv6::Mapped));
    let edited = warnings_of(|| bed.configure(settings(Export::All, NextHopIpv6::Auto)));
    assert_eq!(edited.len(), 1, "{edited:#?}");
    let again = warnings_of(|| {
        bed.reset();
        up(&mut bed);
    });
    let again = again.iter().filter(|line| line.contains("own routes"));
    assert_eq!(again.count(), 1);
}
