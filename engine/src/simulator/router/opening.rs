//! How a router opens a session: what it offers, what it makes of the node's OPEN, and which of two
//! connections stays.

use std::time::Duration;

use codec::{
    AddPath, Capability, ExtendedNextHop, Family, FamilySet, GracefulRestartFamily,
    LongLivedFamily, Notification, Open, PeerKind, WireFormat,
};

use super::{NodeRestarts, Phase, Router};
use crate::config::Capabilities;
use crate::simulator::network::{End, LinkId, Network};
use crate::time::Time;

impl Router {
    pub(super) fn open(&self) -> Open {
        let families = self.spec.families.iter();
        let mut capabilities: Vec<Capability> = families
            .map(|family| Capability::Multiprotocol {
                afi: family.afi(),
                safi: family.safi(),
            })
            .collect();
        capabilities.push(Capability::RouteRefresh);
        if self.spec.enhanced_refresh {
            capabilities.push(Capability::EnhancedRouteRefresh);
        }
        if let Some(graceful) = self.spec.graceful {
            let families = self.spec.families.iter();
            capabilities.push(Capability::GracefulRestart {
                restarting: self.restarted,
                notification: graceful.notification,
                restart_time: graceful.restart_time,
                families: families
                    .map(|family| GracefulRestartFamily {
                        afi: family.afi(),
                        safi: family.safi(),
                        forwarding: self.restarted && graceful.preserves,
                    })
                    .collect(),
            });
            if let Some(stale_time) = graceful.long_lived {
                let families = self.spec.families.iter();
                let long_lived = families.map(|family| LongLivedFamily {
                    afi: family.afi(),
                    safi: family.safi(),
                    forwarding: self.restarted && graceful.preserves,
                    stale_time,
                });
                capabilities.push(Capability::LongLivedGracefulRestart(long_lived.collect()));
            }
        }
        capabilities.extend(self.spec.role.map(|role| Capability::Role(role.code())));
        if self.spec.capabilities.extended_messages {
            capabilities.push(Capability::ExtendedMessages);
        }
        if self.spec.capabilities.extended_next_hop {
            capabilities.push(ipv4_over_ipv6());
        }
        if self.spec.four_octet_as {
            capabilities.push(Capability::FourOctetAs(self.spec.asn));
        }
        if self.spec.add_path_send || self.spec.add_path_receive {
            let families = self.spec.families.iter();
            let offers = families.map(|family| AddPath {
                afi: family.afi(),
                safi: family.safi(),
                receive: self.spec.add_path_receive,
                send: self.spec.add_path_send,
            });
            capabilities.push(Capability::AddPath(offers.collect()));
        }
        Open {
            version: 4,
            asn: self.spec.asn,
            hold_time: self.spec.hold_time,
            identifier: self.spec.router_id,
            capabilities,
        }
    }

    pub(super) fn on_open(
        &mut self,
        now: Time,
        link: LinkId,
        open: &Open,
        net: &mut Network,
    ) -> Result<(), String> {
        let spec = self.spec.clone();
        let mut families = FamilySet::NONE;
        let (mut four_octet_as, mut enhanced_refresh) = (false, false);
        let mut restarts = NodeRestarts::default();
        let [mut sends, mut receives] = [FamilySet::NONE; 2];
        let mut theirs = Capabilities {
            extended_messages: false,
            extended_next_hop: false,
        };
        for capability in &open.capabilities {
            match capability {
                Capability::Multiprotocol { afi, safi } => {
                    if let Some(family) = Family::from_afi_safi(*afi, *safi) {
                        families.insert(family);
                    }
                }
                Capability::FourOctetAs(asn) if *asn == open.asn => four_octet_as = true,
                Capability::EnhancedRouteRefresh => enhanced_refresh = true,
                Capability::AddPath(offers) => {
                    for offer in offers {
                        let Some(family) = Family::from_afi_safi(offer.afi, offer.safi) else {
                            return Err(format!("the engine offers {offer:?}"));
                        };
                        if offer.send {
                            sends.insert(family);
                        }
                        if offer.receive {
                            receives.insert(family);
                        }
                    }
                }
                Capability::GracefulRestart {
                    restarting,
                    restart_time,
                    families,
                    ..
                } if spec.graceful.is_some() => {
                    if *restarting && families.is_empty() {
                        return Err("the engine restarted, and asks nobody to wait".to_owned());
                    }
                    #[cfg(test)]
                    {
                        restarts.restarted = *restarting;
                    }
                    restarts.time = Duration::from_secs(u64::from(*restart_time));
                    for entry in families {
                        let Some(family) = Family::from_afi_safi(entry.afi, entry.safi) else {
                            return Err(format!("the engine restarts {entry:?}"));
                        };
                        restarts.families.insert(family);
                        if entry.forwarding {
                            restarts.forwarding.insert(family);
                        }
                    }
                }
                Capability::GracefulRestart { .. } => {}
                Capability::LongLivedGracefulRestart(_) => {}
                Capability::RouteRefresh | Capability::Fqdn { .. } => {}
                Capability::Role(role) => {
                    let wanted = spec.role.map(|role| role.counterpart().code());
                    if wanted.is_some_and(|wanted| wanted != *role) {
                        return Err(format!("the engine says that its role is {role}"));
                    }
                }
                Capability::ExtendedMessages => theirs.extended_messages = true,
                other if *other == ipv4_over_ipv6() => theirs.extended_next_hop = true,
                other => return Err(format!("the engine offers {other:?}, which it does not do")),
            }
        }
        if open.asn != spec.node_asn {
            return Err(format!(
                "the engine says AS {}, not {}",
                open.asn, spec.node_asn
            ));
        }
        let Some(connection) = self.connection(link) else {
            return Ok(());
        };
        let hold_time = u64::from(open.hold_time.min(spec.hold_time));
        connection.hold_time = Duration::from_secs(hold_time);
        if hold_time > 0 {
            connection.expires = now + connection.hold_time;
            connection.keepalive_at = now + connection.hold_time / 3;
        }
        connection.peer_id = open.identifier;
        connection.node_restarts = restarts;
        connection.enhanced_refresh = enhanced_refresh && spec.enhanced_refresh;
        let families = families.intersection(spec.families);
        let both = |ours: bool, theirs: FamilySet| match ours {
            true => families.intersection(theirs),
            false => FamilySet::NONE,
        };
        connection.format = WireFormat {
            four_octet_as: four_octet_as && spec.four_octet_as,
            add_path_receive: both(spec.add_path_receive, sends),
            add_path_send: both(spec.add_path_send, receives),
            families,
            extended_messages: theirs.extended_messages && spec.capabilities.extended_messages,
            extended_next_hop: theirs.extended_next_hop && spec.capabilities.extended_next_hop,
            peer: match open.asn == spec.asn {
                true => PeerKind::Internal,
                false => PeerKind::External,
            },
        };
        if connection.format.families.is_empty() {
            connection.end_with(now, &Notification::new(2, 7), net);
            return Ok(());
        }
        connection.phase = Phase::OpenConfirm;
        codec::encode_keepalive(&mut connection.outbox);
        connection.push(now, net);
        self.resolve_collision(now, link, open, net);
        Ok(())
    }

    /// RFC 4271 §6.8 and RFC 6286 §2.3, from the text.
    fn resolve_collision(&mut self, now: Time, link: LinkId, open: &Open, net: &mut Network) {
        let ours = (u32::from(self.spec.router_id), self.spec.asn);
        let theirs = (u32::from(open.identifier), open.asn);
        let keep = if ours > theirs {
            End::Dialer
        } else {
            End::Acceptor
        };
        let other = self
            .connections
            .iter()
            .find(|c| c.link != link && !c.ending && c.phase >= Phase::OpenConfirm);
        let loser = match other {
            None => return,
            Some(other) if other.phase == Phase::Established => link,
            Some(other) if other.end == keep => link,
            Some(other) => other.link,
        };
        if let Some(loser) = self.connection(loser) {
            loser.end_with(now, &Notification::cease(7), net);
        }
    }
}

/// IPv4 routes with IPv6 next hops (RFC 8950 §4).
fn ipv4_over_ipv6() -> Capability {
    Capability::ExtendedNextHop(vec![ExtendedNextHop {
        afi: 1,
        safi: 1,
        next_hop_afi: 2,
    }])
}
