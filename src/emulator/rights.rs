//! Who may do what: the estate's grants and what was granted or revoked since.

use std::sync::{PoisonError, RwLock};

use globset::Glob;

use super::estate::{Grant, Right, Scope, Subscription};

#[derive(Debug)]
pub(super) struct Rights(RwLock<Vec<Grant>>);

impl Rights {
    pub(super) fn new(grants: Vec<Grant>) -> Self {
        Self(RwLock::new(grants))
    }

    pub(super) fn add(&self, grant: Grant) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).push(grant);
    }

    /// Takes rights away from an app on vaults, or all of them. What a grant covers beside these stays.
    pub(super) fn revoke(&self, app: &str, vault: &str, rights: Option<&[Right]>) {
        let mut grants = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut kept = Vec::with_capacity(grants.len());
        for grant in grants.drain(..) {
            let Scope::Use { vaults, secrets, rights: had } = &grant.scope else {
                kept.push(grant);
                continue;
            };
            if grant.app != app || !vaults.iter().any(|glob| matches(glob, vault)) {
                kept.push(grant);
                continue;
            }
            // A glob that covers this vault and others is kept for the others by naming the exception.
            let left: Vec<_> =
                had.iter().copied().filter(|right| rights.is_some_and(|gone| !gone.contains(right))).collect();
            let narrowed = |vaults: Vec<String>, rights| Grant {
                app: grant.app.clone(),
                scope: Scope::Use { vaults, secrets: secrets.clone(), rights },
            };
            if !left.is_empty() {
                kept.push(narrowed(vec![vault.to_owned()], left));
            }
            let mut others: Vec<_> = vaults.iter().filter(|glob| *glob != vault).cloned().collect();
            if !others.is_empty() {
                others.retain(|glob| !glob.starts_with('!'));
                others.extend(vaults.iter().filter(|glob| glob.starts_with('!')).cloned());
                others.push(format!("!{vault}"));
                kept.push(narrowed(others, had.clone()));
            }
        }
        *grants = kept;
    }

    /// Whether an app may do that to a secret of a vault; `None` for the vault's lists.
    pub(super) fn allow(&self, app: &str, vault: &str, secret: Option<&str>, right: Right) -> bool {
        let grants = self.0.read().unwrap_or_else(PoisonError::into_inner);
        grants.iter().filter(|grant| grant.app == app).any(|grant| match &grant.scope {
            Scope::Read { .. } => false,
            Scope::Use { vaults, secrets, rights } => {
                let excepted = vaults.iter().filter_map(|glob| glob.strip_prefix('!')).any(|name| name == vault);
                rights.contains(&right)
                    && !excepted
                    && vaults.iter().any(|glob| matches(glob, vault))
                    && match (secrets, secret) {
                        (None, _) => true,
                        (Some(globs), Some(secret)) => globs.iter().any(|glob| matches(glob, secret)),
                        (Some(_), None) => false,
                    }
            }
        })
    }

    /// Whether an app sees a subscription in Resource Manager.
    pub(super) fn sees(&self, app: &str, subscription: &Subscription) -> bool {
        let grants = self.0.read().unwrap_or_else(PoisonError::into_inner);
        grants.iter().filter(|grant| grant.app == app).any(|grant| match &grant.scope {
            Scope::Use { .. } => false,
            Scope::Read { subscriptions } => subscriptions
                .iter()
                .any(|wanted| wanted == "*" || *wanted == subscription.id || *wanted == subscription.name),
        })
    }
}

/// An estate's globs were checked when it was parsed; one that does not parse matches nothing.
fn matches(glob: &str, name: &str) -> bool {
    glob == "*" || glob == name || Glob::new(glob).is_ok_and(|glob| glob.compile_matcher().is_match(name))
}
