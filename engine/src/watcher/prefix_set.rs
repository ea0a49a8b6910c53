//! A prefix minus others, as the fewest prefixes.

use codec::{IpPrefix, Ipv4Prefix, Ipv6Prefix, Prefix};

/// More pieces than this are refused: a few IPv6 exceptions make a hundred prefixes each.
pub(crate) const PIECES_MAX: usize = 65_536;

/// There would be more than [`PIECES_MAX`] pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooManyPieces;

/// The fewest prefixes that cover `cidr` without `except`, ascending.
pub(crate) fn subtract(
    cidr: IpPrefix,
    except: &[IpPrefix],
) -> Result<Vec<IpPrefix>, TooManyPieces> {
    let mut pieces = Vec::new();
    match cidr {
        IpPrefix::V4(cidr) => {
            let except = except.iter().filter_map(|prefix| match prefix {
                IpPrefix::V4(prefix) => Some(*prefix),
                IpPrefix::V6(_) => None,
            });
            let mut except: Vec<Ipv4Prefix> = except.collect();
            except.sort_unstable();
            split(cidr, &except, &mut pieces)?;
        }
        IpPrefix::V6(cidr) => {
            let except = except.iter().filter_map(|prefix| match prefix {
                IpPrefix::V6(prefix) => Some(*prefix),
                IpPrefix::V4(_) => None,
            });
            let mut except: Vec<Ipv6Prefix> = except.collect();
            except.sort_unstable();
            split(cidr, &except, &mut pieces)?;
        }
    }
    Ok(pieces)
}

/// `except` is sorted by address, then length, and holds all exceptions that matter to `cidr`.
fn split<P: Prefix>(
    cidr: P,
    except: &[P],
    pieces: &mut Vec<IpPrefix>,
) -> Result<(), TooManyPieces> {
    let covers = |outer: P, inner: P| {
        outer.length() <= inner.length()
            && P::from_left_aligned(inner.bits_left_aligned(), outer.length()) == outer
    };
    if except.iter().any(|prefix| covers(*prefix, cidr)) {
        return Ok(());
    }
    // From here on only exceptions strictly within matter, and they are neighbors in the list.
    let from =
        except.partition_point(|prefix| prefix.bits_left_aligned() < cidr.bits_left_aligned());
    let inside = except.get(from..).unwrap_or_default();
    let to = inside
        .iter()
        .take_while(|prefix| covers(cidr, **prefix))
        .count();
    let inside = inside.get(..to).unwrap_or_default();
    if inside.is_empty() {
        if pieces.len() >= PIECES_MAX {
            return Err(TooManyPieces);
        }
        pieces.push(cidr.erase());
        return Ok(());
    }
    // An exception is inside, so the prefix is no host route and has two halves.
    let length = cidr.length() + 1;
    let low = P::from_left_aligned(cidr.bits_left_aligned(), length);
    let half = 1u128 << (128 - u32::from(length));
    let high = P::from_left_aligned(cidr.bits_left_aligned() | half, length);
    split(low, inside, pieces)?;
    split(high, inside, pieces)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ipnet::IpNet;
    use proptest::prelude::*;

    fn prefix(text: &str) -> IpPrefix {
        IpPrefix::from(text.parse::<IpNet>().unwrap())
    }

    fn minus(cidr: &str, except: &[&str]) -> Vec<String> {
        let except: Vec<IpPrefix> = except.iter().map(|text| prefix(text)).collect();
        let pieces = subtract(prefix(cidr), &except).unwrap();
        pieces.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_few() {
        assert_eq!(minus("10.0.0.0/24", &[]), ["10.0.0.0/24"]);
        assert_eq!(minus("10.0.0.0/24", &["10.0.0.0/25"]), ["10.0.0.128/25"]);
        assert_eq!(
            minus("10.0.0.0/30", &["10.0.0.1/32"]),
            ["10.0.0.0/32", "10.0.0.2/31"]
        );
        assert_eq!(minus("10.0.0.0/24", &["10.0.0.0/8"]), [""; 0]);
        assert_eq!(
            minus("10.0.0.0/24", &["11.0.0.0/8", "::/0"]),
            ["10.0.0.0/24"]
        );
        assert_eq!(minus("::/0", &["8000::/1"]), ["::/1"]);
        assert_eq!(minus("::/127", &["::1/128"]), ["::/128"]);
    }

    #[test]
    fn everything_but_the_private_ranges_is_31_prefixes() {
        let private = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"];
        assert_eq!(minus("0.0.0.0/0", &private).len(), 31);
    }

    #[test]
    fn the_number_of_pieces_is_bounded() {
        let except: Vec<IpPrefix> = (0..2000u128)
            .map(|i| Ipv6Prefix::from_left_aligned(i << 64, 128).erase())
            .collect();
        assert_eq!(subtract(prefix("::/0"), &except), Err(TooManyPieces));
    }

    proptest! {
        #[test]
        fn every_address_is_in_the_cidr_and_in_no_exception(
            length in 24u8..=32,
            except in prop::collection::vec((0u32..256, 24u8..=32), 0..6),
        ) {
            let cidr = Ipv4Prefix::masked([10, 0, 0, 0].into(), length);
            let except: Vec<IpPrefix> = except
                .into_iter()
                .map(|(host, length)| {
                    Ipv4Prefix::masked((0x0a00_0000 | host).into(), length).erase()
                })
                .collect();
            let pieces = subtract(cidr.erase(), &except).unwrap();
            for host in 0..256u32 {
                let address = Ipv4Prefix::masked((0x0a00_0000 | host).into(), 32).erase();
                let wanted = cidr.erase().contains(address)
                    && !except.iter().any(|e| e.contains(address));
                let holders = pieces.iter().filter(|p| p.contains(address)).count();
                prop_assert_eq!(holders, usize::from(wanted));
            }
            // Minimal: no two pieces are the halves of one prefix.
            for pair in pieces.windows(2) {
                let parent = |p: &IpPrefix| match p {
                    IpPrefix::V4(p) if p.length() > 0 => {
                        Some(Ipv4Prefix::masked(p.address(), p.length() - 1))
                    }
                    _ => None,
                };
                prop_assert!(
                    pair[0].length() != pair[1].length() || parent(&pair[0]) != parent(&pair[1])
                );
            }
        }
    }
}
