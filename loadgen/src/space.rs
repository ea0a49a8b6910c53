//! Where synthetic prefixes are drawn from: the unicast space that is given out, in the mix of
//! lengths of a real table. Never a martian, and nothing that covers one.

use std::hash::Hash;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ahash::AHashSet;
use codec::{Family, IpPrefix, Ipv4Prefix, Ipv6Prefix, Prefix};

use crate::random::Random;

/// Prefix lengths with their weights: `24:61,16-23:39`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LengthMix(Vec<(u8, u8, u64)>);

impl FromStr for LengthMix {
    type Err = String;

    fn from_str(text: &str) -> Result<LengthMix, String> {
        let parse = |part: &str| -> Option<(u8, u8, u64)> {
            let (lengths, weight) = part.split_once(':').unwrap_or((part, "1"));
            let (low, high) = lengths.split_once('-').unwrap_or((lengths, lengths));
            let (low, high) = (low.parse().ok()?, high.parse().ok()?);
            (low <= high && high <= 128).then_some((low, high, weight.parse().ok()?))
        };
        let parts: Option<Vec<_>> = text.split(',').map(parse).collect();
        parts.map(LengthMix).ok_or_else(|| {
            format!("{text:?} is no mix of prefix lengths; one is 24:61,16-23:39 (length:weight)")
        })
    }
}

impl LengthMix {
    /// The mix of the Internet's tables: 61 % are /24 (IPv6: /48), short ones are few.
    pub(crate) fn internet(family: Family) -> LengthMix {
        LengthMix(match family {
            Family::Ipv4Unicast => vec![
                (24, 24, 61),
                (23, 23, 10),
                (22, 22, 12),
                (21, 21, 5),
                (20, 20, 5),
                (19, 19, 3),
                (18, 18, 2),
                (16, 17, 2),
            ],
            Family::Ipv6Unicast => vec![
                (48, 48, 61),
                (40, 47, 21),
                (36, 39, 4),
                (33, 35, 2),
                (32, 32, 12),
            ],
        })
    }

    fn draw(&self, random: &mut Random) -> u8 {
        let total: u64 = self.0.iter().map(|(_, _, weight)| weight).sum();
        let mut ticket = random.below(total.max(1));
        for (low, high, weight) in &self.0 {
            if ticket < *weight {
                return low + random.below(u64::from(high - low) + 1) as u8;
            }
            ticket -= weight;
        }
        self.0[0].0
    }
}

/// Draws distinct prefixes, in the order of the draw. Fewer than `count` if the mix has no room for
/// so many.
pub(crate) fn draw_prefixes(
    family: Family,
    count: usize,
    lengths: &LengthMix,
    random: &mut Random,
) -> Vec<IpPrefix> {
    match family {
        Family::Ipv4Unicast => draw_distinct(count, || {
            let length = lengths.draw(random);
            let prefix = Ipv4Prefix::masked(Ipv4Addr::from(random.next() as u32), length);
            is_plain_v4(prefix).then_some(prefix)
        })
        .into_iter()
        .map(IpPrefix::V4)
        .collect(),
        Family::Ipv6Unicast => draw_distinct(count, || {
            let length = lengths.draw(random);
            // 2400::/6: handed out by the registries, and without 2001::/16 and 2002::/16.
            let bits = (0x9 << 122) | (u128::from(random.next()) << 58);
            Some(Ipv6Prefix::masked(Ipv6Addr::from(bits), length))
        })
        .into_iter()
        .map(IpPrefix::V6)
        .collect(),
    }
}

fn draw_distinct<P: Copy + Eq + Hash>(count: usize, mut draw: impl FnMut() -> Option<P>) -> Vec<P> {
    let mut seen = AHashSet::with_capacity(count);
    let mut prefixes = Vec::with_capacity(count);
    let mut tries = count.saturating_mul(64);
    while prefixes.len() < count && tries > 0 {
        tries -= 1;
        if let Some(prefix) = draw()
            && seen.insert(prefix)
        {
            prefixes.push(prefix);
        }
    }
    prefixes
}

/// Whether a prefix is of the unicast space that is given out, and overlaps none of the special
/// blocks of RFC 6890, which are rounded up to whole /16s (IPv6: /32s).
pub(crate) fn is_given_out(prefix: IpPrefix) -> bool {
    match prefix {
        IpPrefix::V4(prefix) => prefix.length() >= 8 && is_plain_v4(prefix),
        IpPrefix::V6(prefix) => {
            let [first, second, ..] = prefix.address().segments();
            let special =
                first == 0x2002 || (first == 0x2001 && matches!(second, 0..0x200 | 0xdb8));
            prefix.length() >= 16 && (0x2000..0x4000).contains(&first) && !special
        }
    }
}

fn is_plain_v4(prefix: Ipv4Prefix) -> bool {
    let [a, b, ..] = prefix.address().octets();
    !matches!(
        (a, b),
        (0 | 10 | 127 | 224.., _)
            | (100, 64..=127)
            | (169, 254)
            | (172, 16..=31)
            | (192, 0 | 88 | 168)
            | (198, 18 | 19 | 51)
            | (203, 0)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_that_makes_no_sense_is_refused() {
        assert!("".parse::<LengthMix>().is_err());
        assert!("24:".parse::<LengthMix>().is_err());
        assert!("23-16".parse::<LengthMix>().is_err());
        assert!("24,16-23:39".parse::<LengthMix>().is_ok());
    }

    #[test]
    fn a_table_is_distinct_plausible_and_of_the_right_lengths() {
        for family in Family::ALL {
            let mix = LengthMix::internet(family);
            let table = draw_prefixes(family, 50_000, &mix, &mut Random::new(1));
            let distinct: AHashSet<_> = table.iter().collect();
            assert_eq!(distinct.len(), 50_000);
            let longest = if family == Family::Ipv4Unicast {
                24
            } else {
                48
            };
            let count = table.iter().filter(|p| p.length() == longest).count();
            assert!((29_000..32_000).contains(&count), "{count}");
            for prefix in &table {
                assert!(is_given_out(*prefix) && prefix.length() >= 16, "{prefix}");
            }
        }
    }
    #[test]
    fn special_blocks_are_not_given_out() {
        let is = |text: &str| is_given_out(text.parse::<ipnet::IpNet>().unwrap().into());
        for text in [
            "0.0.0.0/0",
            "10.1.0.0/16",
            "8.0.0.0/5",
            "192.168.0.0/24",
            "224.0.0.0/8",
        ] {
            assert!(!is(text), "{text}");
        }
        for text in [
            "::/0",
            "2001:db8::/48",
            "2002::/16",
            "fe80::/16",
            "2001::/32",
        ] {
            assert!(!is(text), "{text}");
        }
        for text in ["8.8.8.0/24", "193.0.0.0/8", "2001:200::/32", "2a00::/16"] {
            assert!(is(text), "{text}");
        }
    }
}
