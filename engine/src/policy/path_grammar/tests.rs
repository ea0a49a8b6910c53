//! What AS paths are like, against expressions that they can and cannot be like.

use codec::AsPath;
use proptest::prelude::*;

use super::super::AsPathRegex;
use super::*;

fn number() -> impl Strategy<Value = u32> {
    prop_oneof![
        1u32..12,
        prop::sample::select(vec![65000, 65001, 99_999, 100_000, u32::MAX]),
        1u32..=u32::MAX,
    ]
}

/// The value of an AS_PATH attribute.
fn path() -> impl Strategy<Value = Vec<u8>> {
    let segment = (1u8..=4, prop::collection::vec(number(), 1..4));
    let octets = |(kind, asns): (u8, Vec<u32>)| {
        let head = [kind, asns.len() as u8];
        let asns = asns.into_iter().flat_map(u32::to_be_bytes);
        head.into_iter().chain(asns).collect::<Vec<u8>>()
    };
    let segments = prop::collection::vec(segment, 0..4);
    segments.prop_map(move |all| all.into_iter().flat_map(octets).collect())
}

/// An expression that is often found in a text: some of it, letters taken for what they may be.
fn expression(text: &str, from: usize, to: usize, changes: &[(usize, u8)]) -> String {
    let mut parts: Vec<String> = text
        .chars()
        .map(|c| regex_syntax::escape(&c.to_string()))
        .collect();
    for (place, change) in changes {
        let place = place % (parts.len() + 1);
        let Some(part) = parts.get_mut(place) else {
            continue;
        };
        *part = match change {
            0 if !text[place..].starts_with(|c: char| c.is_ascii_digit()) => "_".into(),
            0 => "[0-9]".into(),
            1 => ".*".into(),
            2 => format!("(?:{part})+"),
            3 => format!("(?:{part}|_)"),
            4 => format!("[^a{part}]?"),
            5 => "[0-9 ]{1,3}".into(),
            6 => String::new(),
            _ => format!("(^|{part}|$)*"),
        };
    }
    let (from, to) = (from % (parts.len() + 1), to % (parts.len() + 1));
    let (from, to) = (from.min(to), from.max(to));
    let front = if from == 0 { "^" } else { "" };
    let end = if to == parts.len() { "$" } else { "" };
    format!("{front}{}{end}", parts[from..to].concat())
}

fn origins(around: Option<u32>, more: &[u32]) -> Vec<RangeInclusive<u32>> {
    let mut all: Vec<RangeInclusive<u32>> = more.iter().map(|asn| *asn..=*asn).collect();
    let around = around.map(|asn| asn.saturating_sub(3)..=asn.saturating_add(70));
    all.extend(around);
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_is_found_in_a_path_can_be(
        octets in path(),
        (from, to) in (0usize..60, 0usize..60),
        changes in prop::collection::vec((0usize..60, 0u8..8), 0..5),
        (shorter, longer) in (0u32..3, 0u32..9),
        more in prop::collection::vec(number(), 0..3),
        by_origin: bool,
    ) {
        let path = AsPath::new(&octets);
        let text = path.to_string();
        let regex = AsPathRegex::new(&expression(&text, from, to, &changes)).unwrap();
        let length = path.path_length() as u32;
        let length = Some(length.saturating_sub(shorter)..=length + longer);
        let origin = path.origin_as().filter(|_| by_origin);
        let origins = match origin {
            Some(_) => origins(origin, &more),
            None => Vec::new(),
        };
        let mut steps = Steps(usize::MAX);
        let grammar = Grammar::of(&length, &origins, &mut steps).unwrap();
        let can = regex.can_be_in(&grammar, &mut steps);
        prop_assert!(can || !regex.matches(&text), "{} in {text}", regex.text());
    }
}

#[test]
fn lengths_and_origins_are_told_apart() {
    let any = 0..=u32::MAX;
    for (regex, length, origins, wanted) in [
        ("^65001 65002$", 2..=2, vec![], true),
        ("^65001 65002$", 3..=9, vec![], false),
        ("^65001 65002$", 0..=1, vec![], false),
        ("_65001_65002_", 0..=1, vec![], true),
        ("_1_.*_2_.*_3_", 0..=1, vec![], true),
        (r"^1 \{2 3\}$", 2..=2, vec![], true),
        (r"^\(1 2\) 3$", 1..=1, vec![], true),
        (r"^\(1 2\) 3$", 2..=9, vec![], false),
        ("^$", 1..=u32::MAX, vec![], false),
        ("^([0-9]+ ){20}", 0..=19, vec![], false),
        ("^([^ ]+ ){20}", 0..=19, vec![], true),
        ("^([0-9]+ ){20}", 100..=200, vec![], true),
        ("_65002$", any.clone(), vec![65002..=65002], true),
        (
            "_65002$",
            any.clone(),
            vec![65003..=65009, 1..=65001],
            false,
        ),
        ("_65002$", any.clone(), vec![1..=9, 65000..=65010], true),
        ("_6500[0-9]$", any.clone(), vec![65010..=65019], false),
        ("_6500[0-9]$", any.clone(), vec![650_000..=650_009], false),
        ("^65002_", any.clone(), vec![65003..=65003], true),
        ("^65002_", 0..=1, vec![65003..=65003], false),
        (r"\}$", any.clone(), vec![1..=u32::MAX], false),
        ("^$", any.clone(), vec![1..=u32::MAX], false),
        ("^[0-9]{10}$", any, vec![1..=999_999_999], false),
    ] {
        let mut steps = Steps(1_000_000);
        let grammar = Grammar::of(&Some(length.clone()), &origins, &mut steps).unwrap();
        let can = AsPathRegex::new(regex)
            .unwrap()
            .can_be_in(&grammar, &mut steps);
        assert_eq!(can, wanted, "{regex} {length:?} {origins:?}");
    }
}

#[test]
fn beginnings_are_told_apart() {
    for (regex, first, wanted) in [
        ("^65002_", vec![65002..=65002], true),
        ("^65007$", vec![65002..=65002], false),
        ("^65007", vec![65002..=65002], false),
        ("_65007_", vec![65002..=65002], true),
        ("^6500", vec![65002..=65002], true),
        ("^[0-9]+_65007$", vec![65002..=65002], true),
        ("^(65007 )+65002$", vec![1..=65006, 65008..=70000], false),
        (r"^\{65007\} 65002$", vec![65002..=65002], true),
        (r"^\{65002\} 65007$", vec![65002..=65002], false),
        (r"^\{65002\}$", vec![65002..=65002], false),
        ("^$", vec![65002..=65002], false),
        ("^[0-9]{3}$", vec![65002..=65002], false),
        ("^65007", vec![], true),
    ] {
        let mut steps = Steps(1_000_000);
        let grammar = Grammar::beginning_with(&first, &None, &[], &mut steps).unwrap();
        let regex = AsPathRegex::new(regex).unwrap();
        let can = regex.can_be_in(&grammar, &mut steps);
        assert_eq!(can, wanted, "{} {first:?}", regex.text());
    }
    let mut steps = Steps(1_000_000);
    let (first, origins) = ([65002..=65002], [65003..=65009]);
    let grammar = Grammar::beginning_with(&first, &Some(1..=1), &origins, &mut steps).unwrap();
    assert!(
        !AsPathRegex::new(".*")
            .unwrap()
            .can_be_in(&grammar, &mut steps)
    );
}

#[test]
fn of_what_takes_too_long_nothing_is_found() {
    let regex = AsPathRegex::new(".*.*x").unwrap();
    let all = Grammar::of(&None, &[], &mut Steps(100_000)).unwrap();
    assert!(!regex.can_be_in(&all, &mut Steps(100_000)));
    assert!(regex.can_be_in(&all, &mut Steps(10)));
    assert!(Grammar::of(&None, &[], &mut Steps(10)).is_none());
}
