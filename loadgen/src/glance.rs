//! An UPDATE at a glance: where its NLRI are, and the few attributes that receivers look at.
//!
//! What receivers read in a timed run. Every prefix is decoded, attributes are only stepped over:
//! judging them is the business of `codec::parse_update`, which `--verify` runs use.

use std::net::Ipv4Addr;

use codec::{AsPath, Family, Nlri, code};

/// The parts of an UPDATE's body that receivers count.
pub(crate) struct Glance<'a> {
    /// The Withdrawn Routes field.
    pub(crate) withdrawn: Nlri<'a>,
    /// The NLRI field.
    pub(crate) announced: Nlri<'a>,
    /// What MP_UNREACH_NLRI withdraws.
    pub(crate) mp_withdrawn: Option<Nlri<'a>>,
    /// What MP_REACH_NLRI announces.
    pub(crate) mp_announced: Option<Nlri<'a>>,
    /// The value of AS_PATH.
    as_path: &'a [u8],
    /// The value of COMMUNITIES.
    communities: &'a [u8],
    /// The value of ORIGINATOR_ID.
    originator_id: &'a [u8],
    /// The family whose End-of-RIB marker this is (RFC 4724 §2).
    pub(crate) end_of_rib: Option<Family>,
}

impl<'a> Glance<'a> {
    /// `None` if lengths do not add up.
    pub(crate) fn at(body: &'a [u8]) -> Option<Glance<'a>> {
        let (withdrawn, rest) = u16_prefixed(body)?;
        let (mut attributes, announced) = u16_prefixed(rest)?;
        let nlri = |octets| Nlri::new(octets, Family::Ipv4Unicast, false);
        let mut glance = Glance {
            withdrawn: nlri(withdrawn)?,
            announced: nlri(announced)?,
            mp_withdrawn: None,
            mp_announced: None,
            as_path: &[],
            communities: &[],
            originator_id: &[],
            end_of_rib: None,
        };
        let silent = withdrawn.is_empty() && announced.is_empty();
        if silent && attributes.is_empty() {
            glance.end_of_rib = Some(Family::Ipv4Unicast);
        }
        while !attributes.is_empty() {
            let (code, value, rest) = attribute(attributes)?;
            match code {
                code::MP_REACH_NLRI => glance.mp_announced = reach(value)?,
                code::MP_UNREACH_NLRI => {
                    let (family, octets) = family(value)?;
                    glance.mp_withdrawn = mp_nlri(family, octets)?;
                    let alone = silent && rest.is_empty() && glance.mp_announced.is_none();
                    if alone && octets.is_empty() {
                        glance.end_of_rib = family;
                    }
                }
                code::AS_PATH => glance.as_path = value,
                code::COMMUNITIES => glance.communities = value,
                code::ORIGINATOR_ID => glance.originator_id = value,
                _ => {}
            }
            attributes = rest;
        }
        Some(glance)
    }

    /// Whether there is a community at all.
    pub(crate) fn has_communities(&self) -> bool {
        !self.communities.is_empty()
    }

    /// The communities.
    pub(crate) fn communities(&self) -> impl Iterator<Item = u32> + use<'a> {
        let chunks = self.communities.as_chunks::<4>().0;
        chunks.iter().map(|octets| u32::from_be_bytes(*octets))
    }

    /// Whether the routes went through this AS, or came from this router (RFC 4271 §9.1.2, RFC 4456
    /// §8): a router that is told its own routes refuses them.
    pub(crate) fn is_loop(&self, asn: u32, router_id: Ipv4Addr) -> bool {
        self.originator_id == router_id.octets() || AsPath::new(self.as_path).contains(asn)
    }
}

/// The code and value of the first attribute, and what follows it.
#[inline]
fn attribute(octets: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let [flags, code, low, ..] = octets else {
        return None;
    };
    let (length, header) = if flags & codec::flags::EXTENDED_LENGTH == 0 {
        (usize::from(*low), 3)
    } else {
        (usize::from(u16::from_be_bytes([*low, *octets.get(3)?])), 4)
    };
    let (value, rest) = octets.get(header..)?.split_at_checked(length)?;
    Some((*code, value, rest))
}

fn reach(value: &[u8]) -> Option<Option<Nlri<'_>>> {
    let (family, rest) = family(value)?;
    let (next_hop_length, rest) = rest.split_first()?;
    // The next hop, and an octet that is reserved.
    let octets = rest.get(usize::from(*next_hop_length) + 1..)?;
    mp_nlri(family, octets)
}

fn family(value: &[u8]) -> Option<(Option<Family>, &[u8])> {
    let ([high, low, safi], rest) = value.split_first_chunk::<3>()?;
    let afi = u16::from_be_bytes([*high, *low]);
    Some((Family::from_afi_safi(afi, *safi), rest))
}

/// NLRI of a family that nobody here speaks are passed over.
fn mp_nlri(family: Option<Family>, octets: &[u8]) -> Option<Option<Nlri<'_>>> {
    match family {
        Some(family) => Nlri::new(octets, family, false).map(Some),
        None => Some(None),
    }
}

#[inline]
fn u16_prefixed(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = octets.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use codec::{HEADER_LEN, IpPrefix, Ipv4Prefix, Ipv6Prefix, NextHop, Prefix};

    use super::*;
    use crate::script::Script;

    fn glance(message: &[u8]) -> Glance<'_> {
        Glance::at(&message[HEADER_LEN..]).expect("a glance")
    }

    #[test]
    fn sees_what_scripts_say() {
        let v4: IpPrefix = Ipv4Prefix::masked([192, 0, 2, 0].into(), 24).erase();
        let v6: IpPrefix = Ipv6Prefix::masked(Ipv6Addr::LOCALHOST, 128).erase();
        let communities = [0xc0, code::COMMUNITIES, 4, 1, 2, 3, 4];
        for (family, prefix) in [(Family::Ipv4Unicast, v4), (Family::Ipv6Unicast, v6)] {
            let next_hop = NextHop::V6(Ipv6Addr::LOCALHOST);
            let mut script = Script::new(family);
            script.announce(&communities, &next_hop, [prefix]);
            script.cut();
            script.withdraw([prefix]);
            script.cut();
            script.end_of_rib();
            let said = script.finish();

            let announce = glance(&said[0]);
            let nlri = announce.mp_announced.unwrap_or(announce.announced);
            assert_eq!(nlri.iter().collect::<Vec<_>>(), [(0, prefix)]);
            assert_eq!(announce.communities().collect::<Vec<_>>(), [0x0102_0304]);
            let withdraw = glance(&said[1]);
            let nlri = withdraw.mp_withdrawn.unwrap_or(withdraw.withdrawn);
            assert_eq!(nlri.iter().collect::<Vec<_>>(), [(0, prefix)]);
            assert_eq!(withdraw.end_of_rib, None);
            assert_eq!(glance(&said[2]).end_of_rib, Some(family));
        }
    }

    #[test]
    fn what_is_cut_short_is_no_glance() {
        let v4 = Ipv4Prefix::masked([192, 0, 2, 0].into(), 24).erase();
        let mut script = Script::new(Family::Ipv6Unicast);
        let v6 = Ipv6Prefix::masked(Ipv6Addr::LOCALHOST, 128).erase();
        script.announce(&[], &NextHop::V6(Ipv6Addr::LOCALHOST), [v6]);
        let mut plain = Script::new(Family::Ipv4Unicast);
        plain.announce(&[0xc0, 8, 4, 1, 2, 3, 4], &NextHop::V4([1; 4].into()), [v4]);
        for said in [script.finish(), plain.finish()] {
            let body = &said[0][HEADER_LEN..];
            for end in 0..body.len() {
                let _ = Glance::at(&body[..end]);
            }
            assert!(Glance::at(&body[..5]).is_none());
        }
    }
}
