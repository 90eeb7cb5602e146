//! The fault table: what goes wrong on the wire, upstream or with the machine, and what must hold meanwhile. A whole
//! sidecar (`site`) on the fake Azure, over real sockets through wires that can be cut, silent or lossy (`cable`); the
//! promises of every outage, in every state that a value can be in, are in `outage`.
//!
//! Time leaps ahead where a test wants it to, for all in the process at once, and nothing here sleeps or is timed. A test
//! that waits for what never comes is ended by a watchdog.
//!
//! | row | fault | held by |
//! |---|---|---|
//! | F1 | refused, reset | [`unreachable`]: `a_vault_where_nobody_listens`, `a_vault_whose_connections_are_reset` |
//! | F2 | silence, lost SYN | [`unreachable`]: `…_accepts_and_is_silent_…`, `…_never_answers`, `…_swallows_what_opens_…` |
//! | F3 | drip, truncation, wrong length, garbage, duplicate keys, 100 MB, gzip bomb, wrong id | [`bodies`] |
//! | F4 | 429 with, without and with absurd `Retry-After` | [`throttled`]; gates: `tests/it/budget` |
//! | F5 | 5xx, flapping | [`throttled`]; circuits and retry budgets: `tests/it/budget` |
//! | F6 | one vault of several | [`vaults`], and every outage of [`outage`] watches the other vault |
//! | F7 | not found, disabled, expired, deleted | [`words`] |
//! | F8 | 403 by its inner code | [`words`] |
//! | F9 | tokens expire, are revoked | [`tokens`] |
//! | F10 | credential files rotate | `azure::rotation`, `azure::emulated`, `src/vaults/azure/credential/rotated_tests.rs` |
//! | F11 | Entra out, or refuses | [`tokens`] |
//! | F12 | DNS | [`unreachable`]: `…_name_is_gone_…`, `…_never_resolved_…`; slow resolvers: `src/vaults/azure/transport/last_good.rs` |
//! | F13 | cold start in an outage | [`starting`] |
//! | F14 | restart in an outage, with a snapshot | [`restarting`], `broker::kept`; bounds: `snapshot::bounds` |
//! | F15 | cuts and failures of writes, a corrupt file | `snapshot::crash`, `snapshot::strace`, `snapshot::read`, `broker::kept` |
//! | F19 | a fleet that starts together | `tests/it/simulation/fleet.rs`, run by `benches/simulation.rs` |
//! | F20 | stampede | [`herds`], `broker::reads`, `simulated`, `src/flight.rs` |
//! | F21 | clocks | [`herds`] (suspend), [`tokens`], `src/clock.rs`, `snapshot::bounds` (wall clock), `simulated` |
//! | F23 | panics | `api::guard::a_panic_is_one_500_that_tells_nothing`, `src/flight.rs`, `simulated` |
//! | F24 | a frozen process | [`herds`]: `after_eight_hours_of_standing_still_…`, `simulated` |
//! | F25 | the app is there first | [`starting`], `cli::surface::without_a_sidecar_or_credentials_it_is_said_what_to_do` |
//! | F26 | a replica that lags | [`replicas`], `broker::freshness`, `simulated` |
//! | F27 | discovery that fails or lies | [`vaults`], `catalog::discovery`, `azure::discovery` |
//! | F28 | an invalid configuration, another build's snapshot | `cli::surface::every_fault_of_a_configuration_…`, `snapshot::format` |
//!
//! Pairs of faults, and faults at any moment, are the simulation's: `tests/it/simulation`.

mod bodies;
mod cable;
mod herds;
mod outage;
mod replicas;
mod restarting;
mod site;
mod starting;
mod throttled;
mod tokens;
mod unreachable;
mod vaults;
mod words;
