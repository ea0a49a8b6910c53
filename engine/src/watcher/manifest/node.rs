//! A manifest as a tree in which every value knows its line.
//!
//! One pass over the text, by serde-saphyr; JSON is read by the same parser, since YAML contains
//! it. Nothing here knows a kind. The budget is ours: the library's default refuses a
//! `CiliumCIDRGroup` of ordinary size, and no budget at all would let a small file take all memory.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use serde_saphyr::budget::BudgetBreach;

/// Files above this size are refused, in octets.
pub const FILE_SIZE_MAX: usize = 64 * 1024 * 1024;
/// Mappings, sequences and scalars of one file.
const NODES_MAX: usize = 4_000_000;
/// Nesting; every level is a few stack frames.
const DEPTH_MAX: usize = 48;
/// Documents of one file.
const DOCUMENTS_MAX: usize = 100_000;
/// Events that aliases may replay: the bound on what a small file can blow itself up to.
const ALIAS_EVENTS_MAX: usize = 100_000;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    /// Counted from 1.
    pub(crate) line: u32,
    pub(crate) value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    String(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One key of a mapping with its value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    /// The line of the key.
    pub(crate) line: u32,
    pub(crate) node: Node,
}

/// Why a text is no YAML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    pub(crate) line: u32,
    pub(crate) message: String,
}

impl Value {
    /// What this is, for a message.
    pub(crate) fn describe(&self) -> String {
        match self {
            Value::Null => "nothing".into(),
            Value::Bool(value) => value.to_string(),
            Value::Integer(value) => value.to_string(),
            Value::Float(value) if value.fract() == 0.0 => {
                format!("{value}, with a leading zero, a decimal point or an exponent,")
            }
            Value::Float(value) => value.to_string(),
            Value::String(value) => format!("\"{}\"", shorten(value)),
            Value::List(_) => "a list".into(),
            Value::Map(_) => "a mapping".into(),
        }
    }
}

impl Node {
    /// Moves the tree down by `lines`.
    pub(crate) fn shift_lines(&mut self, lines: u32) {
        self.line = self.line.saturating_add(lines);
        match &mut self.value {
            Value::List(nodes) => nodes.iter_mut().for_each(|node| node.shift_lines(lines)),
            Value::Map(entries) => {
                for entry in entries {
                    entry.line = entry.line.saturating_add(lines);
                    entry.node.shift_lines(lines);
                }
            }
            _ => {}
        }
    }
}

/// A piece of somebody's text that is fit for one line of a message.
pub(crate) fn shorten(text: &str) -> String {
    shorten_to(80, text)
}

/// A path on one line.
pub(crate) fn printable(path: &str) -> String {
    shorten_to(4096, path)
}

fn shorten_to(length_max: usize, text: &str) -> String {
    let mut short: String = text
        .chars()
        .take(length_max)
        .flat_map(|c| {
            if c.is_control() {
                c.escape_debug().collect()
            } else {
                vec![c]
            }
        })
        .collect();
    if text.chars().nth(length_max).is_some() {
        short.push('…');
    }
    short
}

/// The documents of a text; empty ones are left out.
pub(crate) fn parse(text: &str) -> Result<Vec<Node>, SyntaxError> {
    if text.len() > FILE_SIZE_MAX {
        return Err(SyntaxError {
            line: 1,
            message: format!(
                "the file has {} octets, at most {FILE_SIZE_MAX} are read",
                text.len()
            ),
        });
    }
    serde_saphyr::from_multiple_with_options::<Node>(text, options()).map_err(|error| SyntaxError {
        line: error.location().map_or(1, |location| line_of(&location)),
        message: message_of(&error),
    })
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 2 * NODES_MAX,
            max_nodes: NODES_MAX,
            max_depth: DEPTH_MAX,
            max_documents: DOCUMENTS_MAX,
            max_total_scalar_bytes: FILE_SIZE_MAX,
            max_recorded_anchor_events: ALIAS_EVENTS_MAX,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: ALIAS_EVENTS_MAX,
        },
        // Only true and false: a label `y` and the word `Off` are text.
        strict_booleans: true,
        with_snippet: false,
        emit_comments: false,
    }
}

/// What is wrong, in words for whoever wrote the file: the library speaks to programmers.
fn message_of(error: &serde_saphyr::Error) -> String {
    use serde_saphyr::Error;
    const ALIASES: &str = "anchors and aliases repeat more than is read: write it out";
    match error.without_snippet() {
        Error::AliasError { error, .. } => message_of(error),
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            format!("the key {} is there twice in one mapping", shorten(key))
        }
        Error::DuplicateMappingKey { key: None, .. } => {
            "a key is there twice in one mapping".into()
        }
        Error::Budget { breach, .. } => message_of_breach(breach, ALIASES),
        Error::AliasReplayCounterOverflow { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => ALIASES.into(),
        Error::RecursiveReferencesRequireWeakTypes { .. } => "an anchor contains itself".into(),
        Error::UnknownAnchor { .. } => {
            "an alias of an anchor that is not there: text that begins with * goes in quotes".into()
        }
        Error::NullIntoString { .. } => "a key is empty: text is expected".into(),
        Error::TaggedScalarCannotDeserializeIntoString { .. } => {
            "a tag that is not read: leave it out".into()
        }
        Error::InvalidBinaryBase64 { .. } | Error::BinaryNotUtf8 { .. } => {
            "!!binary is not read: write text".into()
        }
        other => {
            let message = other.to_string();
            match mend(&message) {
                Some(mend) => format!("{}: {mend}", first_line(&message)),
                None => first_line(&message),
            }
        }
    }
}

/// What to look for, where that is plain.
fn mend(message: &str) -> Option<&'static str> {
    const MENDS: [(&str, &str); 7] = [
        ("tabs disallowed", "indent with spaces"),
        (
            "did not find expected key",
            "look at the indentation of this line",
        ),
        (
            "mapping values are not allowed",
            "look at the indentation of this line and the one before; text with a colon and a space \
             goes in quotes",
        ),
        ("unclosed quote", "the closing quote is missing"),
        ("unclosed bracket", "the closing bracket is missing"),
        (
            "illegal placement of ':'",
            "a bracket before is not closed, or a comma is missing",
        ),
        (
            "unexpected character",
            "text that begins with this goes in quotes",
        ),
    ];
    let known = MENDS.iter().find(|(of, _)| message.contains(of));
    known.map(|(_, mend)| *mend)
}

fn message_of_breach(breach: &BudgetBreach, aliases: &str) -> String {
    match breach {
        BudgetBreach::Depth { .. } => format!("nested deeper than {DEPTH_MAX} levels"),
        BudgetBreach::Documents { .. } => format!("more than {DOCUMENTS_MAX} documents"),
        BudgetBreach::Events { .. } | BudgetBreach::Nodes { .. } => {
            format!("more than {NODES_MAX} values")
        }
        BudgetBreach::Aliases { .. }
        | BudgetBreach::Anchors { .. }
        | BudgetBreach::AliasAnchorRatio { .. }
        | BudgetBreach::MergeKeys { .. }
        | BudgetBreach::RecordedAnchorEvents { .. }
        | BudgetBreach::RecordedAnchorBytes { .. } => aliases.into(),
        BudgetBreach::SequenceUnbalanced => "a list or mapping does not end where it began".into(),
        _ => "more text than is read".into(),
    }
}

fn line_of(location: &serde_saphyr::Location) -> u32 {
    u32::try_from(location.line()).unwrap_or(u32::MAX).max(1)
}

fn first_line(message: &str) -> String {
    shorten_to(240, message.lines().next().unwrap_or_default())
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Node, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Node {
            line: line_of(&spanned.referenced),
            value: spanned.value,
        })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(node) = sequence.next_element()? {
            list.push(node);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            entries.push(Entry {
                line: line_of(&key.referenced),
                key: key.value,
                node: map.next_value()?,
            });
        }
        Ok(Value::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(node: &Node) -> &[Entry] {
        match &node.value {
            Value::Map(entries) => entries,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn lines_of_keys_and_values() {
        let text = "# one\na: 1\nb:\n  - x\n  - 10.0.1.0/24\n---\n\nc: ::1\n";
        let documents = parse(text).unwrap();
        assert_eq!(documents.len(), 2);
        let first = map(&documents[0]);
        assert_eq!((first[0].line, first[0].node.line), (2, 2));
        assert_eq!(first[0].node.value, Value::Integer(1));
        let Value::List(list) = &first[1].node.value else {
            panic!("{first:?}")
        };
        assert_eq!(list[1].line, 5);
        assert_eq!(list[1].value, Value::String("10.0.1.0/24".into()));
        let second = map(&documents[1]);
        assert_eq!(second[0].line, 8);
        assert_eq!(second[0].node.value, Value::String("::1".into()));
    }

    #[test]
    fn json_is_read_too() {
        let text = "{\n\t\"a\": [1, true, null],\n\t\"b\": \"\\ud83d\\ude00\"\n}\n";
        let documents = parse(text).unwrap();
        let entries = map(&documents[0]);
        assert_eq!((entries[0].line, entries[1].line), (2, 3));
        assert_eq!(entries[1].node.value, Value::String("😀".into()));
    }

    #[test]
    fn what_is_no_yaml_is_named_with_its_line() {
        let error = parse("a: 1\nb: [1, 2\nc: 3\n").unwrap_err();
        assert!(error.line >= 2, "{error:?}");
        assert!(!error.message.is_empty() && !error.message.contains('\n'));
        let error = parse("a: 1\na: 2\n").unwrap_err();
        assert_eq!(error.line, 2, "{error:?}");
    }

    #[test]
    fn nothing_small_grows_large() {
        let mut text = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for i in 1..12 {
            let alias = format!("*a{}", i - 1);
            let list = vec![alias; 10].join(",");
            text.push_str(&format!("a{i}: &a{i} [{list}]\n"));
        }
        assert!(parse(&text).is_err());
        assert!(parse(&"[".repeat(100_000)).is_err());
        assert!(parse(&"- ".repeat(100_000)).is_err());
        assert!(parse(&"{a: ".repeat(1_000)).is_err());
    }

    #[test]
    fn what_is_wrong_is_said_without_the_librarys_words() {
        let anchors = format!("a: &a [{}]\n", vec!["x"; ALIAS_EVENTS_MAX].join(","));
        let aliases = format!(
            "a: &a [{}]\nb: [{}]\n",
            vec!["x"; 1_000].join(","),
            vec!["*a"; 200].join(",")
        );
        let brackets = "[".repeat(60) + &"]".repeat(60);
        let documents = "--- a\n".repeat(DOCUMENTS_MAX + 1);
        let cases: [(&str, &str); 15] = [
            ("a: 1\na: 2\n", "the key a is there twice in one mapping"),
            (&brackets, "nested deeper than 48 levels"),
            (&anchors, "write it out"),
            (&aliases, "write it out"),
            (&documents, "more than 100000 documents"),
            ("a: *b\n", "an anchor that is not there"),
            ("a: &a [*a]\n", "an anchor contains itself"),
            ("~: 1\n", "a key is empty"),
            ("a: *.x\n", "text that begins with * goes in quotes"),
            ("a: `x`\n", "text that begins with this goes in quotes"),
            (
                "a:\n  b: 1\n   c: 2\n",
                "look at the indentation of this line",
            ),
            (
                "a:\n    b: 1\n  c: 2\n",
                "look at the indentation of this line",
            ),
            ("a:\n\t- 1\n", "indent with spaces"),
            ("a: \"x\n", "the closing quote is missing"),
            ("a: [1, 2\nb: 3\n", "a bracket before is not closed"),
        ];
        for (text, expected) in cases {
            let message = parse(text).unwrap_err().message;
            assert!(message.contains(expected), "{expected}: {message}");
        }
    }

    #[test]
    fn empty_documents_are_left_out() {
        assert_eq!(parse("").unwrap(), []);
        assert_eq!(parse("# only words\n").unwrap(), []);
        assert_eq!(parse("---\n---\n").unwrap(), []);
    }

    #[test]
    #[ignore = "a measurement"]
    fn a_hundred_thousand_lines() {
        let mut text = String::from("spec:\n  externalCIDRs:\n");
        for i in 0..100_000u32 {
            text.push_str(&format!("  - 10.{}.{}.0/24\n", i >> 8 & 255, i & 255));
        }
        let clock = crate::time::Clock::system();
        let documents = parse(&text).unwrap();
        println!("{} {:?}", documents.len(), clock.now());
    }
}
