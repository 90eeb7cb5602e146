//! The core in simulated worlds, a modest number of them; `benches/simulation.rs` lives through many more.

use super::simulation::{runner, simulate};

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
