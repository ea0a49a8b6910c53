//! `docs/rfc.md`: which part of which standard is done, where, and which test shows it.
//!
//! The page is made from tags in the sources, so that it can't say what they don't:
//! `// RFC-DONE 4724 §4.1: words.` beside what does it, `// RFC-SHOWN 4724 §4.1` above the test that
//! shows it, `// RFC-LEFT 5065 §4: words.` where something is knowingly not done. The test fails where
//! the page differs from the tags (`RINGBGP_WRITE_DOCS=1` writes it anew), where something done is
//! shown by no test, and where a test shows what nobody claims.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// What each standard is called; all that `docs/rfc.md` must speak of.
const TITLES: &[(u16, &str)] = &[
    (1997, "BGP Communities Attribute"),
    (
        2385,
        "Protection of BGP Sessions via the TCP MD5 Signature Option",
    ),
    (2545, "BGP-4 Multiprotocol Extensions for IPv6"),
    (2918, "Route Refresh Capability"),
    (3765, "NOPEER Community for BGP Route Scope Control"),
    (4271, "A Border Gateway Protocol 4 (BGP-4)"),
    (4360, "BGP Extended Communities Attribute"),
    (4451, "BGP MULTI_EXIT_DISC (MED) Considerations"),
    (4456, "BGP Route Reflection"),
    (4486, "Subcodes for BGP Cease NOTIFICATION"),
    (4724, "Graceful Restart Mechanism for BGP"),
    (4760, "Multiprotocol Extensions for BGP-4"),
    (
        5004,
        "Avoid BGP Best Path Transitions from One External to Another",
    ),
    (5065, "Autonomous System Confederations for BGP"),
    (5082, "The Generalized TTL Security Mechanism (GTSM)"),
    (5492, "Capabilities Advertisement with BGP-4"),
    (5668, "4-Octet AS Specific BGP Extended Community"),
    (
        5701,
        "IPv6 Address Specific BGP Extended Community Attribute",
    ),
    (6286, "AS-Wide Unique BGP Identifier for BGP-4"),
    (6608, "Subcodes for BGP Finite State Machine Error"),
    (6793, "BGP Support for Four-Octet AS Number Space"),
    (6811, "BGP Prefix Origin Validation"),
    (7313, "Enhanced Route Refresh Capability"),
    (7454, "BGP Operations and Security"),
    (7606, "Revised Error Handling for BGP UPDATE Messages"),
    (7607, "Codification of AS 0 Processing"),
    (7911, "Advertisement of Multiple Paths in BGP"),
    (7947, "Internet Exchange BGP Route Server"),
    (7948, "Internet Exchange BGP Route Server Operations"),
    (7964, "Solutions for BGP Persistent Route Oscillation"),
    (8092, "BGP Large Communities Attribute"),
    (8210, "The RPKI to Router Protocol, Version 1"),
    (
        8212,
        "Default External BGP Route Propagation Behavior without Policies",
    ),
    (8326, "Graceful BGP Session Shutdown"),
    (
        8538,
        "Notification Message Support for BGP Graceful Restart",
    ),
    (8654, "Extended Message Support for BGP"),
    (8950, "Advertising IPv4 NLRI with an IPv6 Next Hop"),
    (9003, "Extended BGP Administrative Shutdown Communication"),
    (
        9072,
        "Extended Optional Parameters Length for BGP OPEN Message",
    ),
    (9234, "Route Leak Prevention and Detection Using Roles"),
    (
        9384,
        "A BGP Cease NOTIFICATION Subcode for Bidirectional Forwarding Detection (BFD)",
    ),
    (9494, "Long-Lived Graceful Restart for BGP"),
    (9687, "BGP SendHoldTimer"),
    (9774, "Deprecation of AS_SET and AS_CONFED_SET in BGP"),
];

/// A standard and a section of it, sections in the order of their numbers.
type Clause = (u16, Vec<u32>, String);

#[derive(Default)]
struct Entry {
    done: Vec<(String, PathBuf)>,
    shown: Vec<(String, PathBuf)>,
    left: Vec<String>,
}

#[test]
fn the_page_says_what_the_tags_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut entries: BTreeMap<Clause, Entry> = BTreeMap::new();
    for folder in ["codec", "rib", "engine"] {
        for part in ["src", "tests"] {
            read_folder(root, &root.join(folder).join(part), &mut entries);
        }
    }
    let faults = faults(&entries);
    let page = page(&entries);
    let path = root.join("docs/rfc.md");
    if std::env::var_os("RINGBGP_WRITE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &page).unwrap();
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/rfc.md is not what the tags say: RINGBGP_WRITE_DOCS=1 cargo test -p engine --test standards"
    );
}

fn read_folder(root: &Path, folder: &Path, entries: &mut BTreeMap<Clause, Entry>) {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            read_folder(root, &path, entries);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && !path.ends_with(file!().rsplit('/').next().unwrap())
        {
            let text = std::fs::read_to_string(&path).unwrap();
            read_file(path.strip_prefix(root).unwrap(), &text, entries);
        }
    }
}

fn read_file(path: &Path, text: &str, entries: &mut BTreeMap<Clause, Entry>) {
    let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
    for (at, line) in lines.iter().enumerate() {
        let Some((tag, rest)) = line
            .strip_prefix("// RFC-")
            .and_then(|tag| tag.split_once(' '))
        else {
            continue;
        };
        let place = format!("{}:{}", path.display(), at + 1);
        let (clause, words) = rest.split_once(": ").unwrap_or((rest, ""));
        let entry = entries.entry(clause_of(clause, &place)).or_default();
        match tag {
            "DONE" => entry
                .done
                .push((sentence(words, &lines[at + 1..]), path.into())),
            "LEFT" => entry.left.push(sentence(words, &lines[at + 1..])),
            "SHOWN" => entry
                .shown
                .push((test_below(&lines[at + 1..], &place), path.into())),
            other => panic!("{place}: RFC-{other} is no tag"),
        }
    }
}

fn clause_of(text: &str, place: &str) -> Clause {
    let mut words = text.split_whitespace();
    let number = words.next().and_then(|number| number.parse().ok());
    let number = number.unwrap_or_else(|| panic!("{place}: a tag begins with the RFC's number"));
    let section = words.collect::<Vec<_>>().join(" ");
    let numbers = section.split(|c: char| !c.is_ascii_digit());
    let order = numbers.filter_map(|number| number.parse().ok()).collect();
    (number, order, section)
}

/// The words of a tag, with the lines of the comment that go on with its sentence.
fn sentence(words: &str, below: &[&str]) -> String {
    let mut sentence = words.to_string();
    let more = below.iter().map_while(|line| line.strip_prefix("// "));
    for line in more.take_while(|line| !line.starts_with("RFC-")) {
        if sentence.ends_with(['.', ':', ';']) {
            break;
        }
        sentence += " ";
        sentence += line;
    }
    // What follows the first sentence is for who reads the source.
    let end = sentence.find(". ").unwrap_or(sentence.len());
    sentence[..end]
        .trim_end_matches(['.', ':', ';'])
        .to_string()
}

fn test_below(below: &[&str], place: &str) -> String {
    let function = below
        .iter()
        .take(12)
        .find_map(|line| line.split_once("fn "));
    let function = function.unwrap_or_else(|| panic!("{place}: RFC-SHOWN stands above no test"));
    let name = function.1.split(['(', '<']).next().unwrap_or_default();
    name.to_string()
}

fn faults(entries: &BTreeMap<Clause, Entry>) -> Vec<String> {
    let mut faults = Vec::new();
    for ((number, _, section), entry) in entries {
        if !TITLES.iter().any(|(known, _)| known == number) {
            faults.push(format!("RFC {number} has no title in this test"));
        }
        match (entry.done.is_empty(), entry.shown.is_empty()) {
            (false, true) => faults.push(format!(
                "RFC {number} {section} is done in {}, and no test is tagged as showing it",
                entry.done[0].1.display()
            )),
            (true, false) => faults.push(format!(
                "RFC {number} {section} is shown by {}, and nothing is tagged as doing it",
                entry.shown[0].0
            )),
            _ => {}
        }
    }
    for (number, title) in TITLES {
        if !entries.keys().any(|(known, ..)| known == number) {
            faults.push(format!(
                "RFC {number} ({title}) has no tag: is it done or left?"
            ));
        }
    }
    faults
}

fn page(entries: &BTreeMap<Clause, Entry>) -> String {
    let mut page = String::from(
        "# Standards\n\n\
         What ringbgp does of each standard, section by section, and the test that shows it. This page is\n\
         made from tags in the sources and checked against them by `cargo test -p engine --test standards`.\n",
    );
    for (number, title) in TITLES {
        let of_this = || entries.iter().filter(|((known, ..), _)| known == number);
        let _ = write!(
            page,
            "\n## [RFC {number}](https://www.rfc-editor.org/rfc/rfc{number}): {title}\n"
        );
        if of_this().any(|(_, entry)| !entry.done.is_empty()) {
            page += "\n| section | what is done | shown by |\n| --- | --- | --- |\n";
        }
        for ((_, _, section), entry) in of_this() {
            let mut tests: Vec<String> = entry.shown.iter().map(link).collect();
            tests.dedup();
            for (at, (words, path)) in entry.done.iter().enumerate() {
                // The tests of a section stand beside the first thing that is done of it.
                let tests = if at == 0 {
                    tests.join(", ")
                } else {
                    "〃".into()
                };
                let words = words.replace('|', "\\|");
                let _ = writeln!(
                    page,
                    "| {section} | {words} ([source](../{})) | {tests} |",
                    path.display()
                );
            }
        }
        let left = of_this().flat_map(|((_, _, section), entry)| {
            entry.left.iter().map(move |words| (section, words))
        });
        for (at, (section, words)) in left.enumerate() {
            let lead = if at == 0 { "\n" } else { "" };
            let colon = if section.is_empty() { "" } else { ": " };
            let _ = writeln!(page, "{lead}- Not done: {section}{colon}{words}.");
        }
    }
    page
}

fn link((test, path): &(String, PathBuf)) -> String {
    format!("[`{test}`](../{})", path.display())
}
