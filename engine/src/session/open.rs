//! The OPEN exchange: what we offer, what we refuse, what both come to.
//!
//! The codec has checked the shape of a received OPEN (RFC 4271 §6.2: version, parameters,
//! capabilities); here its values are judged against the neighbor.
//!
//! Without a family in common there is no session: NOTIFICATION 2/7 with the families that we
//! miss, as BIRD and FRR do. A session without families would look up and carry nothing.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use codec::notification as code;
use codec::{
    AS_TRANS, AddPath, Capability, ExtendedNextHop, Family, FamilySet, Notification, Open,
    PeerKind, WireFormat,
};

use super::action::Negotiated;
use super::config::SessionConfig;
use super::restart::{self, OwnRestart};
use crate::config::{PeerAsn, Role};

/// A refused OPEN: what the peer is told, and what the operator is told.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) notification: Notification,
    pub(super) words: String,
}

/// Our OPEN: multiprotocol for our families, route refresh, 4-octet AS, what the neighbor's settings
/// ask for beside, and nothing that is not acted on.
// RFC-DONE 5492 §4: Each capability goes out once, with its code, length and value.
pub(super) fn offer(config: &SessionConfig, own: OwnRestart) -> Open {
    let mut capabilities: Vec<Capability> = config.families.iter().map(multiprotocol).collect();
    capabilities.push(Capability::RouteRefresh);
    capabilities.push(Capability::FourOctetAs(config.local_asn));
    if config.enhanced_refresh {
        capabilities.push(Capability::EnhancedRouteRefresh);
    }
    capabilities.extend(add_paths(config));
    restart::offer(config, own, &mut capabilities);
    // RFC-DONE 9234 §4.1: Capability 9 tells our role, where one is configured.
    // RFC-DONE 9234 §4: No role is told to a peer that is known to be internal.
    let role = config.role.filter(|_| !is_internal(config));
    capabilities.extend(role.map(|role| Capability::Role(role.code())));
    // RFC-DONE 8654 §3: Capability 6 is offered to every neighbor that is not told otherwise.
    if config.capabilities.extended_messages {
        capabilities.push(Capability::ExtendedMessages);
    }
    // RFC-DONE 8950 §4: Capability 5 is offered for IPv4 unicast with IPv6 next hops.
    if offers_extended_next_hop(config) {
        capabilities.push(Capability::ExtendedNextHop(vec![IPV4_OVER_IPV6]));
    }
    if let Some(name) = &config.host_name {
        let (host, domain) = name.split_once('.').unwrap_or((name, ""));
        capabilities.push(Capability::Fqdn {
            host: Bytes::copy_from_slice(host.as_bytes()),
            domain: Bytes::copy_from_slice(domain.as_bytes()),
        });
    }
    Open {
        version: 4,
        asn: config.local_asn,
        hold_time: u16::try_from(config.timers.hold.as_secs()).unwrap_or(u16::MAX),
        identifier: config.router_id,
        capabilities,
    }
}

/// Whether only a peer of our own AS is taken.
fn is_internal(config: &SessionConfig) -> bool {
    match config.peer_asn {
        PeerAsn::Internal => true,
        PeerAsn::Number(asn) => asn == config.local_asn,
        PeerAsn::Any | PeerAsn::External => false,
    }
}

/// IPv4 unicast with IPv6 next hops.
const IPV4_OVER_IPV6: ExtendedNextHop = ExtendedNextHop {
    afi: 1,
    safi: 1,
    next_hop_afi: 2,
};

fn offers_extended_next_hop(config: &SessionConfig) -> bool {
    config.capabilities.extended_next_hop && config.families.contains(Family::Ipv4Unicast)
}

fn multiprotocol(family: Family) -> Capability {
    Capability::Multiprotocol {
        afi: family.afi(),
        safi: family.safi(),
    }
}

/// RFC 7911 §4: which of our families carry several paths, each way.
fn add_paths(config: &SessionConfig) -> Option<Capability> {
    let wanted = config.add_paths;
    let family = |family: Family| AddPath {
        afi: family.afi(),
        safi: family.safi(),
        receive: wanted.receive,
        send: wanted.send > 0,
    };
    let families = config.families.iter().map(family);
    (wanted.receive || wanted.send > 0).then(|| Capability::AddPath(families.collect()))
}

/// What our offer and the peer's OPEN come to.
pub(super) fn negotiate(
    config: &SessionConfig,
    own: OwnRestart,
    open: Open,
    local_address: SocketAddr,
) -> Result<Negotiated, Refusal> {
    check_asn(config, &open)?;
    check_identifier(config, &open)?;
    check_role(config, &open)?;
    let hold_time = negotiate_hold_time(config, &open)?;
    let families = negotiate_families(config, &open)?;
    let refresh = open.capabilities.contains(&Capability::RouteRefresh);
    let enhanced = open
        .capabilities
        .contains(&Capability::EnhancedRouteRefresh);
    let offers = |wanted: &dyn Fn(&Capability) -> bool| open.capabilities.iter().any(wanted);
    // RFC-DONE 6793 §4.1: AS numbers take four octets where the peer offered capability 65 too.
    let four_octet_as = offers(&|capability| matches!(capability, Capability::FourOctetAs(_)));
    // What is longer is taken only from a peer that was offered it: a deviation from RFC 8654 §4,
    // as of BIRD and FRR.
    let extended_messages = config.capabilities.extended_messages
        && offers(&|capability| *capability == Capability::ExtendedMessages);
    let extended_next_hop = offers_extended_next_hop(config)
        && offers(&|capability| match capability {
            Capability::ExtendedNextHop(entries) => entries.contains(&IPV4_OVER_IPV6),
            _ => false,
        });
    Ok(Negotiated {
        wire: WireFormat {
            four_octet_as,
            add_path_receive: match config.add_paths.receive {
                true => families.intersection(add_path_families(&open, |theirs| theirs.send)),
                false => FamilySet::NONE,
            },
            add_path_send: match config.add_paths.send {
                0 => FamilySet::NONE,
                _ => families.intersection(add_path_families(&open, |theirs| theirs.receive)),
            },
            extended_messages,
            extended_next_hop,
            families,
            peer: if open.asn == config.local_asn {
                PeerKind::Internal
            } else {
                PeerKind::External
            },
        },
        peer_asn: open.asn,
        peer_router_id: open.identifier,
        hold_time,
        keepalive: keepalive_interval(config, hold_time),
        local_address,
        families,
        refresh,
        enhanced_refresh: config.enhanced_refresh && enhanced,
        long_lived: restart::offers_long_lived(&open),
        graceful: restart::negotiate(config, &open, families),
        offered: offer(config, own).capabilities,
        received: open.capabilities,
    })
}

/// KEEPALIVEs go out at least three times a hold time and at most once a second (RFC 4271 §4.4).
pub(super) fn keepalive_interval(config: &SessionConfig, hold_time: Duration) -> Duration {
    // RFC-DONE 4271 §4.4: KEEPALIVEs go out three times a hold time, and at most once a second.
    let third = hold_time / 3;
    if config.timers.keepalive.is_zero() {
        third
    } else {
        third.min(config.timers.keepalive)
    }
}

// RFC 4271 §6.2, RFC 7607 §2, RFC 6793 §4.2.1.
fn check_asn(config: &SessionConfig, open: &Open) -> Result<(), Refusal> {
    // RFC-DONE 4271 §6.2: A peer of another AS than the one configured is refused with 2/2.
    if config.allows(open.asn) {
        return Ok(());
    }
    let (peer, local, asn) = (config.peer_address, config.local_asn, open.asn);
    let words = match (asn, config.peer_asn) {
        (0, _) => format!("peer {peer} says AS 0, which is nobody's: correct the router's AS"),
        (AS_TRANS, _) => format!(
            "peer {peer} says AS 23456 (AS_TRANS), the stand-in for an AS number that its OPEN \
             does not tell: the router must offer the 4-octet AS capability"
        ),
        (_, PeerAsn::Number(expected)) => format!(
            "peer {peer} says AS {asn}, this neighbor is configured with peerASN {expected}: \
             correct peerASN or the router's AS"
        ),
        (_, PeerAsn::Internal) => format!(
            "peer {peer} says AS {asn}, this neighbor is configured with peerASN internal and \
             our AS is {local}: correct peerASN, localASN or the router's AS"
        ),
        (_, PeerAsn::External | PeerAsn::Any) => format!(
            "peer {peer} says AS {asn}, which is our own, and this neighbor is configured with \
             peerASN external: correct peerASN, localASN or the router's AS"
        ),
    };
    Err(refusal(code::open::BAD_PEER_AS, Bytes::new(), words))
}

// RFC 6286 §2.2: any non-zero value; equal to ours is an error only inside one AS.
fn check_identifier(config: &SessionConfig, open: &Open) -> Result<(), Refusal> {
    let peer = config.peer_address;
    let words = if open.identifier.is_unspecified() {
        format!("peer {peer} says BGP identifier 0.0.0.0: set a router id on the router")
    // RFC-DONE 6286 §2.2: The identifier that we have is refused inside our AS only.
    } else if open.asn == config.local_asn && open.identifier == config.router_id {
        format!(
            "peer {peer} says BGP identifier {}, which is ours: inside AS {} every router needs \
             its own; change routerID here or the router's id",
            open.identifier, open.asn
        )
    } else {
        return Ok(());
    };
    Err(refusal(code::open::BAD_IDENTIFIER, Bytes::new(), words))
}

/// Whether the peer's role fits ours.
// RFC-DONE 9234 §4.2: Roles that do not fit, several roles, and in strict mode none: refused with 2/11.
fn check_role(config: &SessionConfig, open: &Open) -> Result<(), Refusal> {
    // Roles are of external sessions; that this is one shows only now where any AS may connect.
    let Some(ours) = config.role.filter(|_| open.asn != config.local_asn) else {
        return Ok(());
    };
    let (peer, wanted) = (config.peer_address, ours.counterpart());
    let mend = format!(
        "set role {} there, or correct role here, which is {}",
        wanted.word(),
        ours.word()
    );
    let mut theirs: Vec<u8> = roles(&open.capabilities).collect();
    theirs.dedup();
    let words = match theirs[..] {
        [] if config.role_strict => {
            format!("peer {peer} tells no role, and roleStrict asks for one: {mend}")
        }
        [] => return Ok(()),
        [theirs] if theirs == wanted.code() => return Ok(()),
        [theirs] => {
            let known = Role::ALL.iter().find(|role| role.code() == theirs);
            let theirs = known.map_or_else(|| theirs.to_string(), |role| role.word().to_owned());
            format!("peer {peer} says that its role is {theirs}, which does not fit ours: {mend}")
        }
        _ => format!("peer {peer} tells several roles: {mend}"),
    };
    Err(refusal(code::open::ROLE_MISMATCH, Bytes::new(), words))
}

/// The roles that a peer's OPEN tells.
pub(super) fn roles(capabilities: &[Capability]) -> impl Iterator<Item = u8> {
    capabilities
        .iter()
        .filter_map(|capability| match capability {
            Capability::Role(role) => Some(*role),
            _ => None,
        })
}

// RFC 4271 §4.2, §6.2: 0, or at least 3 s; the session takes the smaller.
fn negotiate_hold_time(config: &SessionConfig, open: &Open) -> Result<Duration, Refusal> {
    let theirs = Duration::from_secs(u64::from(open.hold_time));
    let least = config.timers.min_hold.max(Duration::from_secs(3));
    // RFC-DONE 4271 §4.2: The smaller hold time counts; 0, or at least 3 s.
    if !theirs.is_zero() && theirs < least {
        let words = format!(
            "peer {} offers a hold time of {} s, the least taken here is {} s: raise the \
             router's hold time or lower minHoldTimeSeconds",
            config.peer_address,
            theirs.as_secs(),
            least.as_secs()
        );
        return Err(refusal(
            code::open::UNACCEPTABLE_HOLD_TIME,
            Bytes::new(),
            words,
        ));
    }
    Ok(theirs.min(Duration::from_secs(config.timers.hold.as_secs())))
}

// RFC 4760 §8; a peer that offers no multiprotocol capability speaks IPv4 unicast alone.
fn negotiate_families(config: &SessionConfig, open: &Open) -> Result<FamilySet, Refusal> {
    let mut any = false;
    let mut theirs = FamilySet::NONE;
    for capability in &open.capabilities {
        if let Capability::Multiprotocol { afi, safi } = capability {
            any = true;
            if let Some(family) = Family::from_afi_safi(*afi, *safi) {
                theirs.insert(family);
            }
        }
    }
    if !any {
        theirs.insert(Family::Ipv4Unicast);
    }
    // RFC-DONE 4760 §8: A family is exchanged where both sides offer it.
    // RFC-DONE 5492 §5: Without one in common: 2/7 with what we miss.
    let common = config.families.intersection(theirs);
    if !common.is_empty() {
        return Ok(common);
    }
    let words = format!(
        "peer {} and this neighbor have no address family in common (the peer offers {}, \
         families here are {}): activate one of ours on the router, or add one of its to families",
        config.peer_address,
        list(theirs),
        list(config.families)
    );
    let mut data = Vec::new();
    for family in config.families.iter() {
        data.extend_from_slice(&[1, 4]);
        data.extend_from_slice(&family.afi().to_be_bytes());
        data.extend_from_slice(&[0, family.safi()]);
    }
    Err(refusal(
        code::open::UNSUPPORTED_CAPABILITY,
        Bytes::from(data),
        words,
    ))
}

/// The families in which the peer's OPEN offers a direction of ADD-PATH; of a family that it names
/// twice the first counts.
// RFC-DONE 7911 §4: several paths go each way only where one side sends and the other receives.
fn add_path_families(open: &Open, direction: fn(&AddPath) -> bool) -> FamilySet {
    let mut known = FamilySet::NONE;
    let mut offered = FamilySet::NONE;
    for capability in &open.capabilities {
        let Capability::AddPath(tuples) = capability else {
            continue;
        };
        for tuple in tuples {
            let Some(family) = Family::from_afi_safi(tuple.afi, tuple.safi) else {
                continue;
            };
            if !known.contains(family) && direction(tuple) {
                offered.insert(family);
            }
            known.insert(family);
        }
    }
    offered
}

fn list(families: FamilySet) -> String {
    if families.is_empty() {
        return "none that ringbgp knows".to_owned();
    }
    let names: Vec<String> = families.iter().map(|family| family.to_string()).collect();
    names.join(", ")
}

fn refusal(subcode: u8, data: Bytes, words: String) -> Refusal {
    Refusal {
        notification: Notification {
            code: code::OPEN,
            subcode,
            data,
        },
        words,
    }
}
