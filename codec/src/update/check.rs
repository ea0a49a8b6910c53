//! The walk over an attribute block that decides what each attribute is worth.
//!
//! RFC 7606 §3 to §7 in code: [`verdict`] judges one attribute by itself, [`Scan`] what only the
//! whole block shows: overruns, second copies, missing attributes, and faults in messages that
//! announce nothing.

use std::net::{IpAddr, Ipv4Addr};

use smallvec::SmallVec;

use super::{AttributeFault, CodeSet, FaultAction, MpReach, MpUnreach, canonical, fault};
use crate::as_path::{AsPath, Width};
use crate::attribute::{Origin, RawAttribute, code, expected_flags, flags};
use crate::message::{PeerKind, WireFormat};
use crate::nlri::{NextHop, Nlri};
use crate::notification::{Notification, update};
use crate::prefix::Family;
use crate::wire::Reader;

/// What a walk over an attribute block found.
#[derive(Debug)]
pub(super) struct Scan<'a> {
    pub(super) reach: Option<MpReach<'a>>,
    pub(super) unreach: Option<MpUnreach<'a>>,
    pub(super) ignored_family: Option<(u16, u8)>,
    pub(super) faults: SmallVec<[AttributeFault; 1]>,
    /// Codes that [`Attributes`](super::Attributes) does not show.
    pub(super) dropped: CodeSet,
    /// The block is its own canonical form.
    pub(super) normal: bool,
    /// MP_UNREACH_NLRI is the only attribute.
    pub(super) only_unreach: bool,
    seen: CodeSet,
    last_code: u8,
    /// MP_REACH_NLRI announces something, of whatever family.
    reachable: bool,
}

impl<'a> Scan<'a> {
    /// Walks `block`; `plain` tells whether the message has an NLRI field.
    pub(super) fn attributes(
        block: &'a [u8],
        format: &WireFormat,
        plain: bool,
    ) -> Result<Scan<'a>, Notification> {
        let mut dropped = CodeSet::default();
        dropped.insert(code::MP_REACH_NLRI);
        dropped.insert(code::MP_UNREACH_NLRI);
        let mut scan = Scan {
            reach: None,
            unreach: None,
            ignored_family: None,
            faults: SmallVec::new(),
            dropped,
            normal: format.four_octet_as,
            only_unreach: !block.is_empty(),
            seen: CodeSet::default(),
            last_code: 0,
            reachable: false,
        };
        let mut reader = Reader::new(block);
        while !reader.is_empty() {
            let rest = reader.rest();
            match RawAttribute::read(&mut reader) {
                Some(attribute) => scan.attribute(&attribute, format, plain)?,
                None => {
                    scan.overrun(rest)?;
                    break;
                }
            }
        }
        scan.missing(plain);
        scan.blameless(block, plain)?;
        Ok(scan)
    }

    pub(super) fn has_fault(&self, action: FaultAction) -> bool {
        self.faults.iter().any(|fault| fault.action == action)
    }

    fn attribute(
        &mut self,
        attribute: &RawAttribute<'a>,
        format: &WireFormat,
        plain: bool,
    ) -> Result<(), Notification> {
        let code = attribute.code;
        self.only_unreach &= code == code::MP_UNREACH_NLRI;
        // RFC-DONE 7606 §3: Second copies, flags, missing attributes, and which action wins.
        if !self.seen.insert(code) {
            self.normal = false;
            // RFC 7606 §3 g.
            if matches!(code, code::MP_REACH_NLRI | code::MP_UNREACH_NLRI) {
                return Err(fault(update::MALFORMED_ATTRIBUTE_LIST));
            }
            self.faults.push(AttributeFault {
                code,
                action: FaultAction::AttributeDiscard,
                words: "present more than once; the first is kept",
                subcode: update::MALFORMED_ATTRIBUTE_LIST,
            });
            return Ok(());
        }
        self.normal &= code > self.last_code && canonical::is_normal(attribute);
        self.last_code = code;

        match code {
            code::MP_REACH_NLRI => return self.mp_reach(attribute, format),
            code::MP_UNREACH_NLRI => return self.mp_unreach(attribute, format),
            _ => {}
        }
        let verdict = match verdict(attribute, format, plain) {
            Verdict::Sound => return Ok(()),
            Verdict::Reset(subcode) => return Err(with_attribute(fault(subcode), attribute)),
            Verdict::Discard(subcode, words) => {
                self.dropped.insert(code);
                (FaultAction::AttributeDiscard, subcode, words)
            }
            Verdict::Withdraw(subcode, words) => (FaultAction::TreatAsWithdraw, subcode, words),
        };
        let (action, subcode, words) = verdict;
        self.normal = false;
        self.faults.push(AttributeFault {
            code,
            action,
            words,
            subcode,
        });
        Ok(())
    }

    /// RFC 7606 §4: the NLRI field is found by the total length; the rest of the block is lost.
    fn overrun(&mut self, rest: &[u8]) -> Result<(), Notification> {
        // RFC-DONE 7606 §4: Where an attribute overruns, the total length finds the prefixes; withdrawn.
        let code = rest.get(1).copied().unwrap_or(0);
        if matches!(code, code::MP_REACH_NLRI | code::MP_UNREACH_NLRI) {
            return Err(fault(update::ATTRIBUTE_LENGTH).with_data(rest));
        }
        self.normal = false;
        self.only_unreach = false;
        self.withdraw(
            code,
            update::ATTRIBUTE_LENGTH,
            "overruns the attribute block",
        );
        Ok(())
    }

    /// RFC 4760 §3, RFC 7606 §5.3 and §7.11: what does not parse costs the session.
    fn mp_reach(
        &mut self,
        attribute: &RawAttribute<'a>,
        format: &WireFormat,
    ) -> Result<(), Notification> {
        self.normal = false;
        let malformed = || with_attribute(fault(update::OPTIONAL_ATTRIBUTE), attribute);
        mp_flags(attribute)?;
        let mut reader = Reader::new(attribute.value);
        let fields = (|| {
            let (afi, safi) = (reader.u16()?, reader.u8()?);
            let next_hop = reader.u8_prefixed()?;
            let _reserved = reader.u8()?;
            Some((afi, safi, next_hop))
        })();
        // RFC-DONE 4760 §3: MP_REACH_NLRI: family, next hop by its length, a reserved octet, prefixes.
        let (afi, safi, next_hop) = fields.ok_or_else(malformed)?;
        let nlri = reader.rest();
        self.reachable = !nlri.is_empty();
        let Some(family) = negotiated(afi, safi, format) else {
            self.ignored_family = Some((afi, safi));
            return Ok(());
        };

        // RFC-DONE 2545 §3: An IPv6 next hop has 16 octets, or 32 with a link-local address.
        // RFC-DONE 8950 §3: So has that of an IPv4 route, where it was negotiated.
        let next_hop = NextHop::parse(next_hop)
            .filter(|next_hop| fits(next_hop, family, format))
            .ok_or_else(malformed)?;
        // RFC-DONE 7606 §5.3: Prefixes that do not parse reset the session.
        let nlri = Nlri::new(nlri, family, format.add_path_receive.contains(family))
            .ok_or_else(malformed)?;
        if !nlri.is_empty() && !is_host(next_hop.address()) {
            self.withdraw(
                code::MP_REACH_NLRI,
                update::INVALID_NEXT_HOP,
                "the next hop is not a host address",
            );
        }
        self.reach = Some(MpReach { next_hop, nlri });
        Ok(())
    }

    /// RFC 4760 §4, RFC 7606 §5.3.
    fn mp_unreach(
        &mut self,
        attribute: &RawAttribute<'a>,
        format: &WireFormat,
    ) -> Result<(), Notification> {
        self.normal = false;
        let malformed = || with_attribute(fault(update::OPTIONAL_ATTRIBUTE), attribute);
        mp_flags(attribute)?;
        let mut reader = Reader::new(attribute.value);
        let fields = (|| Some((reader.u16()?, reader.u8()?)))();
        // RFC-DONE 4760 §4: MP_UNREACH_NLRI: family and prefixes.
        let (afi, safi) = fields.ok_or_else(malformed)?;
        let Some(family) = negotiated(afi, safi, format) else {
            self.ignored_family = Some((afi, safi));
            return Ok(());
        };
        let add_path = format.add_path_receive.contains(family);
        let nlri = Nlri::new(reader.rest(), family, add_path).ok_or_else(malformed)?;
        self.unreach = Some(MpUnreach { nlri });
        Ok(())
    }

    /// RFC 7606 §3 d. LOCAL_PREF is not mandatory: without it, its default counts.
    fn missing(&mut self, plain: bool) {
        let mut require = |code, wanted: bool| {
            if wanted && !self.seen.contains(code) {
                self.faults.push(AttributeFault {
                    code,
                    action: FaultAction::TreatAsWithdraw,
                    words: "is missing",
                    subcode: update::MISSING_WELL_KNOWN,
                });
            }
        };
        require(code::ORIGIN, plain || self.reachable);
        require(code::AS_PATH, plain || self.reachable);
        require(code::NEXT_HOP, plain);
    }

    /// RFC 7606 §5.2: where nothing is announced, a fault may hide what was, and there is nothing
    /// to withdraw in its place.
    fn blameless(&self, block: &[u8], plain: bool) -> Result<(), Notification> {
        // RFC-DONE 7606 §5.2: Without a route to take the blame, what is worse than discard resets.
        if plain || self.reachable {
            return Ok(());
        }
        let worst = self
            .faults
            .iter()
            .find(|fault| fault.action == FaultAction::TreatAsWithdraw);
        let Some(worst) = worst else {
            return Ok(());
        };
        let notification = fault(worst.subcode);
        let attribute = super::RawAttributes(Reader::new(block)).find(|a| a.code == worst.code);
        Err(match attribute {
            Some(attribute) => with_attribute(notification, &attribute),
            None => notification,
        })
    }

    fn withdraw(&mut self, code: u8, subcode: u8, words: &'static str) {
        self.faults.push(AttributeFault {
            code,
            action: FaultAction::TreatAsWithdraw,
            words,
            subcode,
        });
    }
}

/// What one attribute is worth by itself: NOTIFICATION subcode and words.
enum Verdict {
    Sound,
    Discard(u8, &'static str),
    Withdraw(u8, &'static str),
    Reset(u8),
}

fn verdict(attribute: &RawAttribute<'_>, format: &WireFormat, plain: bool) -> Verdict {
    use update::{ATTRIBUTE_FLAGS, MALFORMED_ATTRIBUTE_LIST, UNRECOGNIZED_WELL_KNOWN};

    let code = attribute.code;
    let Some(expected) = expected_flags(code) else {
        // RFC 4271 §6.3: nobody may be ignorant of a well-known attribute.
        return if attribute.flags & flags::OPTIONAL == 0 {
            Verdict::Reset(UNRECOGNIZED_WELL_KNOWN)
        } else {
            Verdict::Sound
        };
    };
    // RFC-DONE 7606 §7: Each attribute is judged by its own rule: discarded, or its routes withdrawn.
    let external = format.peer == PeerKind::External;
    match code {
        // RFC 7606 §7.5, §7.9, §7.10: whatever their shape. RFC 8669 §5 for the Prefix-SID.
        code::LOCAL_PREF | code::ORIGINATOR_ID | code::CLUSTER_LIST | code::PREFIX_SID
            if external =>
        {
            return Verdict::Discard(MALFORMED_ATTRIBUTE_LIST, "from an external peer");
        }
        // RFC 6793 §4.1.
        code::AS4_PATH | code::AS4_AGGREGATOR if format.four_octet_as => {
            return Verdict::Discard(MALFORMED_ATTRIBUTE_LIST, "from a four-octet AS speaker");
        }
        _ => {}
    }
    // RFC 7606 §3 c. Partial and the unused bits are no fault.
    if (attribute.flags ^ expected) & (flags::OPTIONAL | flags::TRANSITIVE) != 0 {
        let words = "wrong Optional or Transitive flag";
        return if discarded_when_malformed(code) {
            Verdict::Discard(ATTRIBUTE_FLAGS, words)
        } else {
            Verdict::Withdraw(ATTRIBUTE_FLAGS, words)
        };
    }
    match value_fault(attribute, format, plain) {
        None => Verdict::Sound,
        Some((subcode, words)) if discarded_when_malformed(code) => {
            Verdict::Discard(subcode, words)
        }
        Some((subcode, words)) => Verdict::Withdraw(subcode, words),
    }
}

/// RFC 7606 §7.6 and §7.7, RFC 6793 §6, RFC 7311 §3.1, RFC 8669 §6.
fn discarded_when_malformed(code: u8) -> bool {
    matches!(
        code,
        code::ATOMIC_AGGREGATE
            | code::AGGREGATOR
            | code::AS4_PATH
            | code::AS4_AGGREGATOR
            | code::AIGP
            | code::PREFIX_SID
    )
}

/// What is wrong with the value of a known attribute: NOTIFICATION subcode and words.
fn value_fault(
    attribute: &RawAttribute<'_>,
    format: &WireFormat,
    plain: bool,
) -> Option<(u8, &'static str)> {
    use update::{ATTRIBUTE_LENGTH, INVALID_NEXT_HOP, INVALID_ORIGIN, OPTIONAL_ATTRIBUTE};

    let value = attribute.value;
    let width = if format.four_octet_as {
        Width::Four
    } else {
        Width::Two
    };
    let wrong_length = |wrong: bool| wrong.then_some((ATTRIBUTE_LENGTH, "wrong length"));
    let not_entries =
        |size: usize| wrong_length(value.is_empty() || !value.len().is_multiple_of(size));
    match attribute.code {
        code::ORIGIN => match value {
            [octet] if Origin::from_octet(*octet).is_some() => None,
            [_] => Some((INVALID_ORIGIN, "undefined value")),
            _ => wrong_length(true),
        },
        code::AS_PATH => as_path_fault(value, width),
        code::NEXT_HOP => match <[u8; 4]>::try_from(value) {
            // Beside MP_REACH_NLRI alone the value is ignored (RFC 4760 §3).
            Ok(address) if plain && !is_host(Ipv4Addr::from(address).into()) => {
                Some((INVALID_NEXT_HOP, "not a host address"))
            }
            Ok(_) => None,
            Err(_) => wrong_length(true),
        },
        code::MED | code::LOCAL_PREF | code::ORIGINATOR_ID | code::ONLY_TO_CUSTOMER => {
            wrong_length(value.len() != 4)
        }
        code::ATOMIC_AGGREGATE => wrong_length(!value.is_empty()),
        code::AGGREGATOR => aggregator_fault(value, width),
        code::AS4_AGGREGATOR => aggregator_fault(value, Width::Four),
        // Too long is judged as in AS_PATH: both together must fit in one attribute.
        // RFC-DONE 6793 §6: A malformed AS4_PATH or AS4_AGGREGATOR is discarded.
        code::AS4_PATH if !(6..=MAX_AS_PATH_OCTETS).contains(&value.len()) => wrong_length(true),
        code::AS4_PATH => AsPath::new(value)
            .fault(true)
            .map(|words| (OPTIONAL_ATTRIBUTE, words)),
        code::COMMUNITIES | code::CLUSTER_LIST => not_entries(4),
        code::EXTENDED_COMMUNITIES => not_entries(8),
        // RFC-DONE 8092 §6: A list of large communities of a fractional length: the routes are withdrawn.
        code::LARGE_COMMUNITIES => not_entries(12),
        // RFC-DONE 5701 §2: IPv6 extended communities are read by their 20 octets.
        code::IPV6_EXTENDED_COMMUNITIES => not_entries(20),
        code::PREFIX_SID => prefix_sid_fault(value),
        _ => None,
    }
}

fn as_path_fault(value: &[u8], width: Width) -> Option<(u8, &'static str)> {
    use update::MALFORMED_AS_PATH;

    if value.len() > MAX_AS_PATH_OCTETS / 4 * width.octets() {
        return Some((MALFORMED_AS_PATH, "longer than any real path"));
    }
    // RFC-DONE 5065 §5: Confederation segments withdraw the routes, from whatever peer: it is a member of none that we are of.
    AsPath::with_width(value, width)
        .fault(false)
        .map(|words| (MALFORMED_AS_PATH, words))
}

/// RFC 7606 §7.7, RFC 6793 §6, RFC 7607 §2.
fn aggregator_fault(value: &[u8], width: Width) -> Option<(u8, &'static str)> {
    let asn = value.get(..width.octets());
    if value.len() != width.octets() + 4 {
        Some((update::ATTRIBUTE_LENGTH, "wrong length"))
    } else if asn.is_none_or(|asn| asn.iter().all(|octet| *octet == 0)) {
        Some((update::OPTIONAL_ATTRIBUTE, "AS 0 (RFC 7607)"))
    } else {
        None
    }
}

/// RFC 8669 §3: type, two octets of length, value. What the TLVs say is not ours.
fn prefix_sid_fault(value: &[u8]) -> Option<(u8, &'static str)> {
    let mut reader = Reader::new(value);
    while !reader.is_empty() {
        if reader.u8().and_then(|_| reader.u16_prefixed()).is_none() {
            return Some((update::OPTIONAL_ATTRIBUTE, "a TLV overruns"));
        }
    }
    None
}

/// RFC 4271 §6.3, and in its sense for IPv6: something a host can have. Whether a loopback address
/// makes sense depends on where the session runs, which is not known here.
fn is_host(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [first, ..] = address.octets();
            !matches!(first, 0 | 224..)
        }
        IpAddr::V6(address) => !address.is_unspecified() && !address.is_multicast(),
    }
}

/// Whether a family may have such a next hop (RFC 2545 §3, RFC 8950 §3).
fn fits(next_hop: &NextHop, family: Family, format: &WireFormat) -> bool {
    match (family, next_hop) {
        (Family::Ipv4Unicast, NextHop::V4(_)) => true,
        (Family::Ipv4Unicast, _) => format.extended_next_hop,
        (Family::Ipv6Unicast, next_hop) => !matches!(next_hop, NextHop::V4(_)),
    }
}

fn negotiated(afi: u16, safi: u8, format: &WireFormat) -> Option<Family> {
    Family::from_afi_safi(afi, safi).filter(|family| format.families.contains(*family))
}

fn mp_flags(attribute: &RawAttribute<'_>) -> Result<(), Notification> {
    let bits = flags::OPTIONAL | flags::TRANSITIVE;
    if attribute.flags & bits != flags::OPTIONAL {
        return Err(with_attribute(fault(update::ATTRIBUTE_FLAGS), attribute));
    }
    Ok(())
}

/// RFC 4271 §6.3: the data field has the attribute: type, length, value.
fn with_attribute(notification: Notification, attribute: &RawAttribute<'_>) -> Notification {
    let mut data = Vec::with_capacity(4 + attribute.value.len());
    attribute.encode(&mut data);
    notification.with_data(&data)
}

/// The longest AS_PATH that is taken, in octets with four-octet AS numbers. Twice that, which is
/// what merging an AS4_PATH can come to, fits in one attribute with room for what is prepended.
const MAX_AS_PATH_OCTETS: usize = 32_000;
