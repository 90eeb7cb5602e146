use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::Access;
use super::caller::Caller;
use super::client::Evidence;
use super::rules::Rules;

/// Why nobody is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stranger {
    /// Nothing that was shown makes anybody known, and no token was sent.
    Unknown,
    /// The token is nobody's, or not one for who sends it.
    WrongToken,
}

/// One connection, and who may be at its other end. What is worked out for one request is kept for the next, until other
/// rules are in force.
pub struct Visitor {
    access: Access,
    evidence: Evidence,
    seen: Mutex<Option<Seen>>,
}

struct Seen {
    /// What it was worked out from.
    rules: Arc<Rules>,
    alone: Option<Caller>,
    /// With that token.
    with: Option<(usize, Caller)>,
}

impl Visitor {
    pub(super) fn new(access: Access, evidence: Evidence) -> Self {
        Self { access, evidence, seen: Mutex::default() }
    }

    /// Who asks, with that token or without one.
    ///
    /// # Errors
    /// Why nobody is known.
    pub fn caller(&self, token: Option<&[u8]>) -> Result<Caller, Stranger> {
        self.caller_with(|| Ok(token))
    }

    /// The same with the token that `token` finds, which looks for one only where it counts.
    ///
    /// # Errors
    /// What is wrong with it, or why nobody is known.
    pub fn caller_with<'t, E: From<Stranger>>(
        &self,
        token: impl FnOnce() -> Result<Option<&'t [u8]>, E>,
    ) -> Result<Caller, E> {
        let rules = self.access.rules().load();
        let token = if rules.heeds_tokens(&self.evidence) { token()? } else { None };
        Ok(self.known(&rules, token)?)
    }

    fn known(&self, rules: &Arc<Rules>, token: Option<&[u8]>) -> Result<Caller, Stranger> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = match &mut *seen {
            Some(seen) if Arc::ptr_eq(&seen.rules, rules) => seen,
            stale => {
                stale.insert(Seen { rules: Arc::clone(rules), alone: rules.caller(&self.evidence, None), with: None })
            }
        };
        let Some(token) = token else { return seen.alone.clone().ok_or(Stranger::Unknown) };
        let token = rules.whose(token).ok_or(Stranger::WrongToken)?;
        match &seen.with {
            Some((known, caller)) if *known == token => Ok(caller.clone()),
            _ => {
                let caller = rules.caller(&self.evidence, Some(token)).ok_or(Stranger::WrongToken)?;
                seen.with = Some((token, caller.clone()));
                Ok(caller)
            }
        }
    }

    /// Whether nobody at the other end can ever be known, by whatever they send. Never of our own user, who probes.
    #[must_use]
    pub fn is_hopeless(&self) -> bool {
        self.access.rules().load().is_hopeless(&self.evidence)
    }
}

impl fmt::Debug for Visitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Visitor").field("evidence", &self.evidence).finish_non_exhaustive()
    }
}
