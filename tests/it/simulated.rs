//! The core in simulated worlds, a modest number of them; `benches/simulation.rs` lives through many more.

use super::simulation::{runner, scenarios, simulate};

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
