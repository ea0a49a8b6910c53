//! The two halves of the load generator against each other, as programs.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::support::{Running, free_port, json, loadgen};

#[test]
fn a_sink_holds_what_a_blast_announces() {
    for (family, lengths) in [("ipv4", "24:61,16-23:39"), ("ipv6", "48:61,32-47:39")] {
        let port = free_port();
        let blast = format!(
            "blast --address 127.0.0.9 --connect 127.0.0.3:{port} --asn 65101 \
             --prefixes 5000 --family {family} --lengths {lengths}"
        );
        let _blast = Running(loadgen(&blast).spawn().expect("blast starts"));
        let sink = format!(
            "sink --address 127.0.0.3 --listen {port} --asn 65001 --count --json \
             --expect 5000 --timeout 30"
        );
        let output = loadgen(&sink).output().expect("sink runs");
        assert!(output.status.success(), "{output:?}");
        let report = json(&output);
        assert_eq!(report["prefixes"], 5000);
        assert_eq!(report["announced"], 5000);
        assert_eq!(report["updates"], 1000);
        assert_eq!(report["nlriPerUpdate"], 5.0);
    }
}

#[test]
fn one_process_is_a_hundred_routers() {
    // The hundred dial one listener, which keeps the first session only: all others are refused
    // as collisions, in words, and the process stays up.
    let port = free_port();
    let sink = format!("sink --address 127.0.0.6 --listen {port} --asn 65001 --count");
    let _sink = Running(loadgen(&sink).spawn().expect("sink starts"));
    let routers = format!(
        "sink --routers 100 --address 127.0.2.1 --connect 127.0.0.6:{port} --asn 65002 --json \
         --timeout 2"
    );
    let output = loadgen(&routers).output().expect("routers run");
    assert!(output.status.success(), "nothing was expected: {output:?}");
    assert_eq!(json(&output)["routers"], 100);
}

#[test]
fn a_sink_prints_attributes_and_says_what_it_missed() {
    let port = free_port();
    let blast = format!(
        "blast --address 127.0.0.9 --connect 127.0.0.4:{port} --asn 65101 --prefixes 3 --once"
    );
    let mut blast = loadgen(&blast).spawn().expect("blast starts");
    let sink = format!(
        "sink --address 127.0.0.4 --listen {port} --asn 65001 --expect 4 --timeout 2 --json"
    );
    let output = loadgen(&sink).output().expect("sink runs");
    assert_eq!(output.status.code(), Some(1), "four prefixes never came");
    assert!(blast.wait().expect("blast ends").success());
    let text = String::from_utf8_lossy(&output.stdout);
    let events: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("a JSON line"))
        .collect();
    let of = |event: &str| {
        let event = event.to_owned();
        events.iter().filter(move |line| line["event"] == *event)
    };
    assert_eq!(of("announce").count(), 3);
    for line in of("announce") {
        assert_eq!(line["nextHop"], "192.0.2.1");
        assert!(
            line["asPath"]
                .as_str()
                .is_some_and(|path| path.starts_with("65101"))
        );
    }
    assert_eq!(of("end-of-rib").count(), 1);
    let down = of("down").next().expect("the hang-up is told");
    assert!(
        down["why"]
            .as_str()
            .is_some_and(|why| why.contains("Administrative Shutdown")),
        "{down}"
    );
}

#[test]
fn a_wrong_as_is_told_in_words() {
    let port = free_port();
    let blast = format!("blast --address 127.0.0.9 --connect 127.0.0.5:{port} --asn 65101");
    let _blast = Running(loadgen(&blast).spawn().expect("blast starts"));
    let sink = format!(
        "sink --address 127.0.0.5 --listen {port} --asn 65001 --peer-asn 65555 --expect 1 \
         --timeout 2"
    );
    let output = loadgen(&sink).output().expect("sink runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("Bad Peer AS"), "{text}");
}

#[test]
fn a_reader_that_leaves_ends_it_without_a_word() {
    let port = free_port();
    let sink = format!("sink --address 127.0.0.7 --listen {port} --asn 65001");
    let blast =
        format!("blast --address 127.0.0.9 --connect 127.0.0.7:{port} --asn 65101 --prefixes 5000");
    let endless = [
        ("neighbors peers --peers 100000", None),
        (sink.as_str(), Some(&blast)),
    ];
    for (command, other) in endless {
        let mut child = loadgen(command)
            .stderr(Stdio::piped())
            .spawn()
            .expect("loadgen starts");
        let _other = other.map(|other| Running(loadgen(other).spawn().expect("blast starts")));
        let mut reader = BufReader::new(child.stdout.take().expect("standard output"));
        reader.read_line(&mut String::new()).expect("a line");
        drop(reader);
        let output = child.wait_with_output().expect("loadgen ends");
        assert_eq!(output.status.code(), Some(141), "{command}: {output:?}");
        assert!(output.stderr.is_empty(), "{command}: {output:?}");
    }
}
