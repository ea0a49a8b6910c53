//! A few hundred seeds, each bug that is planted, and that equal seeds give equal runs.

use super::{SimulateOptions, simulate};
use crate::group::Fault;

/// Seeds of every test run.
const SEEDS: u64 = 300;

#[test]
fn every_router_holds_what_the_oracle_says() {
    let compared_in = |seeds: std::ops::Range<u64>| -> u64 {
        let runs = seeds.map(|seed| simulate(seed, SimulateOptions::default()));
        runs.map(|run| match run {
            Ok(summary) => summary.compared,
            Err(failure) => panic!("{failure}"),
        })
        .sum()
    };
    // Two halves at once, for the sake of those who wait.
    let compared = std::thread::scope(|scope| {
        let half = scope.spawn(|| compared_in(0..SEEDS / 2));
        let other = compared_in(SEEDS / 2..SEEDS);
        half.join().map(|half| half + other)
    });
    let compared = compared.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    assert!(
        compared > 20 * SEEDS,
        "only {compared} routes were compared"
    );
}

#[test]
fn equal_seeds_give_equal_runs() {
    for seed in 0..20 {
        let run = || simulate(seed, SimulateOptions::default());
        assert_eq!(run(), run());
    }
}

/// The fault fails one of the first seeds, as a wrong table; and it is the fault that does it.
fn assert_found(fault: Fault, seeds: u64) {
    let planted = SimulateOptions {
        fault: Some(fault),
        ..SimulateOptions::default()
    };
    let found = (0..seeds).find_map(|seed| simulate(seed, planted).err());
    let failure = found.unwrap_or_else(|| panic!("{fault:?} passes {seeds} seeds"));
    assert!(failure.words.contains("the oracle"), "{failure}");
    assert!(simulate(failure.seed, SimulateOptions::default()).is_ok());
    println!("{fault:?}: {failure}");
}

#[test]
fn a_lost_withdraw_is_found_within_40_seeds() {
    assert_found(Fault::LostWithdraw, 40);
}

#[test]
fn a_missed_coalesce_is_found_within_200_seeds() {
    assert_found(Fault::MissedCoalesce, 200);
}

#[test]
fn a_wrong_split_horizon_is_found_within_20_seeds() {
    assert_found(Fault::WrongSplitHorizon, 20);
}

#[test]
fn an_id_that_is_given_away_while_it_is_held_is_found_within_200_seeds() {
    assert_found(Fault::NothingHeld, 200);
}
