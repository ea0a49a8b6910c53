//! A route as a plain value: how simulated routers keep it and how the oracle expects it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use codec::{AsPath, AttributeSet, AttributeWriter, Family, IpPrefix, Origin, WireFormat};

/// Routes by prefix and path identifier (RFC 7911); without ADD-PATH the identifier is 0.
pub(super) type Table = BTreeMap<(IpPrefix, u32), Route>;

/// What a route says of itself. AS_PATHs here are one AS_SEQUENCE.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Route {
    pub(super) origin: u8,
    pub(super) as_path: Vec<u32>,
    pub(super) next_hop: IpAddr,
    pub(super) med: Option<u32>,
    pub(super) local_pref: Option<u32>,
    pub(super) communities: Vec<u32>,
    pub(super) large_communities: Vec<[u32; 3]>,
    pub(super) originator_id: Option<Ipv4Addr>,
    pub(super) cluster_list: Vec<Ipv4Addr>,
    pub(super) otc: Option<u32>,
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "via {} path {:?} origin {}",
            self.next_hop, self.as_path, self.origin
        )?;
        if let Some(med) = self.med {
            write!(f, " med {med}")?;
        }
        if let Some(local_pref) = self.local_pref {
            write!(f, " local-pref {local_pref}")?;
        }
        if !self.communities.is_empty() {
            write!(f, " communities {:x?}", self.communities)?;
        }
        if let Some(otc) = self.otc {
            write!(f, " otc {otc}")?;
        }
        if let Some(originator) = self.originator_id {
            write!(
                f,
                " originator {originator} clusters {:?}",
                self.cluster_list
            )?;
        }
        match self.large_communities.as_slice() {
            [] => Ok(()),
            [first] => write!(f, " large {first:?}"),
            [first, .., last] => write!(f, " large {first:?} to {last:?}"),
        }
    }
}

impl Route {
    /// Reads the canonical attributes of a received route.
    pub(super) fn read(canonical: &[u8]) -> Result<Route, String> {
        let set = AttributeSet::new(canonical);
        let next_hop = set.next_hop().ok_or("a route without next hop")?;
        let origin = set.origin().ok_or("a route without ORIGIN")?;
        Ok(Route {
            origin: origin as u8,
            as_path: set.as_path().asns().collect(),
            next_hop: next_hop.address(),
            med: set.med(),
            local_pref: set.local_pref(),
            communities: set.communities().collect(),
            large_communities: set.large_communities().collect(),
            originator_id: set.originator_id(),
            cluster_list: set.cluster_list().collect(),
            otc: set.otc(),
        })
    }

    /// The route as a router says it of a prefix of `family`: with an IPv6 next hop of an IPv4 route
    /// only where that was negotiated, else with the address that is given; not at all, where no
    /// message can hold it.
    pub(super) fn said(
        &self,
        family: Family,
        format: &WireFormat,
        address_ipv4: Ipv4Addr,
    ) -> Option<Route> {
        let mut said = self.clone();
        let ipv6 = matches!(said.next_hop, IpAddr::V6(_));
        if family == Family::Ipv4Unicast && ipv6 && !format.extended_next_hop {
            said.next_hop = IpAddr::V4(address_ipv4);
        }
        let has_id = format.add_path_send.contains(family);
        (!said.is_long(format, has_id) || format.extended_messages).then_some(said)
    }

    /// Whether it takes more than 4,096 octets to announce the route of one prefix of any length, with
    /// an identifier or without.
    pub(super) fn is_long(&self, format: &WireFormat, has_id: bool) -> bool {
        let longest_prefix = if has_id { 4 + 17 } else { 17 };
        // The header and two lengths; MP_REACH_NLRI has a header, a family, two more octets and a
        // next hop.
        let around = match self.next_hop {
            IpAddr::V4(_) => 19 + 4,
            IpAddr::V6(_) => 19 + 4 + 4 + 3 + 2 + 16,
        };
        around + self.write(format).len() + longest_prefix > codec::MAX_LEN
    }

    /// The attributes as they stand in an UPDATE, without MP_REACH_NLRI.
    pub(super) fn write(&self, format: &WireFormat) -> Vec<u8> {
        let mut segment = Vec::new();
        if !self.as_path.is_empty() {
            segment.push(2);
            segment.push(u8::try_from(self.as_path.len()).unwrap_or(u8::MAX));
            for asn in &self.as_path {
                segment.extend_from_slice(&asn.to_be_bytes());
            }
        }
        let path = AsPath::new(&segment);
        let mut out = Vec::new();
        let mut writer = AttributeWriter::new(&mut out);
        writer.origin(Origin::from_octet(self.origin).unwrap_or(Origin::Incomplete));
        writer.as_path(&path, &[], format.four_octet_as);
        if let IpAddr::V4(next_hop) = self.next_hop {
            writer.next_hop(next_hop);
        }
        if let Some(med) = self.med {
            writer.med(med);
        }
        if let Some(local_pref) = self.local_pref {
            writer.local_pref(local_pref);
        }
        if !self.communities.is_empty() {
            writer.communities(&self.communities);
        }
        if let Some(originator) = self.originator_id {
            writer.originator_id(originator);
        }
        if !self.cluster_list.is_empty() {
            writer.cluster_list(&self.cluster_list);
        }
        if !format.four_octet_as {
            writer.as4_path(&path, &[]);
        }
        if !self.large_communities.is_empty() {
            writer.large_communities(&self.large_communities);
        }
        if let Some(otc) = self.otc {
            writer.otc(otc);
        }
        out
    }
}
