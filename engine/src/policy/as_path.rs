//! Regular expressions over AS_PATHs.
//!
//! An expression is looked for in the path as text: AS numbers in decimal, one space apart, an
//! AS_SET as `{1 2}`; `_` stands for a boundary: the beginning, the end, or what is between two
//! numbers. Matching takes time in step with the text, whatever the expression; its size, and what
//! is built of it, are bounded.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::hir::{Class, Hir, HirKind, Look, Repetition};

/// Octets of an expression.
const LENGTH_MAX: usize = 1024;

/// Octets that one expression may take when it is compiled.
const COMPILED_MAX: usize = 256 << 10;

/// One expression. Two of the same text are equal.
#[derive(Clone, Debug)]
pub struct AsPathRegex {
    text: Arc<str>,
    regex: Regex,
}

impl AsPathRegex {
    /// Compiles an expression.
    ///
    /// # Errors
    /// What is wrong with it, in one line.
    pub fn new(text: &str) -> Result<AsPathRegex, String> {
        if text.len() > LENGTH_MAX {
            return Err(format!("it is longer than {LENGTH_MAX} octets"));
        }
        let built = RegexBuilder::new(&with_boundaries(text))
            .unicode(false)
            .size_limit(COMPILED_MAX)
            .dfa_size_limit(COMPILED_MAX)
            .build();
        let regex = built.map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => "it takes too much memory: write it shorter".into(),
            other => last_line(&other.to_string()),
        })?;
        Ok(AsPathRegex {
            text: text.into(),
            regex,
        })
    }

    /// Whether it is found in a path.
    pub fn matches(&self, as_path: &str) -> bool {
        self.regex.is_match(as_path.as_bytes())
    }

    /// An AS number that every path has in which it is found, if the expression plainly says so:
    /// `_65002_`, `^65002 `, `^65002( .*)?$` and the like.
    pub(super) fn required_asn(&self) -> Option<u32> {
        required_asn(&self.text)
    }

    /// False: there is no path in which it can be found, since it asks for what no path has, or for
    /// something before the beginning or behind the end. True where that is not plain.
    pub fn can_match(&self) -> bool {
        let parser = regex_syntax::ParserBuilder::new()
            .unicode(false)
            .utf8(false)
            .build()
            .parse(&with_boundaries(&self.text));
        // It was parsed before.
        parser.map_or(true, |hir| !Places::ANYWHERE.after(&hir).is_empty())
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl PartialEq for AsPathRegex {
    fn eq(&self, other: &AsPathRegex) -> bool {
        self.text == other.text
    }
}

impl Eq for AsPathRegex {}

impl Hash for AsPathRegex {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

/// Where in a text one may be after a part of an expression, by four bits: in front of all of it or
/// not, and of either whether it has been said that nothing follows.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Places(u8);

impl Places {
    const NOWHERE: Places = Places(0);
    /// At the beginning or within, as a search begins.
    const ANYWHERE: Places = Places(Places::FRONT | Places::WITHIN);
    const ALL: Places =
        Places(Places::FRONT | Places::WITHIN | Places::FRONT_ENDED | Places::WITHIN_ENDED);
    const FRONT: u8 = 1;
    const WITHIN: u8 = 2;
    const FRONT_ENDED: u8 = 4;
    const WITHIN_ENDED: u8 = 8;

    fn is_empty(self) -> bool {
        self == Places::NOWHERE
    }

    fn or(self, other: Places) -> Places {
        Places(self.0 | other.0)
    }

    /// After one octet, if a path may have it.
    fn after_octet(self, may_be: bool) -> Places {
        match may_be && self.0 & (Places::FRONT | Places::WITHIN) != 0 {
            true => Places(Places::WITHIN),
            false => Places::NOWHERE,
        }
    }

    /// Where one may be after a part; more than that, never less.
    fn after(self, part: &Hir) -> Places {
        if self.is_empty() {
            return self;
        }
        match part.kind() {
            HirKind::Empty => self,
            HirKind::Literal(literal) => {
                let mut octets = literal.0.iter();
                octets
                    .try_fold(self, |at, octet| {
                        let after = at.after_octet(OCTETS.contains(octet));
                        (!after.is_empty()).then_some(after)
                    })
                    .unwrap_or(Places::NOWHERE)
            }
            HirKind::Class(class) => self.after_octet(has_octet_of_a_path(class)),
            HirKind::Look(Look::Start | Look::StartLF | Look::StartCRLF) => {
                Places(self.0 & (Places::FRONT | Places::FRONT_ENDED))
            }
            HirKind::Look(Look::End | Look::EndLF | Look::EndCRLF) => {
                let open = self.0 & (Places::FRONT | Places::WITHIN);
                Places(self.0 & !open | open << 2)
            }
            HirKind::Look(_) => self,
            HirKind::Capture(capture) => self.after(&capture.sub),
            HirKind::Concat(parts) => parts.iter().fold(self, Places::after),
            HirKind::Alternation(parts) => parts
                .iter()
                .fold(Places::NOWHERE, |all, part| all.or(self.after(part))),
            HirKind::Repetition(repetition) => self.after_repeated(repetition),
        }
    }

    fn after_repeated(self, repetition: &Repetition) -> Places {
        /// Times after which it is given up to find out more.
        const TIMES: u32 = 16;
        let mut at = self;
        for _ in 0..repetition.min.min(TIMES) {
            let after = at.after(&repetition.sub);
            if after == at {
                break;
            }
            at = after;
        }
        if repetition.min > TIMES && !at.is_empty() {
            at = Places::ALL;
        }
        if repetition.max.is_some_and(|max| max == repetition.min) {
            return at;
        }
        // At most every place is found once.
        for _ in 0..4 {
            at = at.or(at.after(&repetition.sub));
        }
        at
    }
}

/// What the text of a path is made of.
const OCTETS: &[u8] = b"0123456789 {}()[]";

fn has_octet_of_a_path(class: &Class) -> bool {
    let is_in = |octet: &u8| match class {
        Class::Unicode(class) => {
            let mut ranges = class.iter();
            ranges.any(|range| (range.start()..=range.end()).contains(&char::from(*octet)))
        }
        Class::Bytes(class) => {
            let mut ranges = class.iter();
            ranges.any(|range| (range.start()..=range.end()).contains(octet))
        }
    };
    OCTETS.iter().any(is_in)
}

/// The parser draws a picture above the line that says what is wrong.
fn last_line(message: &str) -> String {
    let line = message.lines().rev().find(|line| !line.trim().is_empty());
    let line = line.unwrap_or(message).trim();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

/// Looks for digits between two boundaries in an expression of nothing but numbers and boundaries,
/// behind which anything may follow.
fn required_asn(text: &str) -> Option<u32> {
    let head = text.strip_suffix("( .*)?$");
    let octets = head.unwrap_or(text).as_bytes();
    let is_boundary = |b: &u8| matches!(b, b'_' | b' ' | b'^' | b'$');
    if !octets.iter().all(|b| b.is_ascii_digit() || is_boundary(b)) {
        return None;
    }
    let ends_bounded = head.is_some() || octets.last().is_some_and(is_boundary);
    let mut runs = octets.split(is_boundary).collect::<Vec<_>>();
    if !ends_bounded {
        // The number may go on.
        runs.pop();
    }
    // Before the first boundary it may be the end of a longer one.
    let number = runs.into_iter().skip(1).find(|run| !run.is_empty())?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

/// `_` as what it stands for, but in a class of characters and behind a backslash.
fn with_boundaries(text: &str) -> String {
    const BOUNDARY: &str = r"(?:^|$|[ {}()\[\]]+)";
    let mut out = String::with_capacity(text.len() + BOUNDARY.len());
    let mut classes = 0usize;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                out.push(c);
                out.extend(chars.next());
            }
            '[' => {
                classes += 1;
                out.push(c);
                out.extend(chars.next_if_eq(&'^'));
                // Here it is the first of the class, not its end.
                if chars.next_if_eq(&']').is_some() {
                    out.push_str("\\]");
                }
            }
            ']' => {
                classes = classes.saturating_sub(1);
                out.push(c);
            }
            '_' if classes == 0 => out.push_str(BOUNDARY),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_find_paths() {
        for (regex, path, wanted) in [
            ("^$", "", true),
            ("^$", "65001", false),
            ("^65002( .*)?$", "65002", true),
            ("^65002( .*)?$", "65002 65003", true),
            ("^65002( .*)?$", "650021", false),
            ("_65002_", "65001 65002 65003", true),
            ("_65002_", "65002", true),
            ("_65002_", "65001 165002 650020", false),
            ("_65002$", "65001 65002", true),
            ("_65001_65002_", "65001 65002", true),
            ("_2_", "65001 {1 2}", true),
            ("_1_2_", "65001 {1 2}", true),
            ("_65001_1_", "65001 {1 2}", true),
            (r"\{1 2\}$", "65001 {1 2}", true),
            ("[_]", "65001 65002", false),
            (r"\_", "65001 65002", false),
            ("[]_a]", "65001 65002", false),
            ("^(65001 )+65002$", "65001 65001 65002", true),
        ] {
            let compiled = AsPathRegex::new(regex).unwrap();
            assert_eq!(compiled.matches(path), wanted, "{regex} in {path:?}");
        }
    }

    #[test]
    fn a_number_that_a_path_must_have_is_found() {
        for (regex, wanted) in [
            ("_65002_", Some(65002)),
            ("^65002( .*)?$", Some(65002)),
            ("^65002 65003$", Some(65002)),
            ("65001_65002_", Some(65002)),
            ("_65002$", Some(65002)),
            ("_65002", None),
            ("65002", None),
            ("65002_", None),
            ("^65002", None),
            ("^65002?$", None),
            ("_65002*_", None),
            ("_(65002|65003)_", None),
            ("_65002_|_65003_", None),
            ("^$", None),
            ("_99999999999_", None),
        ] {
            let compiled = AsPathRegex::new(regex).unwrap();
            assert_eq!(compiled.required_asn(), wanted, "{regex}");
        }
    }

    #[test]
    fn what_no_path_can_be_like_is_found() {
        for (regex, wanted) in [
            ("^5$^6", false),
            ("65002$65003", false),
            ("65002 ^65003", false),
            ("^AS65002$", false),
            ("^65002, 65003", false),
            ("65002[a-z]", false),
            ("(^5){2}", false),
            ("(5$){1,3}6", false),
            ("(^$)1", false),
            ("x|y", false),
            ("[^\\x00-\\xff]", false),
            ("x|6", true),
            ("^$", true),
            ("$^", true),
            ("(^)*5", true),
            ("(x)?5", true),
            ("x*", true),
            ("_65002_", true),
            ("^_65002_$", true),
            ("65002_65003", true),
            (r"\{1 2\}", true),
            ("65002[^0-9]", true),
            (".*", true),
            ("(1 ){20}5", true),
            ("(?m)^5$", true),
        ] {
            let compiled = AsPathRegex::new(regex).unwrap();
            assert_eq!(compiled.can_match(), wanted, "{regex}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_in_one_line() {
        assert_eq!(AsPathRegex::new("(65001").unwrap_err(), "unclosed group");
        assert!(
            AsPathRegex::new(&"1".repeat(2000))
                .unwrap_err()
                .contains("longer")
        );
        let big = AsPathRegex::new("((65001){1000}){1000}").unwrap_err();
        assert!(big.contains("too much memory"), "{big}");
    }
}
