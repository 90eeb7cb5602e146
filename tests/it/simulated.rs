//! The core in simulated worlds, a modest number of them; `benches/simulation.rs` lives through many more.

use std::time::Duration;

use super::simulation::fleet::Start;
use super::simulation::{fleet, runner, scenarios, simulate};

#[test]
fn the_same_seed_is_the_same_history() {
    for seed in 0..60 {
        let prints = [(); 2].map(|()| simulate(seed).1.print());
        assert_eq!(prints[0], prints[1], "seed {seed}");
    }
}

#[test]
fn no_rule_is_broken_in_any_of_many_worlds() {
    let tally = runner::run(0..300, 2, 1);
    assert!(tally.failures.is_empty(), "{}", tally.failures[0].1);
}

#[test]
fn ten_thousand_readers_of_one_name_cost_one_call_whether_it_is_there_or_not() {
    assert_eq!(scenarios::stampede(), [1, 1]);
}

#[test]
fn an_outage_of_hours_is_served_through_with_true_ages_and_recovered_from_without_a_burst() {
    let outage = scenarios::outage(3);
    held_through(&outage);
}

fn held_through(outage: &scenarios::Outage) {
    assert_eq!((outage.unserved, outage.untrue, outage.unmarked), (0, 0, 0), "{outage:?}");
    assert!(outage.readings > 15_000 && outage.recovered <= 62_000, "{outage:?}");
    // Fifty values; they do not come together.
    assert!(outage.peak_after <= 12, "{outage:?}");
}

/// As many sidecars as a vault's budget bears: 40 × 50 secrets, and a listing of two pages each.
#[test]
fn a_fleet_that_restarts_in_one_second_is_served_at_once_within_half_of_the_vaults_budget() {
    let restart = fleet::restart(38, 50, Start::Cold, Duration::from_secs(1), Duration::from_secs(15));
    assert_eq!((restart.unserved, restart.throttled), (0, 0), "{restart:?}");
    assert!(restart.peak <= fleet::BUDGET / 2 && restart.served[2] <= 5_000, "{restart:?}");
}

/// A larger one finds its measure by being refused, and all of it is served.
#[test]
fn a_fleet_too_large_for_the_vault_is_served_in_the_end_and_asks_it_no_more_often_than_it_must() {
    let restart = fleet::restart(100, 50, Start::Cold, Duration::from_secs(1), Duration::from_secs(90));
    assert_eq!(restart.unserved, 0, "{restart:?}");
    // Those that were under way when the first was refused, and few after that.
    assert!(restart.throttled <= 100 * 40 && restart.served[2] < 90_000, "{restart:?}");
}

#[test]
fn a_fleet_that_starts_from_snapshots_is_served_at_once_and_asks_for_pages_rather_than_for_secrets() {
    let kept = Start::Kept(Duration::from_secs(60));
    let restart = fleet::restart(500, 50, kept, Duration::from_secs(1), Duration::from_secs(30));
    assert_eq!((restart.unserved, restart.served, restart.gets, restart.throttled), (0, [0; 3], 0, 0), "{restart:?}");
    assert!(restart.peak <= fleet::BUDGET / 2, "{restart:?}");
}
