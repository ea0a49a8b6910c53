//! Finding and reading the corpora that some tests need.
//!
//! They are not part of the repository: the variable `RINGBGP_TEST_DATA` names their directory.
#![allow(dead_code)] // each test file uses its part

pub(crate) mod generated;
pub(crate) mod mrt;

use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;

use codec::{NlriField, Update, WireFormat, encode_mp_update, encode_nlri, encode_update};

/// The path of a corpus, or a loud note that the test is skipped.
pub(crate) fn data(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("RINGBGP_TEST_DATA").map(|root| PathBuf::from(root).join(name));
    match path {
        Some(path) if path.exists() => Some(path),
        path => {
            let why = match path {
                Some(path) => format!("{} does not exist", path.display()),
                None => "RINGBGP_TEST_DATA is not set".to_string(),
            };
            // Not eprintln!, which the test harness hides for tests that pass.
            let _ = writeln!(std::io::stderr(), "\n*** SKIPPED, needs {name}: {why} ***");
            None
        }
    }
}

/// The octets of a file, decompressed by its extension.
pub(crate) fn read(path: &std::path::Path) -> Vec<u8> {
    let file = fs::File::open(path).unwrap();
    let mut octets = Vec::new();
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("gz") => flate2::read::MultiGzDecoder::new(file).read_to_end(&mut octets),
        Some("bz2") => bzip2::read::MultiBzDecoder::new(file).read_to_end(&mut octets),
        _ => std::io::BufReader::new(file).read_to_end(&mut octets),
    }
    .unwrap();
    octets
}

/// Octets from hexadecimal digits; anything else between them is skipped.
pub(crate) fn unhex(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> = digits
        .chars()
        .filter_map(|c| c.to_digit(16))
        .map(|digit| digit as u8)
        .collect();
    digits
        .chunks_exact(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

/// Writes the announced routes of one field again from their canonical attributes; the whole
/// message, header included.
pub(crate) fn rewrite(update: &Update<'_>, which: NlriField, add_path: bool) -> Vec<u8> {
    let mut canonical = Vec::new();
    update.canonical(which, &mut canonical);
    let nlri = match which {
        NlriField::Plain => update.announced,
        NlriField::MpReach => update.mp_announced.unwrap().nlri,
    };
    let mut prefixes = Vec::new();
    for (path_id, prefix) in nlri.iter_v4() {
        encode_nlri(prefix, add_path.then_some(path_id), &mut prefixes);
    }
    for (path_id, prefix) in nlri.iter_v6() {
        encode_nlri(prefix, add_path.then_some(path_id), &mut prefixes);
    }
    let mut out = Vec::new();
    match (which, update.mp_announced) {
        (NlriField::MpReach, Some(reach)) => {
            let rest = without_next_hop(&canonical);
            encode_mp_update(nlri.family(), &reach.next_hop, &rest, &prefixes, &mut out);
        }
        _ => encode_update(&canonical, &prefixes, &mut out),
    }
    out
}

/// A block of attributes without NEXT_HOP and MP_REACH_NLRI.
pub(crate) fn without_next_hop(block: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = codec::AttributeWriter::new(&mut out);
    for attribute in codec::AttributeSet::new(block).iter() {
        if !matches!(
            attribute.code,
            codec::code::NEXT_HOP | codec::code::MP_REACH_NLRI
        ) {
            writer.raw(attribute.flags, attribute.code, attribute.value);
        }
    }
    out
}

/// The format in which [`rewrite`] writes what was read in `format`.
pub(crate) fn rewritten_format(format: &WireFormat) -> WireFormat {
    WireFormat {
        four_octet_as: true,
        extended_messages: true,
        ..*format
    }
}
