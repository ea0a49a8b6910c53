//! Typed reading of a tree, field by field, with a fault for whatever is not as it should be.
//!
//! A reader asks a [`Fields`] for the fields that it knows and then closes it: strictly (anything
//! else is a fault) or leniently (only what looks like a misspelling is a warning). `null` is the
//! same as a field that is not there, as in Kubernetes.
//!
//! A mapping may lie over another one ([`Field::over`]): what it does not say, the one beneath
//! does, mapping by mapping; a list is taken whole. Whatever is read keeps its own line.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;

use codec::{Family, IpPrefix, Ipv4Prefix, Ipv6Prefix};

use super::node::{Entry, Node, Value, shorten};
use crate::config::{PeerAddress, host_prefix};
use crate::watcher::fault::Report;

/// A value with the way to it.
#[derive(Clone, Debug)]
pub(super) struct Field<'n> {
    pub(super) path: String,
    pub(super) line: u32,
    pub(super) node: &'n Node,
    beneath: Option<Box<Field<'n>>>,
}

/// The fields of one mapping.
#[derive(Debug)]
pub(super) struct Fields<'n> {
    pub(super) path: String,
    pub(super) line: u32,
    entries: &'n [Entry],
    asked: Vec<&'static str>,
    beneath: Option<Box<Fields<'n>>>,
}

/// A prefix as somebody wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WrittenPrefix {
    pub(super) prefix: IpPrefix,
    pub(super) host_bits: bool,
}

impl<'n> Field<'n> {
    /// The document itself.
    pub(super) fn root(node: &'n Node) -> Field<'n> {
        Field {
            path: String::new(),
            line: node.line,
            node,
            beneath: None,
        }
    }

    /// The same, as it stands in another document.
    pub(super) fn under(self, path: String, line: u32) -> Field<'n> {
        Field { path, line, ..self }
    }

    /// This mapping over another one.
    pub(super) fn over(self, beneath: Option<Field<'n>>) -> Field<'n> {
        Field {
            beneath: beneath.map(Box::new),
            ..self
        }
    }

    pub(super) fn fault(&self, report: &mut Report, message: impl Into<String>) {
        report.fault(self.line, &self.path, message);
    }

    pub(super) fn warn(&self, report: &mut Report, message: impl Into<String>) {
        report.warn(self.line, &self.path, message);
    }

    /// A fault that names the value and what would be accepted.
    pub(super) fn refuse<T>(&self, report: &mut Report, accepted: impl Display) -> Option<T> {
        let written = self.node.value.describe();
        self.fault(report, format!("{written} is not accepted: {accepted}"));
        None
    }

    pub(super) fn fields(&self, report: &mut Report) -> Option<Fields<'n>> {
        match &self.node.value {
            Value::Map(entries) => Some(Fields {
                path: self.path.clone(),
                line: self.line,
                entries,
                asked: Vec::new(),
                beneath: match &self.beneath {
                    Some(beneath) => beneath.fields(report).map(Box::new),
                    None => None,
                },
            }),
            _ => self.refuse(report, "a mapping is expected"),
        }
    }

    /// The elements; a fault and none, if this is no list.
    pub(super) fn list(&self, report: &mut Report) -> Option<Vec<Field<'n>>> {
        let elements = self.elements(report)?;
        let field = |(index, node): (usize, &'n Node)| Field {
            path: format!("{}[{index}]", self.path),
            line: node.line,
            node,
            beneath: None,
        };
        Some(elements.iter().enumerate().map(field).collect())
    }

    /// The elements without a path each, for lists that may be very long.
    pub(super) fn elements(&self, report: &mut Report) -> Option<&'n [Node]> {
        match &self.node.value {
            Value::List(nodes) => Some(nodes),
            _ => self.refuse(report, "a list is expected"),
        }
    }

    pub(super) fn boolean(&self, report: &mut Report) -> Option<bool> {
        match self.node.value {
            Value::Bool(value) => Some(value),
            _ => self.refuse(report, "true or false"),
        }
    }

    pub(super) fn integer<T>(&self, range: RangeInclusive<T>, report: &mut Report) -> Option<T>
    where
        T: TryFrom<i128> + PartialOrd + Display + Copy,
    {
        if let Value::Integer(value) = self.node.value
            && let Ok(value) = T::try_from(value)
            && range.contains(&value)
        {
            return Some(value);
        }
        let accepted = format!("a number from {} to {}", range.start(), range.end());
        match self.node.value {
            // Which of the three it was, the text alone would tell.
            Value::Float(value) if value.fract() == 0.0 => {
                let is_meant = T::try_from(value as i128).is_ok_and(|meant| range.contains(&meant));
                let mend = match is_meant {
                    true => format!("write {value}: "),
                    false => String::new(),
                };
                self.refuse(report, format!("{mend}{accepted} in digits alone"))
            }
            Value::Float(_) => self.refuse(report, format!("{accepted}, a whole one")),
            _ => self.refuse(report, accepted),
        }
    }

    pub(super) fn string(&self, report: &mut Report) -> Option<&'n str> {
        match &self.node.value {
            Value::String(text) => Some(text),
            _ => self.refuse(
                report,
                "text is expected (in quotes, if it looks like a number)",
            ),
        }
    }

    /// Text, also where YAML takes it for a number or a truth value.
    pub(super) fn scalar(&self, report: &mut Report) -> Option<String> {
        match &self.node.value {
            Value::String(text) => Some(text.clone()),
            Value::Bool(value) => Some(value.to_string()),
            Value::Integer(value) => Some(value.to_string()),
            Value::Float(value) => Some(value.to_string()),
            _ => self.refuse(report, "text is expected"),
        }
    }

    /// The name of an object.
    pub(super) fn name(&self, report: &mut Report) -> Option<String> {
        const LENGTH_MAX: usize = 253;
        let name = self.scalar(report)?;
        let is_fit = |c: char| !c.is_control() && !c.is_whitespace();
        if name.is_empty() || name.len() > LENGTH_MAX || !name.chars().all(is_fit) {
            let accepted = "a name: 1 to 253 characters without spaces";
            return self.refuse(report, accepted);
        }
        Some(name)
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&self, words: &[(&str, T)], report: &mut Report) -> Option<T> {
        if let Value::String(text) = &self.node.value
            && let Some((_, meaning)) = words.iter().find(|(word, _)| word == text)
        {
            return Some(*meaning);
        }
        let accepted: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        self.refuse(report, format!("one of {}", accepted.join(", ")))
    }

    pub(super) fn ipv4(&self, report: &mut Report) -> Option<Ipv4Addr> {
        if let Value::String(text) = &self.node.value
            && let Ok(address) = text.parse()
        {
            return Some(address);
        }
        self.refuse(report, "an IPv4 address, for example 192.168.1.1")
    }

    pub(super) fn ip(&self, report: &mut Report) -> Option<IpAddr> {
        if let Value::String(text) = &self.node.value
            && let Ok(address) = text.parse()
        {
            return Some(address);
        }
        self.refuse(report, "an IP address, for example 10.0.0.6 or 2001:db8::6")
    }

    /// The address of a peer, with its interface where it is link-local.
    pub(super) fn peer_address(&self, report: &mut Report) -> Option<PeerAddress> {
        let Value::String(text) = &self.node.value else {
            return self.refuse(
                report,
                "an IP address, for example 10.0.0.6 or fe80::6%eth0",
            );
        };
        match text.parse() {
            Ok(address) => Some(address),
            Err(accepted) => self.refuse(report, accepted),
        }
    }

    /// A prefix without host bits, as kinds of ours want it.
    pub(super) fn strict_prefix(&self, report: &mut Report) -> Option<IpPrefix> {
        let written = match &self.node.value {
            Value::String(text) if text.contains('/') => parse_prefix(text),
            _ => None,
        };
        match written {
            Some(written) if written.host_bits => self.refuse(
                report,
                format!("host bits are set, write {}", written.prefix),
            ),
            Some(written) => Some(written.prefix),
            None => self.refuse(report, "a prefix, for example 10.0.0.0/8 or 2001:db8::/32"),
        }
    }

    /// A prefix without host bits, or an address for that host alone.
    pub(super) fn prefix_or_host(&self, report: &mut Report) -> Option<IpPrefix> {
        match &self.node.value {
            Value::String(text) if !text.contains('/') => match text.parse() {
                Ok(address) => Some(host_prefix(address)),
                Err(_) => self.refuse(
                    report,
                    "a prefix or an address, for example 10.0.0.0/8 or 10.0.0.6",
                ),
            },
            _ => self.strict_prefix(report),
        }
    }

    /// A prefix as Cilium takes it: host bits are masked, a bare address is a host route.
    pub(super) fn lenient_prefix(&self, report: &mut Report) -> Option<IpPrefix> {
        lenient_prefix(self.node, &|| self.path.clone(), report)
    }
}

/// As [`Field::lenient_prefix`]; the path is only built when something is to be said.
pub(super) fn lenient_prefix(
    node: &Node,
    path: &dyn Fn() -> String,
    report: &mut Report,
) -> Option<IpPrefix> {
    let written = match &node.value {
        Value::String(text) => parse_prefix(text),
        _ => None,
    };
    match written {
        Some(written) => {
            if written.host_bits {
                let message = format!(
                    "{} has host bits set, it is read as {}",
                    node.value.describe(),
                    written.prefix
                );
                report.warn(node.line, &path(), message);
            }
            Some(written.prefix)
        }
        None => {
            let message = format!(
                "{} is not accepted: a prefix, for example 10.0.1.0/24 or 2001:db8::/32",
                node.value.describe()
            );
            report.fault(node.line, &path(), message);
            None
        }
    }
}

/// A prefix, or an address as a host route.
pub(super) fn parse_prefix(text: &str) -> Option<WrittenPrefix> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let length = match length {
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok()?,
        Some(_) => return None,
        None => longest,
    };
    if length > longest {
        return None;
    }
    Some(match address {
        IpAddr::V4(address) => WrittenPrefix {
            prefix: IpPrefix::V4(Ipv4Prefix::masked(address, length)),
            host_bits: Ipv4Prefix::new(address, length).is_none(),
        },
        IpAddr::V6(address) => WrittenPrefix {
            prefix: IpPrefix::V6(Ipv6Prefix::masked(address, length)),
            host_bits: Ipv6Prefix::new(address, length).is_none(),
        },
    })
}

/// The longest prefix of a family.
pub(super) fn longest(family: Family) -> u8 {
    match family {
        Family::Ipv4Unicast => 32,
        Family::Ipv6Unicast => 128,
    }
}

impl<'n> Fields<'n> {
    /// The field, unless it is not there or null.
    pub(super) fn get(&mut self, name: &'static str) -> Option<Field<'n>> {
        if !self.asked.contains(&name) {
            self.asked.push(name);
        }
        let beneath = self.beneath.as_mut().and_then(|fields| fields.get(name));
        let entry = self.entries.iter().find(|entry| entry.key == name);
        match entry.filter(|entry| entry.node.value != Value::Null) {
            Some(entry) => {
                let merges = |field: &Field<'_>| matches!(field.node.value, Value::Map(_));
                let field = self.field(entry);
                let beneath = beneath.filter(|beneath| merges(beneath) && merges(&field));
                Some(field.over(beneath))
            }
            None => beneath,
        }
    }

    /// Whether a field of these comes from the mapping beneath.
    pub(super) fn is_beneath(&self, field: &Field<'_>) -> bool {
        let mut own = self.entries.iter();
        !own.any(|entry| std::ptr::eq(&entry.node, field.node))
    }

    /// The field, unless it is not there; a fault, if there is nothing after its name. For fields
    /// of which half a document must not be taken for less than the whole one says.
    pub(super) fn get_written(
        &mut self,
        name: &'static str,
        report: &mut Report,
    ) -> Option<Field<'n>> {
        let is_null = |entry: &&Entry| entry.key == name && entry.node.value == Value::Null;
        if let Some(entry) = self.entries.iter().find(is_null) {
            let message = "nothing is written after it: write its value, or leave the field out";
            self.field(entry).fault(report, message);
        }
        self.get(name)
    }

    /// The field; a fault, if it is not there.
    pub(super) fn require(
        &mut self,
        name: &'static str,
        accepted: &str,
        report: &mut Report,
    ) -> Option<Field<'n>> {
        let field = self.get(name);
        if field.is_none() {
            let path = self.path_of(name);
            report.fault(self.line, &path, format!("is missing: {accepted}"));
        }
        field
    }

    /// Every field, for mappings whose keys are data.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'n str, Field<'n>)> {
        self.entries
            .iter()
            .map(|entry| (entry.key.as_str(), self.field(entry)))
    }

    pub(super) fn path_of(&self, name: &str) -> String {
        path_under(&self.path, name)
    }

    fn field(&self, entry: &'n Entry) -> Field<'n> {
        Field {
            path: self.path_of(&shorten(&entry.key)),
            line: entry.line,
            node: &entry.node,
            beneath: None,
        }
    }

    /// A field that was not asked for is a fault. Those of the mapping beneath are not looked at:
    /// it is read by itself too.
    pub(super) fn close_strictly(self, report: &mut Report) {
        for entry in self.entries {
            if self.asked.contains(&entry.key.as_str()) {
                continue;
            }
            let message = match nearest(&entry.key, &self.asked) {
                Some(name) => format!("unknown field; did you mean {name}?"),
                None => format!("unknown field; accepted are {}", self.asked.join(", ")),
            };
            let path = path_under(&self.path, &shorten(&entry.key));
            report.fault(entry.line, &path, message);
        }
    }

    /// A field that was not asked for and is none of `known` either is a warning, if it looks like
    /// one that was asked for.
    pub(super) fn close_leniently(self, known: &[&str], report: &mut Report) {
        for entry in self.entries {
            let key = entry.key.as_str();
            if self.asked.contains(&key) || known.contains(&key) {
                continue;
            }
            if let Some(name) = nearest(key, &self.asked) {
                let message = format!("unknown field, it is not read; did you mean {name}?");
                report.warn(entry.line, &self.path_of(&shorten(key)), message);
            }
        }
    }
}

fn path_under(path: &str, name: &str) -> String {
    match path.is_empty() {
        true => name.to_owned(),
        false => format!("{path}.{name}"),
    }
}

/// The name that a misspelt key most likely stands for.
pub(super) fn nearest<'a>(key: &str, names: &[&'a str]) -> Option<&'a str> {
    const LENGTH_MAX: usize = 40;
    if key.len() > LENGTH_MAX {
        return None;
    }
    let written = key.to_ascii_lowercase();
    names
        .iter()
        .filter_map(|name| {
            let distance = edit_distance(&written, &name.to_ascii_lowercase());
            let allowed = (name.len() / 4).clamp(1, 2);
            (distance <= allowed).then_some((distance, *name))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Insertions, deletions, substitutions and swaps of neighbors that lead from one to the other.
fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let substitution = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = substitution.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before_last[j - 2] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_as_people_write_them() {
        let parsed = |text: &str| {
            parse_prefix(text).map(|written| (written.prefix.to_string(), written.host_bits))
        };
        assert_eq!(parsed("10.0.1.0/24"), Some(("10.0.1.0/24".into(), false)));
        assert_eq!(parsed("10.0.1.7/24"), Some(("10.0.1.0/24".into(), true)));
        assert_eq!(parsed("10.0.1.7"), Some(("10.0.1.7/32".into(), false)));
        assert_eq!(
            parsed("2001:db8::1"),
            Some(("2001:db8::1/128".into(), false))
        );
        assert_eq!(parsed("10.0.1.0/33"), None);
        assert_eq!(parsed("10.0.1.0/"), None);
        assert_eq!(parsed("10.0.1.0/+8"), None);
        assert_eq!(parsed("10.0.1/24"), None);
        assert_eq!(parsed("fe80::1%eth0"), None);
    }

    #[test]
    fn the_nearest_name() {
        let names = ["toCIDR", "toCIDRSet", "peerASN"];
        assert_eq!(nearest("toCidr", &names), Some("toCIDR"));
        assert_eq!(nearest("toCIRD", &names), Some("toCIDR"));
        assert_eq!(nearest("toCIDRs", &names), Some("toCIDR"));
        assert_eq!(nearest("peerAS", &names), Some("peerASN"));
        assert_eq!(nearest("toPorts", &names), None);
        assert_eq!(nearest(&"x".repeat(10_000), &names), None);
    }
}
