//! Soft-deleted secrets: seen, recovered, purged.

use hyper::StatusCode;
use serde_json::Value;

use super::Call;
use super::bundle::Id;
use crate::emulator::answer::Answer;
use crate::secret::{Metadata, SecretName};

pub(super) fn get(call: &Call<'_>, name: &SecretName) -> Result<Answer, Box<Answer>> {
    let metadata = find(call, name)?;
    Ok(Answer::ok(Value::Object(call.deleted_bundle(&metadata, Id::Versioned))))
}

pub(super) fn recover(call: &Call<'_>, name: &SecretName) -> Result<Answer, Box<Answer>> {
    let metadata = find(call, name)?;
    call.vault.recover(name);
    Ok(Answer::ok(Value::Object(call.bundle(&metadata, Id::Versioned, None))))
}

pub(super) fn purge(call: &Call<'_>, name: &SecretName) -> Result<Answer, Box<Answer>> {
    find(call, name)?;
    call.vault.purge(name);
    Ok(Answer::empty(StatusCode::NO_CONTENT))
}

fn find(call: &Call<'_>, name: &SecretName) -> Result<Metadata, Box<Answer>> {
    let found = call.vault.store.deleted().into_iter().find(|metadata| metadata.name == *name);
    found.ok_or_else(|| {
        let message = format!("Deleted Secret not found: {}", call.vault.spelling(name));
        Box::new(Answer::error(StatusCode::NOT_FOUND, "SecretNotFound", message))
    })
}
