//! A deterministic simulation of the core: the real broker, cache, catalog and flights over a scripted world, on virtual
//! time, with a checker over the history of all that was asked and told.
//!
//! A world is drawn from its seed: `plan` decides what is true when, what goes wrong when and who asks; `world` are its
//! vaults, `clients` its readers, `check` the rules. The same seed is the same history, to the call. `runner` takes many
//! seeds; `benches/simulation.rs` takes a hundred thousand on all cores, and one alone to look at:
//! `cargo bench --bench simulation -- --seed 4711`.

#![allow(dead_code, reason = "the tests and the bench use different parts of it")]

pub mod check;
pub mod clients;
pub mod dice;
pub mod fault;
pub mod fleet;
pub mod history;
pub mod plan;
pub mod process;
pub mod runner;
pub mod scenarios;
pub mod truth;
pub mod world;

use check::Broken;
use history::Book;
use plan::Plan;

/// Lives through that seed's world and holds its history to the rules.
pub fn simulate(seed: u64) -> (Plan, Book, Option<Broken>) {
    let plan = Plan::draw(seed);
    let book = clients::live(plan.clone());
    let broken = check::check(&plan, &book);
    (plan, book, broken)
}
