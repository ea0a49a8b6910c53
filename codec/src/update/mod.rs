//! The inside of an UPDATE message.
//!
//! Read first: RFC 4271 §4.3, §5 and §6.3, RFC 4760, and above all RFC 7606, which decides what a
//! fault costs: the session, the routes of the message, or one attribute. What is judged here can
//! be judged from the octets and the negotiated [`WireFormat`] alone; AS loops, the first AS,
//! martian prefixes, AS_SETs (RFC 9774) and policy are for those who know the neighbor.
//!
//! Invariant: whatever an [`Update`] shows was validated by [`parse_update`]; walking it cannot
//! fail, and nothing of it was copied.

mod canonical;
mod check;

use std::fmt::{self, Display};

use smallvec::SmallVec;

use crate::attribute::{RawAttribute, RawAttributes, code};
use crate::message::WireFormat;
use crate::nlri::{NextHop, Nlri};
use crate::notification::{self, Notification, update};
use crate::prefix::Family;
use crate::wire::Reader;

use check::Scan;

/// A parsed UPDATE. A prefix that is both withdrawn and announced is announced.
#[derive(Clone, Debug)]
pub struct Update<'a> {
    /// Prefixes of the Withdrawn Routes field.
    pub withdrawn: Nlri<'a>,
    /// Prefixes of the NLRI field.
    pub announced: Nlri<'a>,
    /// MP_UNREACH_NLRI of a negotiated family.
    pub mp_withdrawn: Option<MpUnreach<'a>>,
    /// MP_REACH_NLRI of a negotiated family.
    pub mp_announced: Option<MpReach<'a>>,
    /// AFI and SAFI of NLRI that were left out because their family was not negotiated.
    pub ignored_family: Option<(u16, u8)>,
    /// The attributes that are left, without MP_REACH_NLRI and MP_UNREACH_NLRI.
    pub attributes: Attributes<'a>,
    /// What was wrong with attributes, in the order of the message.
    pub faults: SmallVec<[AttributeFault; 1]>,
    treat_as_withdraw: bool,
    end_of_rib: Option<Family>,
    /// The attribute block is its own canonical form.
    normal: bool,
    four_octet_as: bool,
}

/// An MP_REACH_NLRI attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MpReach<'a> {
    /// The next hop of all its prefixes.
    pub next_hop: NextHop,
    /// The announced prefixes; may be empty.
    pub nlri: Nlri<'a>,
}

/// An MP_UNREACH_NLRI attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MpUnreach<'a> {
    /// The withdrawn prefixes; empty in an End-of-RIB marker.
    pub nlri: Nlri<'a>,
}

/// Which announced prefixes of an UPDATE attributes are wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NlriField {
    /// The NLRI field: plain IPv4.
    Plain,
    /// MP_REACH_NLRI.
    MpReach,
}

/// What a fault in an attribute costs (RFC 7606 §2); those that cost the session are the error of
/// [`parse_update`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultAction {
    /// The attribute is dropped; the routes stand.
    AttributeDiscard,
    /// The announced routes count as withdrawn.
    TreatAsWithdraw,
}

/// A fault in an attribute that did not cost the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AttributeFault {
    /// The attribute's type code; 0 if not even that was there.
    pub code: u8,
    /// What the fault costs.
    pub action: FaultAction,
    /// What is wrong.
    pub words: &'static str,
    /// The NOTIFICATION subcode it would have had before RFC 7606, and still has by its §5.2.
    subcode: u8,
}

/// Parses the body of an UPDATE, the octets behind its header.
///
/// # Errors
/// The NOTIFICATION of a fault that resets the session: NLRI that cannot be told from the rest
/// (RFC 7606 §3 and §5.3), or any fault worse than attribute-discard where no route could take
/// the blame (§5.2).
pub fn parse_update<'a>(body: &'a [u8], format: &WireFormat) -> Result<Update<'a>, Notification> {
    let mut reader = Reader::new(body);
    let overrun = || fault(update::MALFORMED_ATTRIBUTE_LIST);
    let withdrawn = reader.u16_prefixed().ok_or_else(overrun)?;
    let block = reader.u16_prefixed().ok_or_else(overrun)?;
    let announced = reader.rest();

    let scan = Scan::attributes(block, format, !announced.is_empty())?;
    let mut parsed = Update {
        withdrawn: plain_nlri(withdrawn, format)?,
        announced: plain_nlri(announced, format)?,
        mp_withdrawn: scan.unreach,
        mp_announced: scan.reach,
        ignored_family: scan.ignored_family,
        attributes: Attributes {
            block,
            dropped: scan.dropped,
        },
        treat_as_withdraw: scan.has_fault(FaultAction::TreatAsWithdraw),
        end_of_rib: None,
        normal: scan.normal,
        four_octet_as: format.four_octet_as,
        faults: scan.faults,
    };

    let plain = Family::Ipv4Unicast;
    let silent = withdrawn.is_empty() && announced.is_empty();
    if !silent && !format.families.contains(plain) {
        parsed.withdrawn = Nlri::empty(plain);
        parsed.announced = Nlri::empty(plain);
        parsed.ignored_family = Some((plain.afi(), plain.safi()));
    }
    // RFC 4724 §2.
    if silent {
        parsed.end_of_rib = match parsed.mp_withdrawn {
            None if block.is_empty() => Some(plain).filter(|f| format.families.contains(*f)),
            Some(unreach) if unreach.nlri.is_empty() && scan.only_unreach => {
                Some(unreach.nlri.family())
            }
            _ => None,
        };
    }
    Ok(parsed)
}

impl Update<'_> {
    /// Whether the announced routes, plain and multiprotocol, count as withdrawn.
    pub fn treat_as_withdraw(&self) -> bool {
        self.treat_as_withdraw
    }

    /// The family whose End-of-RIB marker this is.
    pub fn end_of_rib(&self) -> Option<Family> {
        self.end_of_rib
    }
}

/// The attributes of an UPDATE as they came, without those that were discarded, second copies,
/// MP_REACH_NLRI and MP_UNREACH_NLRI.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    block: &'a [u8],
    dropped: CodeSet,
}

impl<'a> Attributes<'a> {
    /// The attributes in the order of the message. AS numbers are as wide as the session has them.
    pub fn iter(&self) -> impl Iterator<Item = RawAttribute<'a>> + use<'a> {
        // What was met once is dropped the second time (RFC 7606 §3 g).
        let mut dropped = self.dropped;
        RawAttributes(Reader::new(self.block))
            .filter(move |attribute| dropped.insert(attribute.code))
    }

    /// The attribute with `code`.
    pub fn get(&self, code: u8) -> Option<RawAttribute<'a>> {
        self.iter().find(|attribute| attribute.code == code)
    }

    /// The whole attribute block, faults included: what a log of the fault should show.
    pub fn block(&self) -> &'a [u8] {
        self.block
    }
}

/// "LOCAL_PREF: from an external peer; attribute discarded"
impl Display for AttributeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match code::name(self.code) {
            Some(name) => f.write_str(name)?,
            None => write!(f, "attribute {}", self.code)?,
        }
        let action = match self.action {
            FaultAction::AttributeDiscard => "attribute discarded",
            FaultAction::TreatAsWithdraw => "treated as withdraw",
        };
        write!(f, ": {}; {action}", self.words)
    }
}

/// A set of attribute type codes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct CodeSet([u64; 4]);

impl CodeSet {
    /// Adds `code`; false if it was there.
    fn insert(&mut self, code: u8) -> bool {
        let [a, b, c, d] = &mut self.0;
        let word = match code >> 6 {
            0 => a,
            1 => b,
            2 => c,
            _ => d,
        };
        let bit = 1 << (code & 63);
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    fn contains(mut self, code: u8) -> bool {
        !self.insert(code)
    }
}

fn plain_nlri<'a>(octets: &'a [u8], format: &WireFormat) -> Result<Nlri<'a>, Notification> {
    let family = Family::Ipv4Unicast;
    Nlri::new(octets, family, format.add_path_receive.contains(family))
        .ok_or_else(|| fault(update::INVALID_NETWORK_FIELD))
}

fn fault(subcode: u8) -> Notification {
    Notification::new(notification::UPDATE, subcode)
}

#[cfg(test)]
mod tests;
