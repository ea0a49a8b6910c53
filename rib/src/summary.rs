//! What best path selection needs of an attribute set, read once when it is interned.
//!
//! Total over any bytes: what is missing or cut short has the value that its absence stands for.

use std::net::Ipv4Addr;

use codec::{AsPath, AttributeSet, RawAttribute, code};

/// 65535:6: a route of a peer that has been away for long (RFC 9494 §2).
pub const LLGR_STALE: u32 = 0xffff_0006;

/// Every interned set has one.
const _: () = assert!(size_of::<Summary>() <= 24);

/// The attributes that decide between paths (RFC 4271 §9.1.2.2, RFC 4456 §9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// LOCAL_PREF; 100 where there is none.
    pub local_pref: u32,
    /// MULTI_EXIT_DISC; 0 where there is none (RFC 4271 §9.1.2.2 c).
    pub med: u32,
    /// The AS that the path enters through: the first of a leading AS_SEQUENCE, 0 for a path that
    /// began in the local AS.
    pub neighbor_as: u32,
    /// ASes in AS_PATH; a set counts as one, confederation segments as none.
    pub path_length: u16,
    /// ORIGINATOR_ID of a reflected route.
    pub originator_id: Option<Ipv4Addr>,
    /// Entries of CLUSTER_LIST.
    pub cluster_list_length: u16,
    /// LLGR_STALE is among the communities.
    pub long_lived_stale: bool,
    /// ORIGIN: 0 IGP, 1 EGP, 2 incomplete; 255 where there is none.
    pub origin: u8,
}

impl Summary {
    /// Of attributes in canonical form. One walk: every set that is interned takes it.
    pub fn of(canonical: &[u8]) -> Summary {
        let mut summary = Summary::default();
        for attribute in AttributeSet::new(canonical).iter() {
            summary.take(&attribute);
        }
        summary
    }

    fn take(&mut self, attribute: &RawAttribute<'_>) {
        let number = || attribute.value.try_into().map(u32::from_be_bytes);
        let clamped = |length: usize| u16::try_from(length).unwrap_or(u16::MAX);
        match attribute.code {
            code::ORIGIN => {
                if let [octet @ 0..=2] = attribute.value {
                    self.origin = *octet;
                }
            }
            code::AS_PATH => {
                let as_path = AsPath::new(attribute.value);
                self.neighbor_as = as_path.neighbor_as().unwrap_or(0);
                self.path_length = clamped(as_path.path_length());
            }
            code::MED => self.med = number().unwrap_or(self.med),
            code::LOCAL_PREF => self.local_pref = number().unwrap_or(self.local_pref),
            code::ORIGINATOR_ID => self.originator_id = number().ok().map(Ipv4Addr::from),
            code::COMMUNITIES => {
                let (communities, _) = attribute.value.as_chunks::<4>();
                self.long_lived_stale = communities.contains(&LLGR_STALE.to_be_bytes());
            }
            code::CLUSTER_LIST => self.cluster_list_length = clamped(attribute.value.len() / 4),
            _ => {}
        }
    }
}

impl Default for Summary {
    /// Of no attributes.
    fn default() -> Summary {
        Summary {
            local_pref: 100,
            med: 0,
            neighbor_as: 0,
            path_length: 0,
            originator_id: None,
            cluster_list_length: 0,
            long_lived_stale: false,
            origin: u8::MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC-SHOWN 4451 §3.2
    #[test]
    fn a_missing_med_is_zero() {
        let origin = [0x40, 1, 1, 0];
        assert_eq!(Summary::of(&origin).med, 0);
        let with = [&origin[..], &[0x80, 4, 4, 0, 0, 0, 7]].concat();
        assert_eq!(Summary::of(&with).med, 7);
    }
}
