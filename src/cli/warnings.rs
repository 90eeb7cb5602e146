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
    let n = unanswered.len();
    tell(&match n {
        0 => "warning: this is not everything: the vaults are still being looked for".to_owned(),
        1 => "warning: this may not be everything: 1 vault could not be asked".to_owned(),
        _ => format!("warning: this may not be everything: {n} vaults could not be asked"),
    });
    for one_of_them in unanswered {
        tell(&format!("  {}", one(one_of_them)));
    }
}

/// `legal: firewall: its firewall does not let this address in (12 secrets known from 3 min ago)`.
pub(super) fn one(unanswered: &Unanswered) -> String {
    let who = match &unanswered.vault {
        Some(vault) => vault.to_string(),
        None => format!("discovery of source {}", unanswered.source),
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
    matches!(reason, "sign-in-failed" | "denied" | "denied-by-rbac" | "denied-by-access-policy")
}
