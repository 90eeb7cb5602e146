//! What every backend must do, as async functions over `&dyn Vault`: the memory backend runs them directly, the Azure
//! backend through the emulator's wire. A backend is prepared by its [`Fixture`]; each function panics with what was
//! expected.

#![allow(clippy::missing_panics_doc, reason = "to panic on a broken promise is what these functions are for")]

use futures::TryStreamExt;

use super::{Vault, VaultErrorKind};
use crate::secret::{SecretName, Version};

/// What the vault under test must hold before [`check`] runs:
///
/// - [`Fixture::TWO_VERSIONS`][]: two enabled versions, the older `old-value`, the current `new-value`, content type
///   `text/plain`, tag `team=pay`;
/// - [`Fixture::DISABLED`][]: one version, disabled;
/// - [`Fixture::DELETED`][]: soft-deleted;
/// - [`Fixture::EMPTY`][]: an enabled secret whose value has no bytes, which Key Vault allows;
/// - at least 60 secrets in all, so that a wire has to page.
#[derive(Debug, Clone, Copy)]
pub struct Fixture;

#[allow(missing_docs, reason = "described on Fixture itself")]
impl Fixture {
    pub const TWO_VERSIONS: &'static str = "contract-two-versions";
    pub const DISABLED: &'static str = "contract-disabled";
    pub const DELETED: &'static str = "contract-deleted";
    pub const EMPTY: &'static str = "contract-empty";
    /// A name that must not exist.
    pub const ABSENT: &'static str = "contract-absent";
    pub const AT_LEAST: usize = 60;
}

/// Runs the whole contract against one prepared vault.
pub async fn check(vault: &dyn Vault) {
    a_get_gives_the_current_version(vault).await;
    a_version_is_honoured(vault).await;
    what_is_absent_is_not_found(vault).await;
    a_disabled_secret_is_told_apart(vault).await;
    an_empty_value_is_a_value(vault).await;
    a_listing_is_whole_and_holds_each_secret_once(vault).await;
    versions_are_all_told(vault).await;
}

async fn a_get_gives_the_current_version(vault: &dyn Vault) {
    let secret = vault.get(&name(Fixture::TWO_VERSIONS), None).await.expect("an enabled secret can be read");
    assert_eq!(secret.value.expose(), b"new-value");
    assert_eq!(secret.metadata.name, name(Fixture::TWO_VERSIONS));
    assert_eq!(secret.metadata.content_type.as_deref(), Some("text/plain"));
    assert_eq!(secret.metadata.tags.get("team"), Some("pay"));
    assert!(secret.metadata.version.is_some(), "a get always tells the version");
    assert!(secret.metadata.updated.is_some());
}

async fn a_version_is_honoured(vault: &dyn Vault) {
    let name = name(Fixture::TWO_VERSIONS);
    let current = vault.get(&name, None).await.expect("readable").metadata.version;
    for version in version_ids(vault, &name).await {
        let secret = vault.get(&name, Some(&version)).await.expect("each version can be read");
        let expected: &[u8] = if Some(&version) == current.as_ref() { b"new-value" } else { b"old-value" };
        assert_eq!(secret.value.expose(), expected);
        assert_eq!(secret.metadata.version.as_ref(), Some(&version));
    }
    let absent: Version = "00000000000000000000000000000000".parse().expect("a version");
    let error = vault.get(&name, Some(&absent)).await.expect_err("there is no such version");
    assert_eq!(error.kind(), &VaultErrorKind::NotFound);
}

async fn what_is_absent_is_not_found(vault: &dyn Vault) {
    for absent in [Fixture::ABSENT, Fixture::DELETED] {
        let error = vault.get(&name(absent), None).await.expect_err(absent);
        assert_eq!(error.kind(), &VaultErrorKind::NotFound, "{absent}");
        let error = vault.versions(&name(absent)).try_collect::<Vec<_>>().await.expect_err(absent);
        assert_eq!(error.kind(), &VaultErrorKind::NotFound, "{absent}");
    }
}

async fn a_disabled_secret_is_told_apart(vault: &dyn Vault) {
    let error = vault.get(&name(Fixture::DISABLED), None).await.expect_err("a disabled secret cannot be read");
    assert_eq!(error.kind(), &VaultErrorKind::Disabled);
}

async fn an_empty_value_is_a_value(vault: &dyn Vault) {
    let secret = vault.get(&name(Fixture::EMPTY), None).await.expect("an empty value is no failure");
    assert!(secret.value.is_empty());
}

async fn a_listing_is_whole_and_holds_each_secret_once(vault: &dyn Vault) {
    let listed: Vec<_> = vault.list().try_collect().await.expect("a listing");
    assert!(listed.len() >= Fixture::AT_LEAST, "{} listed, pages are missing", listed.len());
    let mut names: Vec<_> = listed.iter().map(|metadata| metadata.name.clone()).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), listed.len(), "each secret once");
    let disabled = listed.iter().find(|metadata| metadata.name == name(Fixture::DISABLED));
    assert!(!disabled.expect("disabled secrets are listed").enabled);
    assert!(!names.contains(&name(Fixture::DELETED)), "deleted secrets are not listed");
}

async fn versions_are_all_told(vault: &dyn Vault) {
    let ids = version_ids(vault, &name(Fixture::TWO_VERSIONS)).await;
    assert_eq!(ids.len(), 2);
    assert_ne!(ids[0], ids[1]);
}

async fn version_ids(vault: &dyn Vault, name: &SecretName) -> Vec<Version> {
    let all: Vec<_> = vault.versions(name).try_collect().await.expect("the versions of a secret");
    all.into_iter().map(|metadata| metadata.version.expect("a version's metadata names it")).collect()
}

fn name(text: &str) -> SecretName {
    text.parse().expect("a secret name")
}
