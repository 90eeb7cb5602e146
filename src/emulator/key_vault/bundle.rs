//! A secret as the data plane writes it: keys in the order of the real one, absent rather than null.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use super::Call;
use crate::secret::Metadata;

/// What identifies the item: a listing of secrets names no version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Id {
    Current,
    Versioned,
}

impl Call<'_> {
    /// Attributes, id, content type, tags; the value if there is one to tell.
    pub(super) fn bundle(&self, metadata: &Metadata, id: Id, value: Option<&str>) -> Map<String, Value> {
        let mut bundle = Map::new();
        if let Some(value) = value {
            bundle.insert("value".to_owned(), value.into());
        }
        if let Some(content_type) = &metadata.content_type {
            bundle.insert("contentType".to_owned(), content_type.as_str().into());
        }
        bundle.insert("id".to_owned(), self.id(metadata, id).into());
        if metadata.managed {
            bundle.insert("managed".to_owned(), true.into());
            bundle.insert("kid".to_owned(), self.id(metadata, Id::Versioned).replace("/secrets/", "/keys/").into());
        }
        bundle.insert("attributes".to_owned(), self.attributes(metadata));
        if !metadata.tags.is_empty() {
            bundle.insert("tags".to_owned(), json!(BTreeMap::from(&metadata.tags)));
        }
        bundle
    }

    /// The same of a deleted secret.
    pub(super) fn deleted_bundle(&self, metadata: &Metadata, id: Id) -> Map<String, Value> {
        let deleted = self.vault.notes().deleted.get(&metadata.name).copied().unwrap_or_else(OffsetDateTime::now_utc);
        let days = self.vault.facts.recoverable_days.unwrap_or(90);
        let purged = deleted + time::Duration::days(days.into());
        let spelling = self.vault.spelling(&metadata.name);
        let mut bundle = Map::new();
        let recovery = format!("{}/deletedsecrets/{spelling}", self.own_uri());
        bundle.insert("recoveryId".to_owned(), recovery.into());
        bundle.insert("deletedDate".to_owned(), deleted.unix_timestamp().into());
        bundle.insert("scheduledPurgeDate".to_owned(), purged.unix_timestamp().into());
        bundle.append(&mut self.bundle(metadata, id, None));
        bundle
    }

    fn attributes(&self, metadata: &Metadata) -> Value {
        let mut attributes = Map::new();
        attributes.insert("enabled".to_owned(), metadata.enabled.into());
        let times = [
            ("nbf", metadata.not_before),
            ("exp", metadata.expires),
            ("created", metadata.created),
            ("updated", metadata.updated),
        ];
        for (key, time) in times {
            if let Some(time) = time {
                attributes.insert(key.to_owned(), time.unix_timestamp().into());
            }
        }
        attributes.insert("recoveryLevel".to_owned(), self.vault.facts.recovery_level.as_str().into());
        if let Some(days) = self.vault.facts.recoverable_days {
            attributes.insert("recoverableDays".to_owned(), days.into());
        }
        attributes.into()
    }

    fn id(&self, metadata: &Metadata, id: Id) -> String {
        let base = format!("{}/secrets/{}", self.own_uri(), self.vault.spelling(&metadata.name));
        match (id, &metadata.version) {
            (Id::Versioned, Some(version)) => format!("{base}/{version}"),
            (Id::Versioned, None) | (Id::Current, _) => base,
        }
    }

    /// The vault's address: its own in its cloud, or the local one that was asked.
    fn own_uri(&self) -> String {
        if self.request.host.ends_with(crate::emulator::world::LOCAL_DOMAIN) {
            self.request.origin()
        } else {
            self.vault.uri()
        }
    }
}
