//! `match` and `not` of a RoutePolicy's statement.

use std::ops::RangeInclusive;

use codec::{IpPrefix, Origin, PeerKind};

use super::fields::{Field, Fields};
use super::neighbor::families_of;
use super::node::Value;
use super::policy::{Sets, ranges};
use crate::policy::{
    AsPathRegex, CommunityMatch, Extended, Large, Match, NeighborMatch, Sources, Standard,
    Validation, WELL_KNOWN,
};
use crate::watcher::fault::Report;

pub(super) fn match_of(field: &Field<'_>, sets: &mut Sets, report: &mut Report) -> Match {
    let mut asked = Match::default();
    let Some(mut fields) = field.fields(report) else {
        return asked;
    };
    if let Some(field) = fields.get("families") {
        asked.families = families_of(&field, report);
    }
    let neighbors = fields.get("neighbors");
    asked.neighbors = neighbors.and_then(|field| neighbors_of(&field, sets, report));
    asked.sources = fields
        .get("sources")
        .map(|field| sources_of(&field, report));
    prefixes_of(&mut fields, &mut asked, sets, report);
    if let Some(field) = fields.get("nextHops") {
        asked.next_hops = prefixes(&field, report);
    }
    if let Some(field) = fields.get("asPath") {
        as_path_of(&field, &mut asked, report);
    }
    if let Some(field) = fields.get("communities")
        && let Some(mut kinds) = field.fields(report)
    {
        if let Some(kind) = kinds.get("standard") {
            asked.standard = communities(&kind, Standard::parse, STANDARD, report);
        }
        if let Some(kind) = kinds.get("large") {
            asked.large = communities(&kind, Large::parse, LARGE, report);
        }
        if let Some(kind) = kinds.get("extended") {
            asked.extended = communities(&kind, Extended::parse, EXTENDED, report);
        }
        kinds.close_strictly(report);
    }
    asked.med = fields.get("med").and_then(|field| min_max(&field, report));
    let preference = fields.get("localPreference");
    asked.local_preference = preference.and_then(|field| min_max(&field, report));
    if let Some(field) = fields.get("origins") {
        asked.origins = words(&field, ORIGINS, report);
    }
    if let Some(field) = fields.get("validationStates") {
        asked.validation = words(&field, VALIDATION, report);
    }
    fields.close_strictly(report);
    asked
}

fn sources_of(field: &Field<'_>, report: &mut Report) -> Sources {
    let mut sources = Sources::NONE;
    for element in list(field, report) {
        if matches!(&element.node.value, Value::String(text) if text == "Service") {
            let accepted = SOURCES.map(|(word, _)| word).join(", ");
            let why = format!("\"Service\" is not supported yet; accepted for now: {accepted}");
            element.fault(report, why);
        } else if let Some(source) = element.word(&SOURCES, report) {
            sources = sources.with(source);
        }
    }
    sources
}

const SOURCES: [(&str, Sources); 3] = [
    ("Received", Sources::RECEIVED),
    ("NetworkPolicy", Sources::NETWORK_POLICY),
    ("PodCIDR", Sources::POD_CIDR),
];
const ORIGINS: &[(&str, Origin)] = &[
    ("IGP", Origin::Igp),
    ("EGP", Origin::Egp),
    ("INCOMPLETE", Origin::Incomplete),
];
const VALIDATION: &[(&str, Validation)] = &[
    ("Valid", Validation::Valid),
    ("Invalid", Validation::Invalid),
    ("NotFound", Validation::NotFound),
];
const KINDS: &[(&str, PeerKind)] = &[
    ("External", PeerKind::External),
    ("Internal", PeerKind::Internal),
];

pub(super) const STANDARD: Accepted = Accepted {
    value: "for example 65000:1 or no-export",
    pattern: "for example 65000:1, 65000:*, 65000:9* or no-export",
    parts: "two parts, each a number from 0 to 65535 without leading zeros",
    has_names: true,
};
pub(super) const LARGE: Accepted = Accepted {
    value: "for example 65000:1:2",
    pattern: "for example 65000:1:2 or 65000:*:2",
    parts: "three parts, each a number from 0 to 4294967295 without leading zeros",
    has_names: false,
};
pub(super) const EXTENDED: Accepted = Accepted {
    value: "for example rt:65000:1 or soo:192.0.2.1:7",
    pattern: "for example rt:65000:1, soo:192.0.2.1:7 or rt:65000:*",
    parts: "behind rt: or soo: an AS number or IPv4 address, a colon and a number; or, of any other \
            kind, behind 0x 16 hexadecimal digits",
    has_names: false,
};

/// How communities of one kind are written.
#[derive(Clone, Copy)]
pub(super) struct Accepted {
    pub(super) value: &'static str,
    pub(super) pattern: &'static str,
    /// What a `*` stands for some of.
    parts: &'static str,
    /// Whether some have names.
    has_names: bool,
}

impl Accepted {
    /// Says that a text is none, and what is.
    fn refuse(self, field: &Field<'_>, text: &str, examples: &str, report: &mut Report) {
        let is_word = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let is_name = text.starts_with(|c: char| c.is_ascii_alphabetic()) && is_word(text);
        let names = WELL_KNOWN.iter().map(|(name, _)| *name);
        let accepted = match self.has_names && is_name {
            true => format!(
                "{examples}; the names are {}",
                names.collect::<Vec<_>>().join(", ")
            ),
            false if text.contains('*') && examples == self.pattern => format!(
                "no community is like this: {}, and * for any of the characters; {examples}",
                self.parts
            ),
            false => examples.to_owned(),
        };
        field.refuse::<()>(report, accepted);
    }
}

/// A list of words, of which there has to be one: nothing would match an empty list.
fn words<T: Copy>(field: &Field<'_>, words: &[(&str, T)], report: &mut Report) -> Vec<T> {
    let elements = list(field, report);
    let read = |element: &Field<'_>| element.word(words, report);
    elements.iter().filter_map(read).collect()
}

/// The elements; none is a fault, since nobody writes a condition that nothing can meet, and leaving
/// it out means the opposite.
fn list<'n>(field: &Field<'n>, report: &mut Report) -> Vec<Field<'n>> {
    let elements = field.list(report);
    if elements.as_ref().is_some_and(Vec::is_empty) {
        field.fault(report, "is empty: at least one, or leave it out");
    }
    elements.unwrap_or_default()
}

fn prefixes(field: &Field<'_>, report: &mut Report) -> Vec<IpPrefix> {
    let elements = list(field, report);
    let read = |element: &Field<'_>| element.prefix_or_host(report);
    elements.iter().filter_map(read).collect()
}

fn neighbors_of(field: &Field<'_>, sets: &mut Sets, report: &mut Report) -> Option<NeighborMatch> {
    let mut asked = NeighborMatch::default();
    let mut fields = field.fields(report)?;
    if let Some(field) = fields.get("addresses") {
        asked.addresses = prefixes(&field, report);
    }
    if let Some(field) = fields.get("peerASNs") {
        asked.asns = asns(&field, report);
    }
    if let Some(field) = fields.get("types") {
        asked.kinds = words(&field, KINDS, report);
    }
    if let Some(field) = fields.get("templates") {
        let elements = list(&field, report);
        let names = elements.iter();
        let names = names.filter_map(|element| sets.template(element, report));
        asked.templates = names.collect();
    }
    fields.close_strictly(report);
    Some(asked)
}

fn prefixes_of(fields: &mut Fields<'_>, asked: &mut Match, sets: &mut Sets, report: &mut Report) {
    let named = fields.get("prefixSets");
    let written = fields.get("prefixes");
    asked.by_prefix = named.is_some() || written.is_some();
    if let Some(field) = named {
        for element in list(&field, report) {
            asked.prefix_sets.extend(sets.place(&element, report));
        }
    }
    if let Some(field) = written {
        list(&field, report);
        asked.prefixes = ranges(&field, report);
    }
}

fn as_path_of(field: &Field<'_>, asked: &mut Match, report: &mut Report) {
    let Some(mut fields) = field.fields(report) else {
        return;
    };
    if let Some(field) = fields.get("regexes") {
        for element in list(&field, report) {
            let Some(text) = element.scalar(report) else {
                continue;
            };
            match AsPathRegex::new(&text) {
                Ok(regex) => {
                    if !regex.can_match() {
                        element.warn(
                            report,
                            "no AS_PATH is like this: it is numbers from 1 to 4294967295 without \
                             leading zeros, one space between them, an AS_SET as {1 2}, and ^ and $ \
                             stand for its two ends",
                        );
                    }
                    asked.as_path_regexes.push(regex);
                }
                Err(why) => {
                    let brace = match why.contains("repetition") && text.contains('{') {
                        true => r"; the { of an AS_SET is written \{, and } \}",
                        false => "",
                    };
                    let accepted = format!(
                        "{why}{brace}; a regular expression over AS numbers, for example ^65002( .*)?$"
                    );
                    element.refuse::<()>(report, accepted);
                }
            }
        }
    }
    let length = fields.get("length");
    asked.as_path_length = length.and_then(|field| min_max(&field, report));
    if let Some(field) = fields.get("originASNs") {
        asked.origin_asns = asns(&field, report);
    }
    fields.close_strictly(report);
}

/// `min` and `max`, of which one may be missing.
fn min_max(field: &Field<'_>, report: &mut Report) -> Option<RangeInclusive<u32>> {
    let mut fields = field.fields(report)?;
    let mut bound = |name, fields: &mut Fields<'_>| {
        let field = fields.get(name)?;
        field.integer(0..=u32::MAX, report)
    };
    let min = bound("min", &mut fields);
    let max = bound("max", &mut fields);
    fields.close_strictly(report);
    let (from, to) = (min.unwrap_or(0), max.unwrap_or(u32::MAX));
    if min.is_none() && max.is_none() {
        field.fault(report, "is empty: min, max or both");
    } else if from > to {
        field.fault(
            report,
            format!("min {from} is above max {to}: no value is left"),
        );
        return None;
    }
    Some(from..=to)
}

/// AS numbers, and ranges like `65100-65199`.
fn asns(field: &Field<'_>, report: &mut Report) -> Vec<RangeInclusive<u32>> {
    let elements = list(field, report);
    let read = |element: &Field<'_>| {
        let text = element.scalar(report)?;
        let (from, to) = text.split_once('-').unwrap_or((&text, &text));
        match (from.trim().parse::<u32>(), to.trim().parse::<u32>()) {
            (Ok(_), Ok(0)) => element.refuse(report, "AS 0 is nobody's (RFC 7607)"),
            (Ok(from), Ok(to)) if from <= to => Some(from..=to),
            _ => element.refuse(report, "an AS number, or a range like 65100-65199"),
        }
    };
    elements.iter().filter_map(read).collect()
}

fn communities<P>(
    field: &Field<'_>,
    parse: impl Fn(&str) -> Option<P>,
    accepted: Accepted,
    report: &mut Report,
) -> CommunityMatch<P> {
    let mut asked = CommunityMatch::default();
    let Some(mut fields) = field.fields(report) else {
        return asked;
    };
    let mut read = |name, fields: &mut Fields<'_>| match fields.get(name) {
        Some(field) => communities_of(&field, &parse, (accepted, accepted.pattern), report),
        None => Vec::new(),
    };
    asked.any = read("any", &mut fields);
    asked.all = read("all", &mut fields);
    asked.none = read("none", &mut fields);
    fields.close_strictly(report);
    asked
}

/// A list of communities or patterns. An empty one asks for nothing.
pub(super) fn communities_of<P>(
    field: &Field<'_>,
    parse: impl Fn(&str) -> Option<P>,
    (accepted, examples): (Accepted, &str),
    report: &mut Report,
) -> Vec<P> {
    let elements = field.list(report).unwrap_or_default();
    let read = |element: &Field<'_>| {
        let text = element.scalar(report)?;
        let parsed = parse(&text);
        if parsed.is_none() {
            accepted.refuse(element, &text, examples, report);
        }
        parsed
    };
    elements.iter().filter_map(read).collect()
}
