//! `docs/interop.md`: which feature is shown with whom, in which direction, by which test.
//!
//! The page is made from `interop/cells.rs` and from tags above tests: `// INTEROP bird, frr: md5, gtsm`
//! says that a test shows both features with both routers, both ways; `gtsm in` that only what the
//! router does towards us is shown, `gtsm out` only what we do towards it.
//! `// INTEROP-LACKS openbgpd: refresh in: why` says that a test holds the router to not doing its half:
//! it fails once the router does. Nothing is left out in silence: a cell has all arrows of its feature,
//! shown or lacking with a test, or its router lacks the feature altogether.
//!
//! The test fails where the page differs from the tags (`RINGBGP_WRITE_DOCS=1` writes it anew), where a
//! cell is incomplete, and where a tag names a router or a feature that there is not, or one that the
//! router lacks.

#[path = "interop/cells.rs"]
mod cells;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use cells::{BOTH, Feature, IN, OUT, TABLES, Table};

/// What the tags say of one cell.
#[derive(Default)]
struct Cell {
    /// Arrows, each with the test that shows it.
    shown: Vec<(&'static str, Test)>,
    /// Arrows that the other side lacks, each with why and the test that holds it to that.
    lacking: Vec<(&'static str, String, Test)>,
}

/// Of a test the file and the function.
#[derive(Clone)]
struct Test {
    file: String,
    function: String,
}

/// By party and feature, as tags call them.
type Cells = BTreeMap<(&'static str, &'static str), Cell>;

#[test]
fn the_page_says_what_the_tags_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut cells = Cells::new();
    let folder = root.join("engine/tests/interop");
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect();
    files.sort();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let name = file.file_name().unwrap().to_str().unwrap();
        read(name, &text, &mut cells);
    }
    let page = page(&cells);
    let path = root.join("docs/interop.md");
    if std::env::var_os("RINGBGP_WRITE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let incomplete = incomplete(&cells);
    assert!(
        incomplete.is_empty(),
        "no test shows this, and none that the other side lacks it:\n{}",
        incomplete.join("\n")
    );
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/interop.md is not what the tags say: RINGBGP_WRITE_DOCS=1 cargo test -p engine --test interoperability"
    );
}

#[test]
fn a_cell_without_an_arrow_or_a_reason_is_noticed() {
    let complete = |tags: &str| {
        let mut cells = Cells::new();
        read("some.rs", &format!("{tags}\nfn some() {{"), &mut cells);
        let missing = incomplete(&cells).into_iter();
        let mut of_cell = missing.filter(|line| line.starts_with("OpenBGPD 7.7: Route refresh"));
        of_cell.next().is_none()
    };
    assert!(complete("// INTEROP openbgpd: refresh"));
    assert!(!complete("// INTEROP openbgpd: refresh out"));
    assert!(!complete(
        "// INTEROP-LACKS openbgpd: refresh in: it is silent"
    ));
    assert!(complete(
        "// INTEROP openbgpd: refresh out\n// INTEROP-LACKS openbgpd: refresh in: it is silent"
    ));
    assert!(!complete(""));
}

fn read(file: &str, text: &str, cells: &mut Cells) {
    let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
    for (at, line) in lines.iter().enumerate() {
        let Some(tag) = line.strip_prefix("// INTEROP") else {
            continue;
        };
        let place = format!("{file}:{}", at + 1);
        let mut below = lines[at + 1..].iter().take(8);
        let function = below
            .find_map(|line| line.split_once("fn "))
            .unwrap_or_else(|| panic!("{place}: stands above no test"));
        let test = Test {
            file: file.to_owned(),
            function: function.1.split('(').next().unwrap_or_default().to_owned(),
        };
        if let Some(tag) = tag.strip_prefix("-LACKS ") {
            let mut parts = tag.splitn(3, ": ");
            let (Some(parties), Some(feature), Some(why)) =
                (parts.next(), parts.next(), parts.next())
            else {
                panic!("{place}: `// INTEROP-LACKS routers: feature direction: why`");
            };
            let (feature, arrow) = direction_of(feature);
            assert!(arrow != BOTH, "{place}: `in` or `out`");
            for party in parties.split(", ") {
                let cell = cell(cells, &place, party, feature);
                cell.lacking.push((arrow, why.to_owned(), test.clone()));
            }
        } else if let Some(tag) = tag.strip_prefix(' ') {
            let (parties, features) = tag
                .split_once(": ")
                .unwrap_or_else(|| panic!("{place}: `// INTEROP routers: features`"));
            for feature in features.split(", ") {
                let (feature, arrow) = direction_of(feature);
                for party in parties.split(", ") {
                    let cell = cell(cells, &place, party, feature);
                    cell.shown.push((arrow, test.clone()));
                }
            }
        } else {
            panic!("{place}: neither `// INTEROP ` nor `// INTEROP-LACKS `");
        }
    }
}

/// The cell of a party and a feature of its table.
fn cell<'a>(cells: &'a mut Cells, place: &str, party: &str, feature: &str) -> &'a mut Cell {
    let has = |table: &&Table| table.parties.iter().any(|(name, _)| *name == party);
    let table = TABLES.iter().find(has);
    let table = table.unwrap_or_else(|| panic!("{place}: nobody is called {party:?}"));
    let mut parties = table.parties.iter().map(|(name, _)| *name);
    let party = parties.find(|name| *name == party).unwrap();
    let mut features = table.features.iter();
    let feature = features
        .find(|known| known.name == feature)
        .unwrap_or_else(|| panic!("{place}: no feature of {party} is called {feature:?}"));
    let lacks = feature.lacks.contains(&party);
    assert!(!lacks, "{place}: {party} lacks {}", feature.name);
    cells.entry((party, feature.name)).or_default()
}

/// A feature of a tag, and the arrow of its direction.
fn direction_of(feature: &str) -> (&str, &'static str) {
    if let Some(feature) = feature.strip_suffix(" in") {
        (feature, IN)
    } else if let Some(feature) = feature.strip_suffix(" out") {
        (feature, OUT)
    } else {
        (feature, BOTH)
    }
}

/// Every arrow of a cell that is neither shown nor lacking, and every one that is both.
fn incomplete(cells: &Cells) -> Vec<String> {
    let mut missing = Vec::new();
    let nothing = Cell::default();
    for Table {
        parties, features, ..
    } in &TABLES
    {
        for feature in features.iter() {
            for (party, words) in parties.iter() {
                if feature.lacks.contains(party) {
                    continue;
                }
                let cell = cells.get(&(*party, feature.name)).unwrap_or(&nothing);
                for arrow in [OUT, IN] {
                    let has = |known: &&str| *known == arrow || *known == BOTH;
                    let is_shown = cell.shown.iter().any(|(known, _)| has(known));
                    let is_lacking = cell.lacking.iter().any(|(known, ..)| has(known));
                    if has(&feature.ways) && is_shown == is_lacking {
                        missing.push(format!("{words}: {}: {arrow}", feature.words));
                    }
                }
            }
        }
    }
    missing
}

const HEAD: &str = "# Interoperability

What ringbgp does with programs that others wrote, and the tests that show it. This page is made
from tags above the tests and checked against them by `cargo test -p engine --test interoperability`.

→: what ringbgp does towards the other side. ←: what the other side does towards ringbgp. ↔: both.
–: the router lacks it; where an OPEN tells, it is checked that this is so still, with everything
switched on. A footnote stands where the other side lacks its half: a test fails once it does it. No
cell is without one of these.
";

fn page(cells: &Cells) -> String {
    let mut page = HEAD.to_owned();
    let mut notes = Vec::new();
    for table in &TABLES {
        let Table { title, words, .. } = table;
        let _ = write!(page, "\n## {title}\n\n{words}| |");
        for (_, words) in table.parties {
            let _ = write!(page, " {words} |");
        }
        page += "\n| --- |";
        page += &" --- |".repeat(table.parties.len());
        page += "\n";
        for feature in table.features {
            let _ = write!(page, "| {} |", feature.words);
            for party in table.parties {
                let _ = write!(page, " {} |", contents(cells, *party, feature, &mut notes));
            }
            page += "\n";
        }
    }
    page += "\n## Lacking on the other side\n\n";
    for (number, note) in (1..).zip(notes) {
        let _ = writeln!(page, "[^{number}]: {note}");
    }
    page
}

fn contents(
    cells: &Cells,
    (party, words): (&'static str, &str),
    feature: &Feature,
    notes: &mut Vec<String>,
) -> String {
    if feature.lacks.contains(&party) {
        return "–".to_owned();
    }
    let mut parts = Vec::new();
    let cell = cells.get(&(party, feature.name));
    let mut shown: Vec<_> = cell.into_iter().flat_map(|cell| &cell.shown).collect();
    shown.sort_by_key(|(arrow, _)| [BOTH, OUT, IN].iter().position(|known| known == arrow));
    for (arrow, test) in shown {
        let Test { file, function } = test;
        parts.push(format!(
            "[{arrow}](../engine/tests/interop/{file} \"{function}\")"
        ));
    }
    for (arrow, why, test) in cell.into_iter().flat_map(|cell| &cell.lacking) {
        let Test { file, function } = test;
        notes.push(format!(
            "{}, {arrow}: {words} {why} ([`{function}`](../engine/tests/interop/{file})).",
            feature.words
        ));
        parts.push(format!("[^{}]", notes.len()));
    }
    parts.join(" ")
}
