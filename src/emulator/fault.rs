//! Faults that are scripted: which requests they strike, how often, and what they do.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::calls::{Endpoint, Target};

/// A scripted fault. Everything that is not told matches everything; without `times` and `for_ms` it lasts until it is
/// cleared.
///
/// ```json
/// {"on": "get", "vault": "pay-prod", "nth": 2, "times": 1, "effect": {"respond": {"status": 503}}}
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Only this kind of request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<Endpoint>,
    /// Only requests to this vault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<String>,
    /// Only requests for this secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// From the nth matching request on, counted from 1 since the fault was scripted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nth: Option<u64>,
    /// Strikes so often.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    /// Strikes for so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<u64>,
    /// What it does.
    pub effect: Effect,
}

impl Fault {
    /// A fault that strikes every request.
    #[must_use]
    pub fn new(effect: Effect) -> Self {
        Self { on: None, vault: None, secret: None, nth: None, times: None, for_ms: None, effect }
    }

    /// Only this kind of request.
    #[must_use]
    pub fn on(self, endpoint: Endpoint) -> Self {
        Self { on: Some(endpoint), ..self }
    }

    /// Only requests to this vault.
    #[must_use]
    pub fn vault(self, vault: &str) -> Self {
        Self { vault: Some(vault.to_owned()), ..self }
    }

    /// Only requests for this secret.
    #[must_use]
    pub fn secret(self, secret: &str) -> Self {
        Self { secret: Some(secret.to_owned()), ..self }
    }

    /// From the nth matching request on, counted from 1.
    #[must_use]
    pub fn nth(self, nth: u64) -> Self {
        Self { nth: Some(nth), ..self }
    }

    /// Strikes so often.
    #[must_use]
    pub fn times(self, times: u64) -> Self {
        Self { times: Some(times), ..self }
    }
}

/// What a fault does.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Answers this; the service is not asked.
    Respond(Respond),
    /// The service's answer, so many milliseconds later.
    DelayMs(u64),
    /// No answer, ever; the connection stays open.
    Hang,
    /// The connection is reset before a byte of the answer.
    Reset,
    /// The answer's head and half of its body, then the end of the connection.
    Truncate,
    /// The answer under a `Content-Length` of half of it.
    ShortLength,
    /// The answer, one byte in so many milliseconds.
    DripMs(u64),
    /// 200, `application/json`, and bytes that are no JSON.
    Garbage,
    /// The answer with the id of another secret of the same vault: `name`, and the version's digits reversed.
    WrongId(String),
    /// The answer to another request: 200 and this JSON.
    Swap(serde_json::Value),
    /// 200 and a JSON of so many bytes.
    HugeBytes(u64),
    /// 200 and a gzip that unpacks to so many megabytes, about a thousand times what goes over the wire.
    GzipBombMb(u32),
    /// 302 to this URL.
    Redirect(String),
    /// The answer with this `nextLink`.
    NextLink(String),
    /// 401 with a challenge for this resource.
    Challenge(String),
}

/// An answer that is put in the service's place.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Respond {
    /// The status; 100 to 599.
    pub status: u16,
    /// `error.code`; without it, the status's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// `error.innererror.code`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub innererror: Option<String>,
    /// `error.message`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The header `Retry-After`, as it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<String>,
    /// The whole body, in place of Azure's JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

impl Respond {
    /// That status, with the service's usual JSON.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }
}

/// The faults that are scripted now.
#[derive(Debug, Default)]
pub(super) struct FaultBook(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    next: u64,
    faults: HashMap<u64, Armed>,
}

#[derive(Debug)]
struct Armed {
    fault: Fault,
    until: Option<Instant>,
    seen: u64,
    struck: u64,
}

impl FaultBook {
    /// Arms a fault and gives its number.
    pub(super) fn add(&self, fault: Fault) -> u64 {
        let until = fault.for_ms.map(|ms| Instant::now() + Duration::from_millis(ms));
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.next += 1;
        let number = open.next;
        open.faults.insert(number, Armed { fault, until, seen: 0, struck: 0 });
        number
    }

    pub(super) fn remove(&self, number: u64) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).faults.remove(&number).is_some()
    }

    pub(super) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).faults.clear();
    }

    /// How often each fault struck, by number; and the faults themselves.
    pub(super) fn read(&self) -> Vec<(u64, Fault, u64)> {
        let open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> =
            open.faults.iter().map(|(number, armed)| (*number, armed.fault.clone(), armed.struck)).collect();
        all.sort_by_key(|(number, ..)| *number);
        all
    }

    /// The effect for this request: the oldest fault that strikes it.
    pub(super) fn strike(&self, target: &Target) -> Option<Effect> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        open.faults.retain(|_, armed| armed.until.is_none_or(|until| now < until));
        let mut numbers: Vec<_> = open.faults.keys().copied().collect();
        numbers.sort_unstable();
        for number in numbers {
            let Some(armed) = open.faults.get_mut(&number) else { continue };
            if !armed.fault.matches(target) {
                continue;
            }
            armed.seen += 1;
            let due = armed.fault.nth.is_none_or(|nth| armed.seen >= nth);
            let left = armed.fault.times.is_none_or(|times| armed.struck < times);
            if due && left {
                armed.struck += 1;
                return Some(armed.fault.effect.clone());
            }
        }
        None
    }
}

impl Fault {
    fn matches(&self, target: &Target) -> bool {
        let is = |wanted: &Option<String>, told: &Option<String>| {
            wanted.as_ref().is_none_or(|wanted| told.as_ref().is_some_and(|told| told.eq_ignore_ascii_case(wanted)))
        };
        self.on.is_none_or(|on| on == target.endpoint)
            && is(&self.vault, &target.vault)
            && is(&self.secret, &target.secret)
    }
}
