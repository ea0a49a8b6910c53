//! Scenarios against routers, by others and our own: their tables are compared with what they should
//! be.

use crate::support::{Bird, BirdOptions, Ringbgp, json, loadgen, run};

const EXTERNAL: BirdOptions = BirdOptions {
    session: "",
    channel: "next hop self;",
};
const REFLECTOR: BirdOptions = BirdOptions {
    session: "rr client; rr cluster id 10.255.0.1;",
    channel: "",
};
const ROUTE_SERVER: BirdOptions = BirdOptions {
    session: "rs client;",
    channel: "",
};

fn verified(scenario: &str, options: BirdOptions) {
    let Some(bird) = Bird::start(scenario, options) else {
        return;
    };
    let arguments = format!("{scenario} --target {} --verify --json", bird.address);
    let output = run(&format!("{arguments} --timeout 60"));
    assert!(output.status.success(), "{scenario}: {output:?}");
    assert_eq!(json(&output)["verified"], true, "{scenario}");
}

#[test]
fn bird_passes_tables_on_as_it_should() {
    verified("load --senders 3 --prefixes 2000 --receivers 2", EXTERNAL);
    verified("load --senders 3 --prefixes 1000 --internal", REFLECTOR);
    verified(
        "load --senders 3 --prefixes 1000 --route-server",
        ROUTE_SERVER,
    );
    verified("peers --peers 20 --reconnect-prefixes 7", EXTERNAL);
}

#[test]
fn bird_chooses_the_best_of_overlapping_tables() {
    verified("load --senders 4 --prefixes 2000 --overlap", EXTERNAL);
}

#[test]
fn bird_tells_of_churn_and_of_the_death_of_a_sender() {
    verified("churn --prefixes 2000 --rounds 4", EXTERNAL);
    verified("churn --prefixes 500 --rounds 2 --step", EXTERNAL);
    verified("churn --prefixes 500 --rounds 2 --rate 5000", EXTERNAL);
    verified("flap --prefixes 2000", EXTERNAL);
    verified("flap --prefixes 2000 --mode replace", EXTERNAL);
    verified("flap --prefixes 2000 --mode replace --same-as", EXTERNAL);
    verified("flap --prefixes 1000 --mode replace --internal", REFLECTOR);
}

#[test]
fn our_own_daemon_tells_what_it_should() {
    for scenario in [
        "load --senders 3 --prefixes 2000 --receivers 2",
        "load --senders 4 --prefixes 2000 --overlap",
        "churn --prefixes 2000 --rounds 3",
        "flap --prefixes 2000",
        "flap --prefixes 2000 --mode replace",
        "flap --prefixes 2000 --mode replace --same-as",
        "peers --peers 20 --reconnect-prefixes 7",
    ] {
        let Some(ringbgp) = Ringbgp::start(scenario) else {
            return;
        };
        let target = &ringbgp.address;
        let output = run(&format!("{scenario} --target {target} --verify --json"));
        assert!(output.status.success(), "{scenario}: {output:?}");
        let results = json(&output);
        assert_eq!(results["verified"], true, "{scenario}");
        // What is told after the death of a sender is part of the run, however long it takes.
        if results["receivers"]["nlri"].as_u64() > Some(0) {
            assert!(results["seconds"].as_f64() > Some(0.0), "{results}");
        }
        if scenario.starts_with("flap") && !scenario.contains("--same-as") {
            assert_eq!(results["latency"]["count"], 2000, "{results}");
        }
    }
}

#[test]
fn every_client_is_told_of_a_change_of_policy() {
    let scenario = "reload --clients 10 --prefixes-each 50 --command X --route-server";
    let Some(bird) = Bird::start(scenario, ROUTE_SERVER) else {
        return;
    };
    let directory = bird.directory.path().display();
    bird.configure("filter { bgp_community = -empty-; accept; }");
    let command = format!("birdc -s {directory}/bird.ctl configure '\"{directory}/bird.conf\"'");
    let scenario = scenario.replace("--command X", "");
    let mut reload = loadgen(&scenario);
    reload.args([
        "--command",
        &command,
        "--verify",
        "--json",
        "--timeout",
        "60",
    ]);
    let output = reload.args(["--target", &bird.address]).output();
    let output = output.expect("loadgen runs");
    assert!(output.status.success(), "{output:?}");
    let results = json(&output);
    assert_eq!(results["verified"], true);
    assert!(results["latency"]["p50"].as_f64() > Some(0.0), "{results}");
    assert_eq!(results["phases"][0]["name"], "complete p50");

    let mut reload = loadgen(&scenario);
    reload.args(["--command", "exit 7", "--target", &bird.address]);
    assert_eq!(
        reload.output().expect("loadgen runs").status.code(),
        Some(1)
    );
}
