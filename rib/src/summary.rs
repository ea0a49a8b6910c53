//! What best path selection needs of an attribute set, read once when it is interned.
//!
//! Total over any bytes: what is missing or cut short has the value that its absence stands for.

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
    pub path_length: u32,
    /// ORIGINATOR_ID of a reflected route.
    pub originator_id: Option<u32>,
    /// Entries of CLUSTER_LIST.
    pub cluster_list_length: u16,
    /// ORIGIN: 0 IGP, 1 EGP, 2 incomplete; 255 where there is none.
    pub origin: u8,
}

const FLAG_EXTENDED_LENGTH: u8 = 0x10;
const ORIGIN: u8 = 1;
const AS_PATH: u8 = 2;
const MULTI_EXIT_DISC: u8 = 4;
const LOCAL_PREF: u8 = 5;
const ORIGINATOR_ID: u8 = 9;
const CLUSTER_LIST: u8 = 10;
const AS_SET: u8 = 1;
const AS_SEQUENCE: u8 = 2;

impl Summary {
    /// Of attributes in canonical form: 4-octet AS numbers, one attribute after the other.
    pub fn of(canonical: &[u8]) -> Summary {
        let mut summary = Summary {
            local_pref: 100,
            med: 0,
            neighbor_as: 0,
            path_length: 0,
            originator_id: None,
            cluster_list_length: 0,
            origin: u8::MAX,
        };
        let mut rest = canonical;
        while let Some((code, value, after)) = next_attribute(rest) {
            match code {
                ORIGIN => summary.origin = value.first().copied().unwrap_or(u8::MAX),
                AS_PATH => summary.read_as_path(value),
                MULTI_EXIT_DISC => summary.med = number(value).unwrap_or(0),
                LOCAL_PREF => summary.local_pref = number(value).unwrap_or(100),
                ORIGINATOR_ID => summary.originator_id = number(value),
                CLUSTER_LIST => {
                    summary.cluster_list_length =
                        u16::try_from(value.len() / 4).unwrap_or(u16::MAX);
                }
                _ => {}
            }
            rest = after;
        }
        summary
    }

    fn read_as_path(&mut self, mut value: &[u8]) {
        let mut first = true;
        while let Some(([kind, count], rest)) = value.split_first_chunk() {
            let Some((members, rest)) = rest.split_at_checked(usize::from(*count) * 4) else {
                return;
            };
            match *kind {
                AS_SET => self.path_length += 1,
                AS_SEQUENCE => {
                    self.path_length += u32::from(*count);
                    if first {
                        self.neighbor_as = number(members).unwrap_or(0);
                    }
                }
                // RFC 5065 §5.3: confederation segments count for nothing, and what follows them
                // is a route of the local AS as far as MED goes.
                _ => {}
            }
            first = false;
            value = rest;
        }
    }
}

/// Code and value of the first attribute, and the octets after it.
fn next_attribute(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let ([flags, code], rest) = bytes.split_first_chunk()?;
    let (length, rest) = if flags & FLAG_EXTENDED_LENGTH != 0 {
        let (length, rest) = rest.split_first_chunk()?;
        (usize::from(u16::from_be_bytes(*length)), rest)
    } else {
        let (length, rest) = rest.split_first()?;
        (usize::from(*length), rest)
    };
    let (value, rest) = rest.split_at_checked(length)?;
    Some((*code, value, rest))
}

fn number(value: &[u8]) -> Option<u32> {
    value
        .first_chunk()
        .map(|octets| u32::from_be_bytes(*octets))
}
