//! Changes of a running estate: what an operator or another program would do to the real one.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::estate::{Firewall, Grant, Right, Scope};
use super::world::{VaultState, World};
use crate::secret::SecretName;
use crate::vaults::memory::Attributes;

/// One change.
///
/// ```json
/// {"set": {"vault": "pay-prod", "secret": "db-password", "value": "new", "expires_in_s": 3600}}
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Change {
    /// Writes a new version.
    Set {
        /// The vault.
        vault: String,
        /// The secret.
        secret: String,
        /// The value.
        value: String,
        /// Seconds until it expires; negative: it has.
        #[serde(default)]
        expires_in_s: Option<i64>,
        /// Free text.
        #[serde(default)]
        content_type: Option<String>,
        /// Tags.
        #[serde(default)]
        tags: BTreeMap<String, String>,
    },
    /// Writes a new version with a value that is made up and the attributes of the last.
    Rotate {
        /// The vault.
        vault: String,
        /// The secret.
        secret: String,
    },
    /// Lets the current version be read.
    Enable {
        /// The vault.
        vault: String,
        /// The secret.
        secret: String,
    },
    /// Lets the current version not be read.
    Disable {
        /// The vault.
        vault: String,
        /// The secret.
        secret: String,
    },
    /// Soft-deletes.
    Delete {
        /// The vault.
        vault: String,
        /// The secret.
        secret: String,
    },
    /// Brings back what was soft-deleted.
    Recover {
        /// The vault.
        vault: String,
        /// The secret.
        secret: String,
    },
    /// Gives an app rights on a vault.
    Grant {
        /// The app's name.
        app: String,
        /// The vault; a glob will do.
        vault: String,
        /// The rights.
        rights: Vec<Right>,
    },
    /// Takes rights on a vault from an app.
    Revoke {
        /// The app's name.
        app: String,
        /// The vault.
        vault: String,
        /// The rights; without them, all.
        #[serde(default)]
        rights: Option<Vec<Right>>,
    },
    /// Moves a vault's firewall.
    Firewall {
        /// The vault.
        vault: String,
        /// How.
        to: Firewall,
    },
    /// Makes a vault answer 429 to everything, or no more.
    Throttle {
        /// The vault.
        vault: String,
        /// Whether.
        on: bool,
    },
    /// Makes Resource Manager and Resource Graph show a vault no more, or again. The vault itself answers on.
    Hide {
        /// The vault.
        vault: String,
        /// Whether.
        on: bool,
    },
    /// Makes the tokens of an app, or of all, useless before their time.
    RevokeTokens {
        /// The app's name.
        #[serde(default)]
        app: Option<String>,
    },
    /// Changes the delay before every answer.
    Latency {
        /// Milliseconds.
        ms: u64,
    },
}

/// Why a change was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// The estate has no such vault.
    #[error("the estate has no vault {0:?}")]
    Vault(String),
    /// The vault has no such secret (for `recover`: no deleted one).
    #[error("vault {vault:?} has no secret {secret:?}")]
    Secret {
        /// The vault.
        vault: String,
        /// The secret.
        secret: String,
    },
    /// The estate has no such app.
    #[error("the estate has no app {0:?}")]
    App(String),
    /// Not a secret's name.
    #[error(transparent)]
    Name(#[from] crate::secret::BadName),
}

impl VaultState {
    /// Soft-deletes and notes when.
    pub(super) fn delete(&self, name: &SecretName) -> bool {
        let deleted = self.store.delete(name);
        if deleted {
            self.notes().deleted.insert(name.clone(), OffsetDateTime::now_utc());
        }
        deleted
    }

    pub(super) fn recover(&self, name: &SecretName) -> bool {
        self.notes().deleted.remove(name);
        self.store.recover(name)
    }

    pub(super) fn purge(&self, name: &SecretName) -> bool {
        self.notes().deleted.remove(name);
        self.store.purge(name)
    }
}

/// Makes a change; it holds from the next request on.
pub(super) fn make(world: &World, change: Change) -> Result<(), ChangeError> {
    match change {
        Change::Set { vault, secret, value, expires_in_s, content_type, tags } => {
            let (state, name) = (vault_of(world, &vault)?, secret.parse::<SecretName>()?);
            let expires = expires_in_s.map(|seconds| whole_now() + time::Duration::seconds(seconds));
            state.notes().spelling.entry(name.clone()).or_insert(secret);
            state.store.set(
                &name,
                value,
                Attributes { expires, content_type, tags: tags.into_iter().collect(), ..Attributes::default() },
            );
            Ok(())
        }
        Change::Rotate { vault, secret } => on_secret(world, vault, secret, |state, name| {
            let Some(last) = state.store.peek(name, None) else { return false };
            let last = &last.metadata;
            let attributes = Attributes {
                enabled: last.enabled,
                not_before: last.not_before,
                expires: last.expires,
                content_type: last.content_type.clone(),
                tags: last.tags.clone(),
                managed: last.managed,
                ..Attributes::default()
            };
            let seed = super::random_uuid();
            state.store.set(name, super::estate::generated(&seed), attributes);
            true
        }),
        Change::Enable { vault, secret } => on_secret(world, vault, secret, |state, name| {
            state.store.update(name, None, |metadata| metadata.enabled = true).is_some()
        }),
        Change::Disable { vault, secret } => on_secret(world, vault, secret, |state, name| {
            state.store.update(name, None, |metadata| metadata.enabled = false).is_some()
        }),
        Change::Delete { vault, secret } => on_secret(world, vault, secret, VaultState::delete),
        Change::Recover { vault, secret } => on_secret(world, vault, secret, VaultState::recover),
        Change::Grant { app, vault, rights } => {
            app_of(world, &app)?;
            let scope = Scope::Use { vaults: vec![vault], secrets: None, rights };
            world.rights.add(Grant { app, scope });
            Ok(())
        }
        Change::Revoke { app, vault, rights } => {
            app_of(world, &app)?;
            vault_of(world, &vault)?;
            world.rights.revoke(&app, &vault, rights.as_deref());
            Ok(())
        }
        Change::Firewall { vault, to } => {
            vault_of(world, &vault)?.set_firewall(to);
            Ok(())
        }
        Change::Throttle { vault, on } => {
            vault_of(world, &vault)?.throttled.store(on, Ordering::Relaxed);
            Ok(())
        }
        Change::Hide { vault, on } => {
            vault_of(world, &vault)?.hidden.store(on, Ordering::Relaxed);
            Ok(())
        }
        Change::RevokeTokens { app } => {
            if let Some(app) = &app {
                app_of(world, app)?;
            }
            world.tokens.revoke(app.as_deref());
            Ok(())
        }
        Change::Latency { ms } => {
            world.set_latency(std::time::Duration::from_millis(ms));
            Ok(())
        }
    }
}

fn on_secret(
    world: &World,
    vault: String,
    secret: String,
    change: impl FnOnce(&VaultState, &SecretName) -> bool,
) -> Result<(), ChangeError> {
    let state = vault_of(world, &vault)?;
    if change(state, &secret.parse()?) { Ok(()) } else { Err(ChangeError::Secret { vault, secret }) }
}

fn vault_of<'w>(world: &'w World, name: &str) -> Result<&'w VaultState, ChangeError> {
    world.vaults.get(name).ok_or_else(|| ChangeError::Vault(name.to_owned()))
}

fn app_of(world: &World, name: &str) -> Result<(), ChangeError> {
    world.app(name).map(|_| ()).ok_or_else(|| ChangeError::App(name.to_owned()))
}

fn whole_now() -> OffsetDateTime {
    let now = OffsetDateTime::now_utc();
    now.replace_nanosecond(0).unwrap_or(now)
}
