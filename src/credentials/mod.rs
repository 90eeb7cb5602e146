//! Credentials of systemd's units: `LoadCredential=ID:/run/sidekey/credentials.sock` in a unit, and systemd asks here for
//! what that unit is to start with.
//!
//! systemd connects from an abstract address that tells the unit and the id, and takes what it reads until the end; there
//! is no other word between the two (`name`). [`Credentials`] says which secret that is, and reads it through the broker, as
//! a caller of its own with the right to that secret and no other; [`serve()`] accepts and answers.
//!
//! To systemd there is no refusal: a connection that is closed without a byte is a credential without a byte, and its unit
//! is started with that. So who is refused is sent more than systemd takes for a credential, which fails the unit's start
//! (`status=243/CREDENTIALS`), unless the configuration says that an empty one will do.
//!
//! Must never happen: a name believed of anybody but root, as everybody can connect from such an address; a unit started
//! with half a value, or with none where one is needed; a unit that waits for ever; a value given that the audit has no
//! line of.

mod name;
mod serve;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use globset::GlobMatcher;
use tokio::time::{Instant, sleep, timeout_at};

pub use name::UnitAndId;
pub(crate) use name::is_credential_id;
pub use serve::serve;

use crate::access::audit::{Audit, Line, Operation};
use crate::access::{Caller, Peer, Rights};
use crate::api::problem::{Problem, request_id};
use crate::broker::{self, Ask, Broker, Resolved};
use crate::secret::Reference;

/// One `[[credential]]`: which secret a unit gets under an id.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The unit's name, or a glob over such names.
    pub unit: GlobMatcher,
    /// As `LoadCredential=` names it.
    pub id: String,
    /// The secret.
    pub reference: Reference,
    /// The unit is not to start without it.
    pub required: bool,
}

/// What units are given, as it is in force. A cheap handle: what one of them replaces, all use.
#[derive(Clone)]
pub struct Credentials(Arc<ArcSwap<Inner>>);

struct Inner {
    broker: Broker,
    audit: Audit,
    rules: Vec<Rule>,
}

/// Why a unit does not get what it asks for. Told in the log and in the audit; to systemd nothing can be told.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// No `[[credential]]` covers it.
    #[error("no [[credential]] is for this unit and id")]
    NotConfigured,
    /// It could not be read.
    #[error(transparent)]
    Broker(broker::Error),
    /// It would have to be recorded, and could not be.
    #[error("the read cannot be recorded")]
    Unrecorded,
}

/// While a vault cannot be asked, or the first listing is not done, systemd waits for so long at most: well within the 90 s
/// that it lets a start take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// A credential that was recorded, and may be given.
#[allow(missing_debug_implementations, reason = "a value is never printed")]
pub struct Given(Resolved);

impl Credentials {
    /// By these rules, out of that broker, recorded there.
    #[must_use]
    pub fn new(broker: Broker, audit: Audit, rules: Vec<Rule>) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(Inner { broker, audit, rules })))
    }

    /// From the next question on, what `other` is now.
    pub fn replace(&self, other: &Self) {
        self.0.store(other.0.load_full());
    }

    /// What that unit gets under that id; waits a while for what can pass.
    ///
    /// # Errors
    /// Why it gets nothing.
    pub async fn get(&self, asked: &UnitAndId, peer: &Peer) -> Result<Given, Refusal> {
        let end = Instant::now() + PATIENCE;
        loop {
            // Another one may be in force since the last look.
            let inner = self.0.load_full();
            let line = Told { asked, peer };
            let Some(rule) = inner.rule(asked) else {
                return Err(line.refuse(&inner.audit, None, Refusal::NotConfigured).await);
            };
            let caller = line.caller(&rule.reference);
            let references = BTreeMap::from([(asked.id().to_owned(), rule.reference.clone())]);
            let error = match inner.broker.within(caller.rights()).resolve(&references).await {
                Ok(resolved) => match resolved.into_values().next() {
                    Some(resolved) => return line.give(&inner.audit, &rule.reference, resolved).await,
                    None => return Err(Refusal::NotConfigured),
                },
                Err(errors) => errors.into_values().next().map_or(Refusal::NotConfigured, Refusal::Broker),
            };
            let may_pass = matches!(&error, Refusal::Broker(error) if error.may_pass());
            if !may_pass || timeout_at(end, sleep(PAUSE)).await.is_err() {
                return Err(line.refuse(&inner.audit, Some(&rule.reference), error).await);
            }
        }
    }

    /// Whether that unit is not to start without it. Of what nobody has configured that is so.
    #[must_use]
    pub fn is_required(&self, asked: &UnitAndId) -> bool {
        self.0.load().rule(asked).is_none_or(|rule| rule.required)
    }

    /// Where what is asked for is recorded.
    fn audit(&self) -> Audit {
        self.0.load().audit.clone()
    }
}

impl Inner {
    /// One that names the unit itself goes before globs, and an earlier one before a later one.
    fn rule(&self, asked: &UnitAndId) -> Option<&Rule> {
        let fitting = || self.rules.iter().filter(|rule| rule.id == asked.id() && rule.unit.is_match(asked.unit()));
        fitting().find(|rule| rule.unit.glob().glob() == asked.unit()).or_else(|| fitting().next())
    }
}

/// Who asks for what.
struct Told<'a> {
    asked: &'a UnitAndId,
    peer: &'a Peer,
}

impl Told<'_> {
    fn caller(&self, reference: &Reference) -> Caller {
        let vault = reference.vault.as_ref().map_or("*", |vault| vault.as_str());
        let pattern = format!("{vault}/{}", reference.name).parse();
        let rights = pattern.map_or_else(|_| Rights::none(), |pattern| Rights::granted(&[pattern], &[]));
        Caller::of_unit(self.asked.unit(), self.peer.clone(), rights)
    }

    async fn give(&self, audit: &Audit, reference: &Reference, resolved: Resolved) -> Result<Given, Refusal> {
        let (caller, ask, request) = (self.caller(reference), Ask::from(reference), request_id());
        let reading = &resolved.reading;
        let line = Line {
            vault: Some(&reading.vault),
            served: Some(reading.into()),
            ..self.line(&request, &caller, Some(&ask), "ok")
        };
        match audit.record(&line).await {
            Ok(_) => Ok(Given(resolved)),
            Err(_) => Err(Refusal::Unrecorded),
        }
    }

    async fn refuse(&self, audit: &Audit, reference: Option<&Reference>, refusal: Refusal) -> Refusal {
        let (ask, request) = (reference.map(Ask::from), request_id());
        let caller = match reference {
            Some(reference) => self.caller(reference),
            None => Caller::of_unit(self.asked.unit(), self.peer.clone(), Rights::none()),
        };
        let line = self.line(&request, &caller, ask.as_ref(), refusal.reason());
        // It gets nothing either way.
        let _ = audit.record(&line).await;
        refusal
    }

    fn line<'l>(
        &'l self,
        request: &'l str,
        caller: &'l Caller,
        ask: Option<&'l Ask>,
        outcome: &'static str,
    ) -> Line<'l> {
        Line {
            request,
            caller: Some(caller),
            peer: None,
            from: None,
            operation: Operation::Credential,
            vault: ask.and_then(|ask| ask.vault.as_ref()),
            name: ask.map(|ask| &ask.name),
            version: ask.and_then(|ask| ask.version.as_ref()),
            outcome,
            served: None,
            searched: None,
        }
    }
}

impl Refusal {
    /// The word that the API has for the same.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotConfigured => "forbidden",
            Self::Broker(error) => Problem::from(error.clone()).code().as_str(),
            Self::Unrecorded => "audit-failed",
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("rules", &self.0.load().rules.len()).finish_non_exhaustive()
    }
}
