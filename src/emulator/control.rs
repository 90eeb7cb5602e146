//! Scripting a running emulator: in the same process by [`Control`], from outside through `/_emulator/` on any host.
//!
//! | request | does |
//! |---|---|
//! | `POST /_emulator/faults` | arms a [`Fault`]; answers its number |
//! | `GET /_emulator/faults` | the armed ones, and how often each struck |
//! | `DELETE /_emulator/faults[/N]` | disarms all, or one |
//! | `POST /_emulator/changes` | makes a [`Change`] |
//! | `GET /_emulator/calls` | the counters ([`Calls`]) |
//! | `DELETE /_emulator/calls` | resets them |

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::json;

use super::answer::Answer;
use super::calls::Calls;
use super::change::{self, Change, ChangeError};
use super::fault::Fault;
use super::request::Request;
use super::world::World;

/// A handle on a running emulator. Clones are handles on the same one; it may outlive the emulator.
#[derive(Clone)]
pub struct Control {
    world: Arc<World>,
}

impl Control {
    pub(super) fn new(world: Arc<World>) -> Self {
        Self { world }
    }

    /// Arms a fault, from the next request on; gives its number.
    pub fn fault(&self, fault: Fault) -> u64 {
        self.world.faults.add(fault)
    }

    /// Disarms one fault. False if there is none of that number.
    pub fn clear_fault(&self, number: u64) -> bool {
        self.world.faults.remove(number)
    }

    /// Disarms all faults.
    pub fn clear_faults(&self) {
        self.world.faults.clear();
    }

    /// Makes a change, from the next request on.
    ///
    /// # Errors
    /// If what it is about does not exist.
    pub fn change(&self, change: Change) -> Result<(), ChangeError> {
        change::make(&self.world, change)
    }

    /// The counters now.
    #[must_use]
    pub fn calls(&self) -> Calls {
        self.world.calls.read()
    }

    /// Sets the counters to nothing.
    pub fn reset_calls(&self) {
        self.world.calls.reset();
    }

    /// Delays every answer by so much.
    pub fn set_latency(&self, latency: Duration) {
        self.world.set_latency(latency);
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").finish_non_exhaustive()
    }
}

pub(super) fn answer(world: &World, request: &Request) -> Answer {
    match (&request.method, &request.segments()[1..]) {
        (&Method::POST, ["faults"]) => match serde_json::from_slice::<Fault>(&request.body) {
            Ok(fault) => Answer::json(StatusCode::CREATED, json!({"fault": world.faults.add(fault)})),
            Err(error) => bad(&error.to_string()),
        },
        (&Method::GET, ["faults"]) => {
            let all = world.faults.read().into_iter();
            let all = all.map(|(number, fault, struck)| json!({"number": number, "struck": struck, "fault": fault}));
            Answer::ok(json!({"faults": all.collect::<Vec<_>>()}))
        }
        (&Method::DELETE, ["faults"]) => {
            world.faults.clear();
            Answer::empty(StatusCode::NO_CONTENT)
        }
        (&Method::DELETE, ["faults", number]) => match number.parse().map(|number| world.faults.remove(number)) {
            Ok(true) => Answer::empty(StatusCode::NO_CONTENT),
            Ok(false) | Err(_) => Answer::text(StatusCode::NOT_FOUND, "There is no fault of that number.\n"),
        },
        (&Method::POST, ["changes"]) => match serde_json::from_slice::<Change>(&request.body) {
            Ok(change) => match change::make(world, change) {
                Ok(()) => Answer::empty(StatusCode::NO_CONTENT),
                Err(error) => Answer::json(StatusCode::CONFLICT, json!({"error": error.to_string()})),
            },
            Err(error) => bad(&error.to_string()),
        },
        (&Method::GET, ["calls"]) => Answer::ok(json!(world.calls.read())),
        (&Method::DELETE, ["calls"]) => {
            world.calls.reset();
            Answer::empty(StatusCode::NO_CONTENT)
        }
        _ => Answer::text(
            StatusCode::NOT_FOUND,
            "Here are /_emulator/faults, /_emulator/changes and /_emulator/calls.\n",
        ),
    }
}

fn bad(reason: &str) -> Answer {
    Answer::json(StatusCode::BAD_REQUEST, json!({"error": reason}))
}
