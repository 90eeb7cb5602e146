//! What an answer does without, in words. A partial answer must never look whole, whatever it is printed as.

use std::time::Duration;

use super::phrase::coarse;
use super::terminal::tell;
use crate::api::model::Unanswered;

/// Tells on stderr what could not be asked; nothing if the answer is whole.
pub(super) fn tell_unanswered(complete: bool, unanswered: &[Unanswered]) {
    if complete && unanswered.is_empty() {
        return;
    }
    let sources = unanswered.iter().filter(|one| one.vault.is_none()).count();
    let counts = [(unanswered.len() - sources, "vault"), (sources, "source")];
    let counts = counts.into_iter().filter(|(n, _)| *n > 0);
    let counts: Vec<_> = counts.map(|(n, what)| format!("{n} {what}{}", if n == 1 { "" } else { "s" })).collect();
    tell(&if counts.is_empty() {
        "warning: this is not everything: the vaults are still being looked for".to_owned()
    } else {
        format!("warning: this may not be everything: {} could not be asked", counts.join(" and "))
    });
    for one_of_them in unanswered {
        tell(&format!("  {}", one(one_of_them)));
    }
}

/// `legal: firewall: its firewall does not let this address in (12 secrets known from 3 min ago)`.
pub(super) fn one(unanswered: &Unanswered) -> String {
    let who = match &unanswered.vault {
        Some(vault) => vault.to_string(),
        None => format!("source {}", unanswered.source),
    };
    let known = match unanswered.known_age {
        Some(age) => {
            let age = coarse(Duration::from_secs(age));
            format!(" ({} secrets known from {age} ago)", unanswered.known_secrets)
        }
        None => String::new(),
    };
    format!("{who}: {}: {}{known}", unanswered.reason, unanswered.detail)
}

/// Whether that reason is a 'no' that lasts until somebody grants something.
pub(super) fn is_refusal(reason: &str) -> bool {
    matches!(
        reason,
        "sign-in-failed" | "denied" | "denied-by-rbac" | "denied-by-access-policy" | "foreign-tenant" | "foreign-host"
    )
}
