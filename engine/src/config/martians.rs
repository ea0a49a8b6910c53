//! Prefixes that no route may have: `builtinFilters.martians`.

use codec::{IpPrefix, Prefix};

// RFC-DONE 7454 §6.1.1: loopback, link-local IPv6, multicast and reserved prefixes are not used.
// RFC-LEFT 7454 §6.1.1: Private, shared and documentation prefixes are refused by policy only.
// RFC-LEFT 7454 §6.1.3: Prefixes that are too long for the Internet are refused by policy only.
/// Prefixes that no route may have, whoever says it.
pub fn is_martian(prefix: IpPrefix) -> bool {
    match prefix {
        IpPrefix::V4(prefix) => {
            let length = prefix.length();
            let [first, ..] = prefix.address().octets();
            (length >= 8 && matches!(first, 0 | 127)) || (length >= 4 && first >= 224)
        }
        IpPrefix::V6(prefix) => {
            let (bits, length) = (prefix.bits_left_aligned(), prefix.length());
            (length == 128 && bits <= 1)
                || (length >= 10 && bits >> 118 == 0xfe80 >> 6)
                || (length >= 8 && bits >> 120 == 0xff)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn martians_are_only_these() {
        let is = |text: &str| is_martian(text.parse::<ipnet::IpNet>().unwrap().into());
        for martian in [
            "0.0.0.0/8",
            "0.1.0.0/16",
            "127.0.0.0/8",
            "127.0.0.1/32",
            "224.0.0.0/4",
            "239.1.1.0/24",
            "240.0.0.0/4",
            "255.255.255.255/32",
            "::/128",
            "::1/128",
            "fe80::/10",
            "fe80::1/128",
            "ff00::/8",
            "ff02::1/128",
        ] {
            assert!(is(martian), "{martian}");
        }
        for fine in [
            "0.0.0.0/0",
            "0.0.0.0/7",
            "10.0.0.0/8",
            "126.0.0.0/7",
            "192.0.2.0/24",
            "223.0.0.0/8",
            "224.0.0.0/3",
            "8.8.8.8/32",
            "::/0",
            "::/127",
            "fe00::/9",
            "fc00::/7",
            "2001:db8::/32",
        ] {
            assert!(!is(fine), "{fine}");
        }
    }
}
