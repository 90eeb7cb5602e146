//! One secret: get, set, update, delete.

use std::collections::BTreeMap;

use hyper::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use time::OffsetDateTime;

use super::bundle::Id;
use super::{Call, bad_parameter, not_found};
use crate::emulator::answer::Answer;
use crate::emulator::certificate;
use crate::secret::{Metadata, SecretName, Version};
use crate::vaults::memory::Attributes;

/// The most bytes of a value (<https://learn.microsoft.com/azure/key-vault/secrets/about-secrets>).
const MOST_BYTES: usize = 25 * 1024;

/// The recovery level of a vault without soft delete, as there were until 2020.
const FOR_GOOD: &str = "Purgeable";

pub(super) fn get(call: &Call<'_>, name: &SecretName, version: Option<&Version>) -> Result<Answer, Box<Answer>> {
    let spelling = asked_spelling(call, name);
    let secret = call.vault.store.peek(name, version).ok_or_else(|| not_found(&spelling, version))?;
    if !secret.metadata.enabled {
        return Err(Box::new(Answer::inner_error(
            StatusCode::FORBIDDEN,
            "Forbidden",
            "Operation get is not allowed on a disabled secret.",
            "SecretDisabled",
        )));
    }
    let value = String::from_utf8_lossy(&secret.value.expose()).into_owned();
    let wants_pem = call.request.query("outcontenttype") == Some(certificate::PEM_TYPE);
    if wants_pem && let Some(pem) = certificate::pem_of_pfx(&value) {
        let mut metadata = secret.metadata.clone();
        metadata.content_type = Some(certificate::PEM_TYPE.to_owned());
        return Ok(Answer::ok(Value::Object(call.bundle(&metadata, Id::Versioned, Some(&pem)))));
    }
    Ok(Answer::ok(Value::Object(call.bundle(&secret.metadata, Id::Versioned, Some(&value)))))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    value: Option<String>,
    content_type: Option<String>,
    tags: Option<BTreeMap<String, String>>,
    #[serde(default)]
    attributes: AskedAttributes,
}

#[derive(Deserialize, Default)]
struct AskedAttributes {
    enabled: Option<bool>,
    nbf: Option<i64>,
    exp: Option<i64>,
}

pub(super) fn set(call: &Call<'_>, name: &SecretName) -> Result<Answer, Box<Answer>> {
    let asked = read(call)?;
    let Some(value) = asked.value else { return Err(bad_body("Property value has invalid value")) };
    if value.len() > MOST_BYTES {
        return Err(bad_body("The secret value is longer than 25k bytes."));
    }
    let spelling = asked_spelling(call, name);
    if call.vault.store.deleted().iter().any(|deleted| deleted.name == *name) {
        return Err(Box::new(Answer::inner_error(
            StatusCode::CONFLICT,
            "Conflict",
            format!(
                "Secret {spelling} is currently in a deleted but recoverable state, and its name cannot be reused; in \
                 this state, the secret can only be recovered or purged."
            ),
            "ObjectIsDeletedButRecoverable",
        )));
    }
    let attributes = Attributes {
        enabled: asked.attributes.enabled.unwrap_or(true),
        not_before: time_of(asked.attributes.nbf)?,
        expires: time_of(asked.attributes.exp)?,
        content_type: asked.content_type,
        tags: asked.tags.unwrap_or_default().into_iter().collect(),
        ..Attributes::default()
    };
    call.vault.notes().spelling.entry(name.clone()).or_insert(spelling);
    let metadata = call.vault.store.set(name, value.as_bytes(), attributes);
    Ok(Answer::ok(Value::Object(call.bundle(&metadata, Id::Versioned, Some(&value)))))
}

pub(super) fn update(call: &Call<'_>, name: &SecretName, version: Option<&Version>) -> Result<Answer, Box<Answer>> {
    let asked = read(call)?;
    let (not_before, expires) = (time_of(asked.attributes.nbf)?, time_of(asked.attributes.exp)?);
    let change = |metadata: &mut Metadata| {
        metadata.enabled = asked.attributes.enabled.unwrap_or(metadata.enabled);
        metadata.not_before = not_before.or(metadata.not_before);
        metadata.expires = expires.or(metadata.expires);
        if asked.content_type.is_some() {
            metadata.content_type = asked.content_type;
        }
        if let Some(tags) = asked.tags {
            metadata.tags = tags.into_iter().collect();
        }
    };
    let metadata = call.vault.store.update(name, version, change);
    let metadata = metadata.ok_or_else(|| not_found(&asked_spelling(call, name), version))?;
    Ok(Answer::ok(Value::Object(call.bundle(&metadata, Id::Versioned, None))))
}

pub(super) fn delete(call: &Call<'_>, name: &SecretName) -> Result<Answer, Box<Answer>> {
    let secret = call.vault.store.peek(name, None).filter(|_| call.vault.delete(name));
    let secret = secret.ok_or_else(|| not_found(&asked_spelling(call, name), None))?;
    if call.vault.facts.recovery_level == FOR_GOOD {
        call.vault.purge(name);
        return Ok(Answer::ok(Value::Object(call.bundle(&secret.metadata, Id::Versioned, None))));
    }
    Ok(Answer::ok(Value::Object(call.deleted_bundle(&secret.metadata, Id::Versioned))))
}

fn read(call: &Call<'_>) -> Result<Asked, Box<Answer>> {
    serde_json::from_slice(&call.request.body).map_err(|_| bad_body("The request body is not the JSON of a secret."))
}

fn bad_body(message: &str) -> Box<Answer> {
    Box::new(Answer::error(StatusCode::BAD_REQUEST, "BadParameter", message))
}

fn time_of(seconds: Option<i64>) -> Result<Option<OffsetDateTime>, Box<Answer>> {
    match seconds {
        None => Ok(None),
        Some(seconds) => {
            OffsetDateTime::from_unix_timestamp(seconds).map(Some).map_err(|_| bad_parameter("time in attributes"))
        }
    }
}

/// A name as the request spells it.
fn asked_spelling(call: &Call<'_>, name: &SecretName) -> String {
    call.request.path.get(1).cloned().unwrap_or_else(|| name.to_string())
}
