//! Scenarios as programs, against the null relay.

use std::io::Read;
use std::net::TcpListener;
use std::process::Stdio;

use crate::support::{Relay, Running, free_port, json, loadgen, run};

#[test]
fn load_and_fanout_reach_every_receiver() {
    for (arguments, nlri) in [
        ("load --senders 3 --prefixes 1000 --receivers 2", 6000),
        ("load --senders 2 --prefixes 1003 --family ipv6", 2006),
        (
            "load --senders 2 --prefixes 500 --internal --order sorted",
            1000,
        ),
        ("fanout --prefixes 2000 --receivers 20", 40_000),
    ] {
        let relay = Relay::start();
        let output = run(&format!(
            "{arguments} --target {} --json --pid {} --timeout 60",
            relay.address,
            relay.pid()
        ));
        assert!(output.status.success(), "{arguments}: {output:?}");
        let results = json(&output);
        assert_eq!(results["receivers"]["nlri"], nlri, "{arguments}");
        assert!(results["receivers"]["nlriPerUpdate"].as_f64() > Some(4.5));
        assert!(results["seconds"].as_f64() > Some(0.0));
        assert!(results["dut"]["peakRssBytes"].as_u64() > Some(0));
        assert_eq!(results["arguments"]["target"], relay.address);
    }
}

#[test]
fn overlapping_senders_end_when_nothing_moves_any_more() {
    let relay = Relay::start();
    let arguments = "load --senders 4 --prefixes 1000 --overlap --json";
    let output = run(&format!("{arguments} --target {}", relay.address));
    assert!(output.status.success(), "{output:?}");
    assert_eq!(json(&output)["receivers"]["nlri"], 4000);
}

#[test]
fn a_relay_forgets_its_routers_when_the_last_one_leaves() {
    let relay = Relay::start();
    for seed in 1..4 {
        let output = run(&format!(
            "fanout --prefixes 500 --receivers 3 --seed {seed} --json --target {}",
            relay.address
        ));
        assert!(output.status.success(), "{output:?}");
        assert_eq!(json(&output)["receivers"]["nlri"], 1500);
    }
}

/// BIRD 2.0 listens with a queue of 8, OpenBGPD with one of 5.
#[test]
fn a_short_listen_queue_holds_all_that_dial_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let target = listener.local_addr().expect("its address");
    let child = loadgen(&format!("fanout --receivers 30 --target {target}"))
        .stderr(Stdio::null())
        .spawn();
    let _running = Running(child.expect("loadgen starts"));
    // When a router says OPEN, all that dial at once have dialed.
    let (mut router, _) = listener.accept().expect("a router");
    assert!(router.read(&mut [0; 19]).expect("its OPEN") > 0);
    listener.set_nonblocking(true).expect("it does not wait");
    let others = std::iter::from_fn(|| listener.accept().ok()).count();
    assert!((1..5).contains(&others), "{others} more");
}

#[test]
fn who_does_not_listen_or_does_not_agree_is_named_in_one_sentence() {
    let dead = format!("127.0.0.1:{}", free_port());
    let output = run(&format!("load --prefixes 10 --target {dead}"));
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(words.contains("nobody listens there"), "{words}");
    assert_eq!(words.lines().count(), 1, "{words}");

    let relay = Relay::start();
    let target = &relay.address;
    let output = run(&format!(
        "load --prefixes 10 --dut-asn 65009 --target {target}"
    ));
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(words.contains("Bad Peer AS"), "{words}");
    assert_eq!(words.lines().count(), 1, "{words}");
}

#[test]
fn blast_and_sink_say_once_that_nobody_is_there() {
    let dead = format!("127.0.0.1:{}", free_port());
    for command in [
        "blast --once --prefixes 10",
        "blast --prefixes 10",
        "sink --expect 5",
        "sink",
    ] {
        let output = run(&format!("{command} --connect {dead} --timeout 1"));
        assert_eq!(output.status.code(), Some(3), "{command}: {output:?}");
        let words = String::from_utf8_lossy(&output.stderr);
        let said = words.matches("no session came up in 1 s").count();
        assert_eq!(said, 1, "{command}: {words}");
    }
}

/// The kernel takes the connections; nobody ever says OPEN.
#[test]
fn a_target_that_takes_connections_and_says_nothing_is_said_to_be_silent() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let target = listener.local_addr().expect("its address");
    let directory = tempfile::tempdir().expect("a directory");
    let text = directory.path().join("text");
    std::fs::write(&text, "10.0.0.0/8").expect("a file");
    let (text, file) = (text.display(), directory.path().join("file"));
    let rounds = format!(
        "rounds --first {text} --second {text} --file {}",
        file.display()
    );
    for command in [
        "load --prefixes 10",
        "fanout --prefixes 10",
        "churn --prefixes 10",
        "flap --prefixes 10",
        "peers --peers 2",
        "reload --clients 2 --command true",
        "blast --prefixes 10",
        "sink",
        "sink --expect 5",
        &rounds,
    ] {
        let is_scenario = !["blast", "sink", "rounds"].contains(&first_word(command));
        let dials = if is_scenario { "--target" } else { "--connect" };
        let output = run(&format!("{command} {dials} {target} --timeout 0.5"));
        assert_eq!(output.status.code(), Some(3), "{command}: {output:?}");
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            words.contains("no session came up in 0.5 s: nobody answers there"),
            "{command}: {words}"
        );
        assert_eq!(words.lines().count(), 1, "{command}: {words}");
    }
}

/// It closes every connection, but the run ends before it has done so often enough to be believed.
#[test]
fn a_target_that_turns_connections_away_is_not_said_to_be_silent() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let target = listener.local_addr().expect("its address");
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let output = run(&format!(
        "load --prefixes 10 --target {target} --timeout 0.5"
    ));
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(words.contains("the target "), "{words}");
    assert!(!words.contains("nobody answers"), "{words}");
}

fn first_word(command: &str) -> &str {
    command.split(' ').next().unwrap_or_default()
}

#[test]
fn a_target_that_dies_in_the_middle_is_said_to_be_dead() {
    let relay = Relay::start();
    let arguments = "load --senders 2 --prefixes 400000 --receivers 4";
    let mut child = loadgen(&format!("{arguments} --target {}", relay.address))
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("loadgen starts");
    relay.wait_until_it_is_given(1 << 20);
    drop(relay);
    let status = child.wait().expect("loadgen ends");
    assert_eq!(status.code(), Some(3));
}

#[test]
fn neighbors_are_the_routers_of_a_scenario() {
    let lines = |arguments: &str| {
        let output = run(&format!("neighbors {arguments}"));
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    assert_eq!(
        lines("load --senders 1 --first-address 127.9.255.255"),
        "127.9.255.255 100001\n127.10.0.0 100002\n"
    );
    assert_eq!(
        lines("fanout --receivers 1 --internal --dut-asn 65001"),
        "127.1.0.1 65001\n127.1.0.2 65001\n"
    );
}

#[test]
fn a_relay_changes_nothing_and_that_is_found() {
    let relay = Relay::start();
    let target = &relay.address;
    let arguments = "load --senders 3 --prefixes 1000 --receivers 2 --verify --json";
    let output = run(&format!("{arguments} --route-server --target {target}"));
    assert!(output.status.success(), "{output:?}");
    assert_eq!(json(&output)["verified"], true);

    let output = run(&format!("{arguments} --target {target}"));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(json(&output)["verified"], false);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(words.contains("AS_PATH is"), "{words}");
}

#[test]
fn churn_and_reconnecting_peers_go_through_a_relay() {
    let relay = Relay::start();
    let target = &relay.address;
    for (arguments, nlri) in [
        ("churn --prefixes 500 --rounds 3", 3000),
        ("churn --prefixes 500 --rounds 3 --step", 3000),
        ("peers --peers 30 --reconnect-prefixes 6", 30 * 29 * 6),
        ("peers --peers 300", 0),
    ] {
        let output = run(&format!("{arguments} --json --target {target}"));
        assert!(output.status.success(), "{arguments}: {output:?}");
        let results = json(&output);
        assert_eq!(results["receivers"]["nlri"], nlri, "{arguments}");
        let latency = &results["latency"];
        assert!(latency["p50"].as_f64() > Some(0.0), "{results}");
        let buckets = latency["histogram"].as_array().expect("buckets");
        let counts = buckets.iter().map(|bucket| bucket["count"].as_u64());
        assert_eq!(counts.sum::<Option<u64>>(), latency["count"].as_u64());
        let longest = buckets.last().map(|bucket| bucket["upTo"].as_f64());
        assert!(longest >= Some(latency["max"].as_f64()), "{results}");
    }
}

#[test]
fn clients_of_a_relay_strip_communities_themselves() {
    let relay = Relay::start();
    let arguments = "reload --clients 20 --prefixes-each 50 --by-clients --route-server --verify";
    let output = run(&format!(
        "{arguments} --json --churn 0 --target {}",
        relay.address
    ));
    assert!(output.status.success(), "{output:?}");
    let results = json(&output);
    assert_eq!(results["verified"], true);
    assert_eq!(results["receivers"]["nlri"], 20 * 19 * 50);
    assert_eq!(results["latency"]["count"], 20);
}

#[test]
fn people_get_a_table_and_a_picture() {
    let relay = Relay::start();
    let directory = tempfile::tempdir().expect("a directory");
    let svg = directory.path().join("run.svg");
    let output = run(&format!(
        "fanout --prefixes 1000 --receivers 5 --pid {} --target {} --svg {}",
        relay.pid(),
        relay.address,
        svg.display()
    ));
    assert!(output.status.success(), "{output:?}");
    assert!(
        output.stderr.is_empty(),
        "no bar off a terminal: {output:?}"
    );
    let table = String::from_utf8(output.stdout).expect("text");
    for words in [
        "fanout",
        "NLRI received",
        "5000",
        "peak RSS",
        "CPU of the routers",
    ] {
        assert!(table.contains(words), "{words} is not in {table}");
    }
    let picture = std::fs::read_to_string(svg).expect("the picture");
    assert!(picture.contains("<polyline"), "{picture}");
}

#[test]
fn what_makes_no_sense_is_refused() {
    for arguments in [
        "load --senders 0 --receivers 0",
        "load --prefixes 2000000000",
        "churn --rate 0",
        "flap --same-as",
        "reload",
        "reload --command true --by-clients",
        "load --internal --route-server",
        "fanout --no-such-thing",
        "fanout --pid 999999999",
        "fanout --svg /nowhere/run.svg",
    ] {
        let output = run(&format!("{arguments} --target 127.0.0.1:1"));
        assert_eq!(output.status.code(), Some(2), "{arguments}: {output:?}");
    }
}
