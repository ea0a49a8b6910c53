//! `docs/interop.md`: which feature is shown with which router, in which direction, by which test.
//!
//! The page is made from `interop/cells.rs` and from tags above tests: `// INTEROP bird, frr: md5, gtsm`
//! says that a test shows both features with both routers, both ways; `gtsm in` that only what the
//! router does towards us is shown, `gtsm out` only what we do towards it. The test fails where the page
//! differs from the tags (`RINGBGP_WRITE_DOCS=1` writes it anew), and where a tag names a router or a
//! feature that there is not, or one that the router lacks.

#[path = "interop/cells.rs"]
mod cells;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use cells::{FEATURES, Feature, ROUTERS};

/// By feature and router the tests, with the directions that they show.
type Cells = BTreeMap<(usize, usize), Vec<(&'static str, String)>>;

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
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/interop.md is not what the tags say: RINGBGP_WRITE_DOCS=1 cargo test -p engine --test interoperability"
    );
}

fn read(file: &str, text: &str, cells: &mut Cells) {
    let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
    for (at, line) in lines.iter().enumerate() {
        let Some(tag) = line.strip_prefix("// INTEROP ") else {
            continue;
        };
        let place = format!("{file}:{}", at + 1);
        let (routers, features) = tag
            .split_once(": ")
            .unwrap_or_else(|| panic!("{place}: `// INTEROP routers: features`"));
        let below = lines[at + 1..].iter().take(6);
        let function = below
            .filter_map(|line| line.split_once("fn "))
            .next()
            .unwrap_or_else(|| panic!("{place}: stands above no test"));
        let test = function.1.split('(').next().unwrap_or_default();
        let link = format!("{file} \"{test}\"");
        for feature in features.split(", ") {
            let (feature, direction) = direction_of(feature);
            let row = FEATURES
                .iter()
                .position(|known| known.name == feature)
                .unwrap_or_else(|| panic!("{place}: no feature is called {feature:?}"));
            for router in routers.split(", ") {
                let column = ROUTERS
                    .iter()
                    .position(|(known, _)| *known == router)
                    .unwrap_or_else(|| panic!("{place}: no router is called {router:?}"));
                let lacks = FEATURES[row].lacks.contains(&router);
                assert!(!lacks, "{place}: {router} lacks {feature}");
                let shown = cells.entry((row, column)).or_default();
                shown.push((direction, link.clone()));
            }
        }
    }
}

/// A feature of a tag, and the arrow of its direction.
fn direction_of(feature: &str) -> (&str, &'static str) {
    if let Some(feature) = feature.strip_suffix(" in") {
        (feature, "←")
    } else if let Some(feature) = feature.strip_suffix(" out") {
        (feature, "→")
    } else {
        (feature, "↔")
    }
}

fn page(cells: &Cells) -> String {
    let mut page = String::from(
        "# Interoperability\n\n\
         What ringbgp does with routers that others wrote, and the tests that show it. This page is made\n\
         from tags above the tests and checked against them by `cargo test -p engine --test interoperability`.\n\n\
         →: what ringbgp does towards the router. ←: what the router does towards ringbgp. ↔: both.\n\
         –: the router lacks it; where an OPEN tells, it is checked that this is so still, with everything\n\
         switched on. Empty: not shown.\n\n| |",
    );
    for (_, words) in ROUTERS {
        let _ = write!(page, " {words} |");
    }
    page += "\n| --- |";
    page += &" --- |".repeat(ROUTERS.len());
    page += "\n";
    for (row, Feature { words, lacks, .. }) in FEATURES.iter().enumerate() {
        let _ = write!(page, "| {words} |");
        for (column, (router, _)) in ROUTERS.iter().enumerate() {
            let shown = cells.get(&(row, column)).into_iter().flatten();
            let shown: Vec<String> = shown
                .map(|(arrow, test)| format!("[{arrow}](../engine/tests/interop/{test})"))
                .collect();
            let cell = match lacks.contains(router) {
                true => "–".to_owned(),
                false => shown.join(" "),
            };
            let _ = write!(page, " {cell} |");
        }
        page += "\n";
    }
    page
}
