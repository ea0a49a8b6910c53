//! A few hundred seeds, each bug that is planted, and that equal seeds give equal runs.

use std::time::Duration;

use super::world::World;
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
fn no_hold_timer_expires_over_octets_that_wait() {
    let mut survived = 0;
    for seed in 0..30 {
        let mut world = World::new(seed, false);
        let unread = world.run_unread(Duration::from_secs(200));
        let [before, after] = unread.unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        assert_eq!(before, after, "seed {seed}");
        survived += before.len();
    }
    assert!(survived > 30, "only {survived} sessions");
}

#[test]
fn past_the_memory_limit_only_the_greedy_are_not_read_and_nobody_is_lost() {
    let (mut paused, mut all) = (0, 0);
    for seed in 0..30 {
        let mut world = World::new(seed, false);
        let run = world.run_out_of_memory(Duration::from_secs(200));
        let ([before, after], unread) = run.unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        assert_eq!(before, after, "seed {seed}");
        paused += unread;
        all += before.len();
    }
    assert!(0 < paused && paused < all, "{paused} of {all}");
}

// RFC-SHOWN 4724 §4.2
#[test]
fn while_a_router_restarts_nobody_loses_a_route_of_its() {
    let (mut restarted, mut forwarding) = (0, 0);
    for seed in 0..60 {
        let mut world = World::new(seed, false);
        let run = world.run_restarts();
        let [all, forwarded] =
            run.unwrap_or_else(|why| panic!("seed {seed} at {:?}: {why}", world.now()));
        restarted += all;
        forwarding += forwarded;
    }
    assert!(
        restarted > 40 && forwarding > 10,
        "{restarted}, {forwarding}"
    );
}

// RFC-SHOWN 4724 §4.1
#[test]
fn while_our_process_restarts_no_router_loses_a_route_of_ours() {
    let mut kept = 0;
    for seed in 0..60 {
        let mut world = World::new(seed, false);
        let run = world.run_own_restart();
        kept += run.unwrap_or_else(|why| panic!("seed {seed} at {:?}: {why}", world.now()));
    }
    assert!(kept > 100, "{kept}");
}

#[test]
fn an_end_of_rib_that_comes_too_early_is_found_within_40_seeds() {
    let found = (0..40).find_map(|seed| {
        let mut world = World::new(seed, false);
        world.plant(Fault::Undeferred);
        world.run_own_restart().err()
    });
    let words = found.expect("it is not found");
    assert!(words.contains("and then"), "{words}");
}

#[test]
fn equal_seeds_give_equal_runs() {
    for seed in 0..20 {
        let run = || simulate(seed, SimulateOptions::default());
        assert_eq!(run(), run());
    }
}

/// The fault fails one of the first seeds, in these words; and it is the fault that does it.
fn assert_found(fault: Fault, seeds: u64, words: &str) {
    let planted = SimulateOptions {
        fault: Some(fault),
        ..SimulateOptions::default()
    };
    let found = (0..seeds).find_map(|seed| simulate(seed, planted).err());
    let failure = found.unwrap_or_else(|| panic!("{fault:?} passes {seeds} seeds"));
    assert!(failure.words.contains(words), "{failure}");
    assert!(simulate(failure.seed, SimulateOptions::default()).is_ok());
    println!("{fault:?}: {failure}");
}

const WRONG_TABLE: &str = "the oracle";

#[test]
fn a_lost_withdraw_is_found_within_40_seeds() {
    assert_found(Fault::LostWithdraw, 40, WRONG_TABLE);
}

#[test]
fn a_missed_coalesce_is_found_within_200_seeds() {
    assert_found(Fault::MissedCoalesce, 200, WRONG_TABLE);
}

#[test]
fn a_wrong_split_horizon_is_found_within_20_seeds() {
    assert_found(Fault::WrongSplitHorizon, 20, WRONG_TABLE);
}

#[test]
fn a_batch_in_the_wrong_order_is_found_within_400_seeds() {
    assert_found(Fault::InvertedBatch, 400, WRONG_TABLE);
}

#[test]
fn a_withdraw_lost_for_the_member_that_displaced_is_found_within_40_seeds() {
    assert_found(Fault::LostDisplacement, 40, WRONG_TABLE);
}

#[test]
fn adverts_compared_by_attributes_alone_are_found_within_40_seeds() {
    assert_found(Fault::AttributesOnly, 40, WRONG_TABLE);
}

#[test]
fn a_next_best_path_that_is_not_told_is_found_within_150_seeds() {
    assert_found(Fault::StaleSecond, 150, WRONG_TABLE);
}

#[test]
fn a_next_best_path_that_is_not_marked_is_found_within_40_seeds() {
    assert_found(Fault::UnmarkedOthers, 40, WRONG_TABLE);
}

// RFC-SHOWN 7313 §4
#[test]
fn a_route_that_outlives_a_refresh_is_found_within_60_seeds() {
    assert_found(Fault::NoSweep, 60, WRONG_TABLE);
}

// RFC-SHOWN 6811 §4
#[test]
fn a_route_that_new_vrps_do_not_reach_is_found_within_40_seeds() {
    assert_found(Fault::StaleValidation, 40, WRONG_TABLE);
}

#[test]
fn best_paths_that_stay_when_selection_changes_are_found() {
    assert_found(Fault::StaleSelection, 300, WRONG_TABLE);
}

#[test]
fn a_knob_that_breaks_sharing_is_found_within_300_seeds() {
    assert_found(Fault::Unshared, 300, "sharing is wrong");
}

#[test]
fn an_id_that_is_given_away_while_it_is_held_is_found_within_200_seeds() {
    assert_found(Fault::NothingHeld, 200, "the oracle");
}

#[test]
fn a_path_of_several_whose_end_is_not_told_is_found_within_40_seeds() {
    assert_found(Fault::LostPathWithdraw, 40, WRONG_TABLE);
}

#[test]
fn an_identifier_that_is_given_away_while_somebody_is_behind_is_found_within_200_seeds() {
    assert_found(Fault::ReusedPathId, 200, WRONG_TABLE);
}

#[test]
fn a_place_among_several_paths_that_stays_empty_is_found_within_40_seeds() {
    assert_found(Fault::UnfilledPlace, 40, WRONG_TABLE);
}

#[test]
fn an_own_path_among_several_that_comes_back_is_found_within_40_seeds() {
    assert_found(Fault::OwnPathBack, 40, WRONG_TABLE);
}
