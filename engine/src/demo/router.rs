//! The demo's external router: a second engine whose manifest is derived from what the node's
//! manifests say of their neighbor.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use crate::config::{DesiredState, Neighbor, Password, PeerAsn};

/// The router that the node's manifests expect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Router {
    /// Where the router listens.
    pub(crate) address: SocketAddr,
    /// The router's AS.
    pub(crate) asn: u32,
    /// Where the node connects from.
    pub(crate) node_address: IpAddr,
    /// The node's AS.
    pub(crate) node_asn: u32,
}

impl Router {
    /// The router in the place of the first neighbor on a loopback address.
    ///
    /// # Errors
    /// There is none, or it asks for what the demo's router does not do.
    pub(crate) fn of(desired: &DesiredState) -> Result<Router, String> {
        let instances = desired.instances.values();
        let mut neighbors = instances.flat_map(|instance| instance.neighbors.values());
        let Some(neighbor) = neighbors.find(|neighbor| neighbor.address.ip().is_loopback()) else {
            return Err(
                "the demo's router stands in for a neighbor on a loopback address, and the \
                 manifests name none; see examples/quickstart"
                    .to_owned(),
            );
        };
        if neighbor.password != Password::None {
            return Err(format!(
                "the demo's router has no password; take it from neighbor {}",
                neighbor.address
            ));
        }
        Ok(Router {
            address: SocketAddr::new(neighbor.address.ip(), neighbor.port),
            asn: router_asn(neighbor),
            node_address: neighbor
                .local_address
                .unwrap_or(match neighbor.address.ip() {
                    IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
                    IpAddr::V6(address) => IpAddr::V6(address),
                }),
            node_asn: neighbor.local_asn,
        })
    }

    /// Looks whether the router can listen: another demo may be running.
    ///
    /// # Errors
    /// One sentence with the mend.
    pub(crate) fn look_for_room(&self) -> Result<(), String> {
        match TcpListener::bind(self.address) {
            Ok(_) => Ok(()),
            Err(error) => Err(format!(
                "the router cannot listen on {}: {error}; end what does, or change peerAddress or \
                 peerPort in a copy of the manifests and name it with --manifests",
                self.address
            )),
        }
    }

    /// What the router's engine reads.
    pub(crate) fn manifest(&self) -> String {
        format!(
            "apiVersion: cilium.io/v2alpha1
kind: CiliumConfig
metadata: {{name: cilium-config}}
spec:
  bgpPeering:
    listenAddresses: [\"{}\"]
    listenPort: {}
    routerID: {ROUTER_ID}
    localASN: {}
    advertise: {{networkPolicies: \"Off\", podCIDRs: \"Off\"}}
    neighbors:
      - peerAddress: \"{}\"
        peerASN: any
        passive: true
        import: all
        export: none
",
            self.address.ip(),
            self.address.port(),
            self.asn,
            self.node_address
        )
    }
}

fn router_asn(neighbor: &Neighbor) -> u32 {
    match neighbor.peer_asn {
        PeerAsn::Number(asn) => asn,
        PeerAsn::Internal | PeerAsn::Any => neighbor.local_asn,
        PeerAsn::External if neighbor.local_asn == EXTERNAL_ASN => EXTERNAL_ASN + 1,
        PeerAsn::External => EXTERNAL_ASN,
    }
}

/// From the addresses for documentation (RFC 5737): surely not the node's.
const ROUTER_ID: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// From the AS numbers for documentation (RFC 5398), where the node does not care.
const EXTERNAL_ASN: u32 = 64496;
