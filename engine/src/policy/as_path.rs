//! Regular expressions over AS_PATHs.
//!
//! An expression is looked for in the path as text: AS numbers in decimal, one space apart, an
//! AS_SET as `{1 2}`; `_` stands for a boundary: the beginning, the end, or what is between two
//! numbers. Matching takes time in step with the text, whatever the expression; its size, and what
//! is built of it, are bounded.

use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::hir::Hir;

use super::path_grammar::{Grammar, Steps, finds_all};

/// Octets of an expression.
const LENGTH_MAX: usize = 1024;

/// Octets that one expression may take when it is compiled.
const COMPILED_MAX: usize = 256 << 10;

/// Steps to find out whether there is a path in which an expression is found.
const STEPS_MAX: usize = 200_000;

/// One expression. Two of the same text are equal.
#[derive(Clone, Debug)]
pub struct AsPathRegex {
    text: Arc<str>,
    regex: Regex,
    finds_all: bool,
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
            finds_all: parsed(text).is_some_and(|hir| finds_all(&hir)),
        })
    }

    /// Whether it is found in a path.
    pub fn matches(&self, as_path: &str) -> bool {
        self.regex.is_match(as_path.as_bytes())
    }

    /// Whether it is plainly found in every path, as `.*` is: then it asks for nothing.
    pub(super) fn finds_all(&self) -> bool {
        self.finds_all
    }

    /// An AS number that every path has in which it is found, if the expression plainly says so:
    /// `_65002_`, `^65002 `, `^65002( .*)?$` and the like.
    pub(super) fn required_asn(&self) -> Option<u32> {
        required_asn(&self.text)
    }

    /// False: there is no path in which it can be found, since it asks for what no path has, or for
    /// something before the beginning or behind the end. True where that is not plain.
    pub fn can_match(&self) -> bool {
        static ALL: LazyLock<Option<Grammar>> =
            LazyLock::new(|| Grammar::of(&None, &[], &mut Steps(STEPS_MAX)));
        let all = ALL.as_ref();
        all.is_none_or(|all| self.can_be_in(all, &mut Steps(STEPS_MAX)))
    }

    /// Whether there is such a path among these.
    pub(super) fn can_be_in(&self, paths: &Grammar, steps: &mut Steps) -> bool {
        parsed(&self.text).is_none_or(|hir| paths.has(&hir, steps))
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

/// What an expression says; none: it says nothing that is understood.
fn parsed(text: &str) -> Option<Hir> {
    let mut parser = regex_syntax::ParserBuilder::new()
        .unicode(false)
        .utf8(false)
        .build();
    parser.parse(&with_boundaries(text)).ok()
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
    fn what_is_found_in_every_path_is_told() {
        for (regex, wanted) in [
            (".*", true),
            ("", true),
            ("^", true),
            ("$", true),
            ("_", true),
            ("^.*$", true),
            ("^(.*)$", true),
            ("(_65002_)?", true),
            ("65002|_", true),
            ("^[0-9 {}()\\[\\]]*$", true),
            ("^[0-9 ]*$", false),
            (".+", false),
            ("^$", false),
            ("_65002_", false),
            ("$.*^", false),
            ("^.{0,9}$", false),
            (r"\b", false),
        ] {
            assert_eq!(
                AsPathRegex::new(regex).unwrap().finds_all(),
                wanted,
                "{regex}"
            );
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
            ("^065002$", false),
            ("_065002_", false),
            ("^0$", false),
            ("^99999999999$", false),
            ("_4294967296_", false),
            ("^42949672950", false),
            ("^ 65002", false),
            ("65002 $", false),
            ("65002  65003", false),
            ("^65002[ ]{2}", false),
            (r"\{1\} $", false),
            (r"\{1 \{2", false),
            (r"\(1 2\}", false),
            (r"\{\}", false),
            ("^[0-9]{11}$", false),
            ("(_[0-9]{3}){2,}0{9}[0-9]{2}", false),
            ("_4294967295_", true),
            ("_429496729[0-9]_", true),
            ("^[0-9]{10}$", true),
            ("02 65003", true),
            (" $|5", true),
            (r"^\(1 2\) 3 \[4\] \{5\}$", true),
            (r"\} \{", true),
            ("^([0-9]+ ?)*$", true),
            ("^(?:[^ ]+ ){40}[^ ]+$", true),
            (r"\b1\b", true),
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
