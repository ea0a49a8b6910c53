//! What best path selection needs of an attribute set, read once when it is interned.
//!
//! Total over any bytes: what is missing or cut short has the value that its absence stands for.

use std::net::Ipv4Addr;

use codec::AttributeSet;

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
    /// ORIGIN: 0 IGP, 1 EGP, 2 incomplete; 255 where there is none.
    pub origin: u8,
}

impl Summary {
    /// Of attributes in canonical form.
    pub fn of(canonical: &[u8]) -> Summary {
        let set = AttributeSet::new(canonical);
        let as_path = set.as_path();
        let clamped = |length: usize| u16::try_from(length).unwrap_or(u16::MAX);
        Summary {
            local_pref: set.local_pref().unwrap_or(100),
            med: set.med().unwrap_or(0),
            neighbor_as: as_path.neighbor_as().unwrap_or(0),
            path_length: clamped(as_path.path_length()),
            originator_id: set.originator_id(),
            cluster_list_length: clamped(set.cluster_list().count()),
            origin: set.origin().map_or(u8::MAX, |origin| origin as u8),
        }
    }
}
