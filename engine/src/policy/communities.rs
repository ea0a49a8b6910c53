//! Communities as people write them: values and patterns of each kind.
//!
//! A part of a pattern is a number, `*` for any, or digits with `*` in between, which stand for the
//! number as it is written in decimal: `65000:9*` is every community of AS 65000 whose second half
//! begins with a 9. Extended communities are compared as the text in which they are shown.
//!
//! Invariant: a pattern that is taken means at least one community. One that no community is like is a
//! slip of the pen, and a filter that lets everything past it.

use std::fmt;
use std::net::Ipv4Addr;

/// A pattern over communities of one kind.
pub(super) trait Pattern {
    /// The communities it is about.
    type Value: Copy + PartialEq;

    /// Whether it means this one.
    fn matches(&self, value: Self::Value) -> bool;

    /// The one community that it means, if it is one.
    fn only(&self) -> Option<Self::Value>;

    /// The pattern that means this one alone.
    fn of(value: Self::Value) -> Self;

    /// Whether it plainly means all that another one does.
    fn covers(&self, other: &Self) -> bool;

    /// As people write it.
    fn text(&self) -> String;

    /// One community as people write it.
    fn text_of(value: Self::Value) -> String;
}

/// A pattern over one number.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Part {
    /// Any number.
    Any,
    /// This one.
    Exactly(u32),
    /// Those whose decimal form is like this, `*` standing for any digits.
    Like(Box<str>),
}

impl Part {
    fn parse(text: &str, max: u32) -> Option<Part> {
        if text == "*" {
            return Some(Part::Any);
        }
        if let Some(number) = number(text, max) {
            return Some(Part::Exactly(number));
        }
        const LENGTH_MAX: usize = 20;
        let is_like = text.contains('*') && stands_for_some(text, 0, max);
        (is_like && text.len() <= LENGTH_MAX).then(|| Part::Like(text.into()))
    }

    fn covers(&self, other: &Part) -> bool {
        match (self, other) {
            (Part::Any, _) => true,
            (_, Part::Exactly(number)) => self.matches(*number),
            (Part::Like(pattern), Part::Like(other)) => like(pattern, other),
            _ => false,
        }
    }

    fn matches(&self, number: u32) -> bool {
        match self {
            Part::Any => true,
            Part::Exactly(wanted) => *wanted == number,
            Part::Like(pattern) => like(pattern, &number.to_string()),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::Any => f.write_str("*"),
            Part::Exactly(number) => number.fmt(f),
            Part::Like(pattern) => f.write_str(pattern),
        }
    }
}

/// A pattern over RFC 1997 communities.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Standard([Part; 2]);

impl Standard {
    /// `65000:1`, `65000:*`, or the name of a well-known one.
    pub fn parse(text: &str) -> Option<Standard> {
        if let Some(value) = well_known(text) {
            return Some(Standard::exactly(value));
        }
        let (high, low) = text.split_once(':')?;
        let part = |text| Part::parse(text, u32::from(u16::MAX));
        Some(Standard([part(high)?, part(low)?]))
    }

    /// Of one community.
    pub fn exactly(value: u32) -> Standard {
        Standard([Part::Exactly(value >> 16), Part::Exactly(value & 0xffff)])
    }
}

/// Whether each part covers the other's.
fn cover(parts: &[Part], others: &[Part]) -> bool {
    parts
        .iter()
        .zip(others)
        .all(|(part, other)| part.covers(other))
}

impl Pattern for Standard {
    type Value = u32;

    fn matches(&self, value: u32) -> bool {
        let [high, low] = &self.0;
        high.matches(value >> 16) && low.matches(value & 0xffff)
    }

    fn only(&self) -> Option<u32> {
        match self.0 {
            [Part::Exactly(high), Part::Exactly(low)] => Some(high << 16 | low),
            _ => None,
        }
    }

    fn of(value: u32) -> Standard {
        Standard::exactly(value)
    }

    fn covers(&self, other: &Standard) -> bool {
        cover(&self.0, &other.0)
    }

    fn text(&self) -> String {
        let [high, low] = &self.0;
        format!("{high}:{low}")
    }

    fn text_of(value: u32) -> String {
        Standard::exactly(value).text()
    }
}

/// A pattern over RFC 8092 communities.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Large([Part; 3]);

impl Large {
    /// `65000:1:2`, `65000:*:2`.
    pub fn parse(text: &str) -> Option<Large> {
        let mut parts = text.splitn(3, ':').map(|part| Part::parse(part, u32::MAX));
        let parts = [parts.next()??, parts.next()??, parts.next()??];
        Some(Large(parts))
    }
}

impl Pattern for Large {
    type Value = [u32; 3];

    fn matches(&self, value: [u32; 3]) -> bool {
        let pairs = self.0.iter().zip(value);
        pairs.into_iter().all(|(part, number)| part.matches(number))
    }

    fn only(&self) -> Option<[u32; 3]> {
        match self.0 {
            [
                Part::Exactly(global),
                Part::Exactly(first),
                Part::Exactly(second),
            ] => Some([global, first, second]),
            _ => None,
        }
    }

    fn of(value: [u32; 3]) -> Large {
        Large(value.map(Part::Exactly))
    }

    fn covers(&self, other: &Large) -> bool {
        cover(&self.0, &other.0)
    }

    fn text(&self) -> String {
        let [global, first, second] = &self.0;
        format!("{global}:{first}:{second}")
    }

    fn text_of(value: [u32; 3]) -> String {
        Large::of(value).text()
    }
}

/// A pattern over RFC 4360 communities.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Extended {
    /// This one.
    Exactly([u8; 8]),
    /// Those whose text is like this.
    Like(Box<str>),
}

impl Extended {
    /// `rt:65000:1`, `soo:65000:*`, `0x…`.
    pub fn parse(text: &str) -> Option<Extended> {
        const LENGTH_MAX: usize = 40;
        if let Some(value) = extended(text) {
            return Some(Extended::Exactly(value));
        }
        if text.len() > LENGTH_MAX || !text.contains('*') {
            return None;
        }
        if let Some(digits) = text.strip_prefix("0x") {
            let digits = digits.to_ascii_lowercase();
            return is_like_plain(&digits).then(|| Extended::Like(format!("0x{digits}").into()));
        }
        let rest = text.strip_prefix("rt:");
        let rest = rest.or_else(|| text.strip_prefix("soo:"))?;
        is_like_named(rest).then(|| Extended::Like(text.into()))
    }
}

/// Whether some community that is shown in hexadecimal digits has some like these.
fn is_like_plain(pattern: &str) -> bool {
    let is_fit = |b: u8| b.is_ascii_hexdigit() || b == b'*';
    let digits = pattern.bytes().filter(|b| *b != b'*').count();
    // Those of these types and sub-types are shown as rt or soo.
    let named = ["0002", "0003", "0102", "0103", "0202", "0203"];
    pattern.bytes().all(is_fit)
        && digits <= 16
        && !named.iter().any(|head| pattern.starts_with(head))
}

/// Whether some community that has a name is like this behind that.
fn is_like_named(pattern: &str) -> bool {
    let (half, whole) = (u32::from(u16::MAX), u32::MAX);
    let mut splits = splits(pattern, ':').into_iter();
    splits.any(|(global, local)| {
        let is_marked = |global: &str| {
            let digits = global.strip_suffix('L');
            digits.is_some_and(|digits| stands_for_some(digits, 0, half))
        };
        let is_wide = |global: &str| {
            stands_for_some(global, half + 1, whole)
                || is_marked(global)
                || is_like_address(global, 4)
        };
        (stands_for_some(&global, 0, half) && stands_for_some(&local, 0, whole))
            || (is_wide(&global) && stands_for_some(&local, 0, half))
    })
}

/// Whether so many octets in decimal, with dots, are like this.
fn is_like_address(pattern: &str, octets: u8) -> bool {
    let is_octet = |pattern: &str| stands_for_some(pattern, 0, u32::from(u8::MAX));
    if octets == 1 {
        return is_octet(pattern);
    }
    let mut splits = splits(pattern, '.').into_iter();
    splits.any(|(first, rest)| is_octet(&first) && is_like_address(&rest, octets - 1))
}

/// What may be like the text before and behind the first separator, which a `*` may stand for too.
fn splits(pattern: &str, separator: char) -> Vec<(String, String)> {
    let mut splits = Vec::new();
    for (at, c) in pattern.char_indices() {
        let (before, behind) = pattern.split_at(at);
        if c == '*' {
            splits.push((format!("{before}*"), behind.to_owned()));
        } else if c == separator {
            let behind = behind.strip_prefix(separator).unwrap_or_default();
            splits.push((before.to_owned(), behind.to_owned()));
            break;
        }
    }
    splits
}

impl Pattern for Extended {
    type Value = [u8; 8];

    fn matches(&self, value: [u8; 8]) -> bool {
        match self {
            Extended::Exactly(wanted) => *wanted == value,
            Extended::Like(pattern) => like(pattern, &extended_text(value)),
        }
    }

    fn only(&self) -> Option<[u8; 8]> {
        match self {
            Extended::Exactly(value) => Some(*value),
            Extended::Like(_) => None,
        }
    }

    fn of(value: [u8; 8]) -> Extended {
        Extended::Exactly(value)
    }

    /// Of two texts with `*` in them: what stands for a `*` stands for what that stands for too.
    fn covers(&self, other: &Extended) -> bool {
        match (self, other) {
            (_, Extended::Exactly(value)) => self.matches(*value),
            (Extended::Like(pattern), Extended::Like(other)) => like(pattern, other),
            (Extended::Exactly(_), Extended::Like(_)) => false,
        }
    }

    fn text(&self) -> String {
        match self {
            Extended::Exactly(value) => extended_text(*value),
            Extended::Like(pattern) => pattern.to_string(),
        }
    }

    fn text_of(value: [u8; 8]) -> String {
        extended_text(value)
    }
}

/// The value of `65000:1`, or of a well-known community by name.
pub fn standard(text: &str) -> Option<u32> {
    if let Some(value) = well_known(text) {
        return Some(value);
    }
    let (high, low) = text.split_once(':')?;
    let half = |text| number(text, u32::from(u16::MAX));
    Some(half(high)? << 16 | half(low)?)
}

/// The value of `65000:1:2`.
pub fn large(text: &str) -> Option<[u32; 3]> {
    let mut parts = text.splitn(3, ':').map(|part| number(part, u32::MAX));
    Some([parts.next()??, parts.next()??, parts.next()??])
}

/// The value of what [`extended_text`] writes.
pub fn extended(text: &str) -> Option<[u8; 8]> {
    if let Some(digits) = text.strip_prefix("0x") {
        let is_hex = digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_hexdigit());
        let value = u64::from_str_radix(digits, 16).ok()?;
        return is_hex.then(|| value.to_be_bytes());
    }
    let (name, rest) = text.split_once(':')?;
    let subtype = match name {
        "rt" => ROUTE_TARGET,
        "soo" => SITE_OF_ORIGIN,
        _ => return None,
    };
    let (global, local) = rest.split_once(':')?;
    if let Ok(address) = global.parse::<Ipv4Addr>() {
        let local = number(local, u32::from(u16::MAX))? as u16;
        return Some(wide(IPV4_ADDRESS, subtype, address.octets(), local));
    }
    let (digits, marked) = match global.strip_suffix('L') {
        Some(digits) => (digits, true),
        None => (global, false),
    };
    let asn = number(digits, u32::MAX)?;
    match u16::try_from(asn) {
        Ok(asn) if !marked => {
            let ([a, b], [c, d, e, f]) =
                (asn.to_be_bytes(), number(local, u32::MAX)?.to_be_bytes());
            Some([TWO_OCTET_AS, subtype, a, b, c, d, e, f])
        }
        _ => {
            let local = number(local, u32::from(u16::MAX))? as u16;
            Some(wide(FOUR_OCTET_AS, subtype, asn.to_be_bytes(), local))
        }
    }
}

fn wide(kind: u8, subtype: u8, [a, b, c, d]: [u8; 4], local: u16) -> [u8; 8] {
    let [e, f] = local.to_be_bytes();
    [kind, subtype, a, b, c, d, e, f]
}

// RFC-DONE 5668 §2: Route targets and route origins of four-octet ASes are read, matched and shown.
/// An extended community as `rt:65000:1` or `soo:192.0.2.1:1`; what has no such form as 16
/// hexadecimal digits after `0x`.
///
/// A four-octet AS number that would fit in two octets is marked with an `L`, since the other form
/// of it is another value (RFC 5668).
pub fn extended_text(value: [u8; 8]) -> String {
    let [kind, subtype, a, b, c, d, e, f] = value;
    let plain = || format!("0x{:016x}", u64::from_be_bytes(value));
    let name = match subtype {
        ROUTE_TARGET => "rt",
        SITE_OF_ORIGIN => "soo",
        _ => return plain(),
    };
    let low = u16::from_be_bytes([e, f]);
    match kind {
        TWO_OCTET_AS => {
            let asn = u16::from_be_bytes([a, b]);
            format!("{name}:{asn}:{}", u32::from_be_bytes([c, d, e, f]))
        }
        IPV4_ADDRESS => format!("{name}:{}:{low}", Ipv4Addr::new(a, b, c, d)),
        FOUR_OCTET_AS => {
            let asn = u32::from_be_bytes([a, b, c, d]);
            let mark = if asn <= u32::from(u16::MAX) { "L" } else { "" };
            format!("{name}:{asn}{mark}:{low}")
        }
        _ => plain(),
    }
}

// RFC 4360 §3, RFC 5668 §2: types and sub-types of transitive extended communities.
const TWO_OCTET_AS: u8 = 0x00;
const IPV4_ADDRESS: u8 = 0x01;
const FOUR_OCTET_AS: u8 = 0x02;
const ROUTE_TARGET: u8 = 0x02;
const SITE_OF_ORIGIN: u8 = 0x03;

/// GRACEFUL_SHUTDOWN (RFC 8326).
pub const GRACEFUL_SHUTDOWN: u32 = 0xffff_0000;

/// Names of well-known communities (IANA's registry, RFC 1997 and later), as Cilium gives them, and
/// what else they are called.
pub const WELL_KNOWN: &[(&str, u32)] = &[
    ("internet", 0x0000_0000),
    ("planned-shut", GRACEFUL_SHUTDOWN),
    ("graceful-shutdown", GRACEFUL_SHUTDOWN),
    ("accept-own", 0xffff_0001),
    ("route-filter-translated-v4", 0xffff_0002),
    ("route-filter-v4", 0xffff_0003),
    ("route-filter-translated-v6", 0xffff_0004),
    ("route-filter-v6", 0xffff_0005),
    ("llgr-stale", 0xffff_0006),
    ("no-llgr", 0xffff_0007),
    ("blackhole", 0xffff_029a),
    ("no-export", 0xffff_ff01),
    ("no-advertise", 0xffff_ff02),
    ("no-export-subconfed", 0xffff_ff03),
    ("no-peer", 0xffff_ff04),
];

fn well_known(text: &str) -> Option<u32> {
    let mut all = WELL_KNOWN.iter();
    Some(all.find(|(name, _)| *name == text)?.1)
}

/// A decimal number without signs, spaces or leading zeroes, so that each has one form.
fn number(text: &str, max: u32) -> Option<u32> {
    let is_plain =
        text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    let number: u32 = text.parse().ok().filter(|_| is_plain)?;
    (number <= max).then_some(number)
}

/// Whether some number from `from`, which is 0 or of five digits, to `to` is like this in decimal.
fn stands_for_some(pattern: &str, from: u32, to: u32) -> bool {
    if !pattern.contains('*') {
        return number(pattern, to).is_some_and(|number| number >= from);
    }
    if !pattern.bytes().all(|b| b.is_ascii_digit() || b == b'*') {
        return false;
    }
    // The least has a digit for a `*` only where it would begin with a 0. A greater one has more.
    let digits: String = pattern.chars().filter(char::is_ascii_digit).collect();
    let least = match digits.len() > 1 && digits.starts_with('0') {
        false => digits.clone(),
        true if pattern.starts_with('*') => format!("1{digits}"),
        true => return false,
    };
    let is_zero_alone = pattern.starts_with('0');
    let fits = digits.is_empty() || least.parse().is_ok_and(|least: u32| least <= to);
    fits && (from == 0 || !is_zero_alone)
}

/// Whether `text` is like `pattern`, in which `*` stands for anything.
fn like(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let head = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(head) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> u32 {
        standard(text).unwrap()
    }

    #[test]
    fn standard_patterns() {
        for (pattern, text, wanted) in [
            ("65000:1", "65000:1", true),
            ("65000:1", "65000:11", false),
            ("65000:*", "65000:0", true),
            ("65000:*", "65001:0", false),
            ("*:666", "3356:666", true),
            ("*:666", "3356:667", false),
            ("65000:9*", "65000:9", true),
            ("65000:9*", "65000:90", true),
            ("65000:9*", "65000:19", false),
            ("65000:*9", "65000:19", true),
            ("65000:1*3*5", "65000:12345", true),
            ("65000:1*3*5", "65000:1245", false),
            ("no-export", "65535:65281", true),
            ("graceful-shutdown", "65535:0", true),
        ] {
            let pattern = Standard::parse(pattern).unwrap();
            assert_eq!(pattern.matches(value(text)), wanted, "{pattern:?} {text}");
        }
        for wrong in [
            "",
            "1",
            "65536:1",
            "1:65536",
            "a:b",
            "1:2:3",
            "01:1",
            "+1:1",
            "no-expert",
            "1:1a*",
            "70000*:1",
            "*:99999*",
            "0*1:1",
            "1:00*",
            "1: 1*",
            "1:*:1",
        ] {
            assert_eq!(Standard::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn large_and_extended_patterns() {
        let pattern = Large::parse("65000:*:1").unwrap();
        assert!(pattern.matches([65000, 4_294_967_295, 1]));
        assert!(!pattern.matches([65000, 0, 2]));
        assert_eq!(Large::parse("1:2"), None);
        assert_eq!(large("1:2:3"), Some([1, 2, 3]));
        let pattern = Extended::parse("rt:65000:*").unwrap();
        assert!(pattern.matches(extended("rt:65000:77").unwrap()));
        assert!(!pattern.matches(extended("soo:65000:77").unwrap()));
        assert!(!pattern.matches(extended("rt:6500:77").unwrap()));
        assert_eq!(Extended::parse("rx:1:1"), None);
        assert_eq!(Extended::parse("*"), None);
        for wrong in [
            "4294967296*:1:1",
            "5000000000*:*:*",
            "1:*",
            "*:*:*:*",
            "1:01*:1",
        ] {
            assert_eq!(Large::parse(wrong), None, "{wrong}");
        }
        for wrong in [
            "rt: 65000:*",
            "rt:x*",
            "rt:*:*:*:*",
            "rt:*:70000000000",
            "rt:*:00",
            "rt:70000:70000*",
            "rt:300.*:1",
            "rt:1.2.3.4.*:1",
            "rt:1.*L:1",
            "rt:*.1",
            "0xZZ*",
            "0x0002*",
            "0x00000000000000000*",
        ] {
            assert_eq!(Extended::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_pattern_that_some_community_is_like_is_taken() {
        for (pattern, text) in [
            ("*0:1", "0:1"),
            ("*00:*", "100:1"),
            ("0*:6553*", "0:65535"),
            ("**:*5*", "1:5"),
        ] {
            let pattern = Standard::parse(pattern).unwrap();
            assert!(pattern.matches(value(text)), "{pattern:?} {text}");
        }
        let whole = Large::parse("1234567890*:*4294967295:0").unwrap();
        assert!(whole.matches([1_234_567_890, u32::MAX, 0]));
        for (pattern, text) in [
            ("rt:*", "rt:65000:1"),
            ("rt:65000*", "rt:65000:1"),
            ("rt:65000*", "rt:650001:1"),
            ("rt:*:70000", "rt:1:70000"),
            ("rt:*1", "rt:70000:1"),
            ("rt:70000:*", "rt:70000:1"),
            ("soo:192.0.2.*", "soo:192.0.2.1:7"),
            ("soo:192.*:7", "soo:192.0.2.1:7"),
            ("soo:*.2.1:*", "soo:192.0.2.1:7"),
            ("rt:6*L:7", "rt:65000L:7"),
            ("rt:65000*:7", "rt:65000L:7"),
            ("0x030b*", "0x030b000000000001"),
            ("0x030B*1", "0x030b000000000001"),
        ] {
            let read = Extended::parse(pattern).unwrap_or_else(|| panic!("{pattern}"));
            assert!(read.matches(extended(text).unwrap()), "{pattern} {text}");
        }
    }

    #[test]
    fn patterns_cover_others() {
        let standard = |text| Standard::parse(text).unwrap();
        for (wide, narrow, wanted) in [
            ("65000:*", "65000:1", true),
            ("65000:*", "65000:9*", true),
            ("65000:9*", "65000:9*1", true),
            ("65000:9*1", "65000:9*", false),
            ("*:*", "65000:9*", true),
            ("*:1", "65000:*", false),
            ("65000:1", "65000:1", true),
            ("65000:1", "65000:1*", false),
            ("65000:*", "*:1", false),
        ] {
            assert_eq!(
                standard(wide).covers(&standard(narrow)),
                wanted,
                "{wide} {narrow}"
            );
        }
        let extended = |text| Extended::parse(text).unwrap();
        assert!(extended("rt:65000:*").covers(&extended("rt:65000:9*")));
        assert!(extended("rt:*").covers(&extended("rt:65000:1")));
        assert!(!extended("rt:65000:1").covers(&extended("rt:65000:*")));
        let large = |text| Large::parse(text).unwrap();
        assert!(large("1:*:*").covers(&large("1:2:*")));
        assert!(!large("1:*:2").covers(&large("1:2:*")));
    }

    // RFC-SHOWN 5668 §2
    #[test]
    fn extended_values_are_read_as_they_are_shown() {
        for text in [
            "rt:65000:1",
            "soo:192.0.2.1:7",
            "rt:65000L:7",
            "soo:65536:7",
            "0x030b000000000001",
        ] {
            assert_eq!(extended_text(extended(text).unwrap()), text);
        }
        assert_eq!(extended("rt:1:4294967296"), None);
        assert_eq!(extended("0x03"), None);
    }
}
