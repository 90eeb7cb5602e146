//! What is sealed, as CBOR (RFC 8949): maps with numbered fields.
//!
//! A field's number is never used for anything else again. What is absent has its default and what is unknown is
//! skipped, so that an older sidekey reads what a newer one wrote and the other way round; an entry that lacks what
//! makes it one is left out. Values are written from where they lie and read straight into their type: there is no copy
//! of one in between.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use minicbor::decode::Error as DecodeError;
use minicbor::encode::{Error as EncodeError, Write};
use minicbor::{Decode, Decoder, Encode, Encoder};
use time::OffsetDateTime;

use super::{Contents, KnownValue, KnownVault};
use crate::secret::{Metadata, Secret, SecretValue};
use crate::vaults::VaultInfo;

const INFALLIBLE: &str = "neither memory nor a count refuses bytes";

/// Bytes that [`encode`] writes.
pub(super) fn length(contents: &Contents) -> usize {
    let mut count = Count(0);
    minicbor::encode(Outgoing::of(contents), &mut count).expect(INFALLIBLE);
    count.0
}

/// Appends the contents.
pub(super) fn encode(contents: &Contents, bytes: &mut Vec<u8>) {
    minicbor::encode(Outgoing::of(contents), bytes).expect(INFALLIBLE);
}

/// The contents again; `None` if that is not what the bytes are.
pub(super) fn decode(bytes: &[u8]) -> Option<Contents> {
    let document: Incoming = minicbor::decode(bytes).ok()?;
    Some(Contents { taken: document.taken?.wall()?, vaults: document.vaults.rows, values: document.values.rows })
}

/// A writer that only counts.
struct Count(usize);

impl Write for Count {
    type Error = Infallible;

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
        self.0 += bytes.len();
        Ok(())
    }
}

#[derive(Encode)]
#[cbor(map)]
struct Outgoing<'a> {
    #[n(0)]
    taken: Wall,
    #[n(1)]
    vaults: Each<'a, KnownVault>,
    #[n(2)]
    values: Each<'a, KnownValue>,
}

impl<'a> Outgoing<'a> {
    fn of(contents: &'a Contents) -> Self {
        Self { taken: contents.taken.into(), vaults: Each(&contents.vaults), values: Each(&contents.values) }
    }
}

#[derive(Decode)]
#[cbor(map)]
struct Incoming {
    #[n(0)]
    taken: Option<Wall>,
    #[cbor(n(1), default)]
    vaults: Rows<KnownVault>,
    #[cbor(n(2), default)]
    values: Rows<KnownValue>,
}

#[derive(Encode)]
#[cbor(map)]
struct OutgoingVault<'a> {
    #[n(0)]
    row: VaultRow<'a>,
    #[n(1)]
    secrets: Each<'a, Metadata>,
}

#[derive(Decode)]
#[cbor(map)]
struct IncomingVault<'b> {
    #[b(0)]
    row: Option<VaultRow<'b>>,
    #[cbor(n(1), default)]
    secrets: Rows<Metadata>,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct VaultRow<'b> {
    #[b(0)]
    source: Option<&'b str>,
    #[b(1)]
    name: Option<&'b str>,
    #[b(2)]
    uri: Option<&'b str>,
    #[b(3)]
    subscription: Option<&'b str>,
    #[b(4)]
    resource_group: Option<&'b str>,
    #[b(5)]
    location: Option<&'b str>,
    #[n(6)]
    configured: Option<bool>,
    #[n(7)]
    listed: Option<Wall>,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct ValueRow<'b> {
    #[b(0)]
    vault: Option<&'b str>,
    #[b(1)]
    name: Option<&'b str>,
    #[b(2)]
    version: Option<&'b str>,
    #[b(3)]
    metadata: Option<MetadataRow<'b>>,
    #[cbor(b(4), with = "minicbor::bytes")]
    value: Option<&'b [u8]>,
    #[n(5)]
    confirmed: Option<Wall>,
    #[cbor(n(6), default)]
    settled: bool,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct MetadataRow<'b> {
    #[b(0)]
    name: Option<&'b str>,
    #[b(1)]
    version: Option<&'b str>,
    #[n(2)]
    enabled: Option<bool>,
    #[n(3)]
    not_before: Option<Wall>,
    #[n(4)]
    expires: Option<Wall>,
    #[n(5)]
    created: Option<Wall>,
    #[n(6)]
    updated: Option<Wall>,
    #[b(7)]
    content_type: Option<&'b str>,
    #[b(8)]
    tags: Option<BTreeMap<&'b str, &'b str>>,
    #[n(9)]
    managed: Option<bool>,
}

/// Seconds since 1970 and nanoseconds into the second.
#[derive(Clone, Copy, Encode, Decode)]
#[cbor(array)]
struct Wall {
    #[n(0)]
    seconds: i64,
    #[n(1)]
    nanos: u32,
}

impl From<OffsetDateTime> for Wall {
    fn from(time: OffsetDateTime) -> Self {
        Self { seconds: time.unix_timestamp(), nanos: time.nanosecond() }
    }
}

impl Wall {
    fn wall(self) -> Option<OffsetDateTime> {
        OffsetDateTime::from_unix_timestamp(self.seconds).ok()?.replace_nanosecond(self.nanos).ok()
    }
}

/// Something that is written as a row, made for it when its turn comes.
trait Row: Sized {
    fn write<W: Write>(&self, encoder: &mut Encoder<W>) -> Result<(), EncodeError<W::Error>>;

    /// `None`: it lacks what makes it one.
    fn read(decoder: &mut Decoder<'_>) -> Result<Option<Self>, DecodeError>;
}

struct Each<'a, T>(&'a [T]);

impl<C, T: Row> Encode<C> for Each<'_, T> {
    fn encode<W: Write>(&self, encoder: &mut Encoder<W>, _: &mut C) -> Result<(), EncodeError<W::Error>> {
        encoder.array(self.0.len() as u64)?;
        self.0.iter().try_for_each(|item| item.write(encoder))
    }
}

struct Rows<T> {
    rows: Vec<T>,
    /// How many were left out.
    unread: usize,
}

impl<T> Default for Rows<T> {
    fn default() -> Self {
        Self { rows: Vec::new(), unread: 0 }
    }
}

impl<'b, C, T: Row> Decode<'b, C> for Rows<T> {
    fn decode(decoder: &mut Decoder<'b>, _: &mut C) -> Result<Self, DecodeError> {
        let mut found = Self::default();
        let count = decoder.array()?.ok_or_else(|| DecodeError::message("an array without a length"))?;
        for _ in 0..count {
            match T::read(decoder)? {
                Some(row) => found.rows.push(row),
                None => found.unread += 1,
            }
        }
        Ok(found)
    }
}

impl Row for KnownVault {
    fn write<W: Write>(&self, encoder: &mut Encoder<W>) -> Result<(), EncodeError<W::Error>> {
        let info = &self.info;
        let row = VaultRow {
            source: Some(info.source.as_str()),
            name: Some(info.name.as_str()),
            uri: info.uri.as_deref(),
            subscription: info.subscription.as_deref(),
            resource_group: info.resource_group.as_deref(),
            location: info.location.as_deref(),
            configured: Some(info.configured),
            listed: self.listed.map(Wall::from),
        };
        encoder.encode(OutgoingVault { row, secrets: Each(&self.secrets) })?.ok()
    }

    fn read(decoder: &mut Decoder<'_>) -> Result<Option<Self>, DecodeError> {
        let IncomingVault { row, secrets } = decoder.decode()?;
        Ok(row.and_then(|row| {
            let info = VaultInfo {
                source: row.source?.parse().ok()?,
                name: row.name?.parse().ok()?,
                uri: row.uri.map(str::to_owned),
                subscription: row.subscription.map(str::to_owned),
                resource_group: row.resource_group.map(str::to_owned),
                location: row.location.map(str::to_owned),
                configured: row.configured.unwrap_or_default(),
            };
            // A listing of which a row is missing is not whole.
            let listed = row.listed.and_then(Wall::wall).filter(|_| secrets.unread == 0);
            Some(Self { info, listed, secrets: secrets.rows })
        }))
    }
}

impl Row for KnownValue {
    fn write<W: Write>(&self, encoder: &mut Encoder<W>) -> Result<(), EncodeError<W::Error>> {
        let value = self.secret.value.expose();
        let row = ValueRow {
            vault: Some(self.vault.as_str()),
            name: Some(self.name.as_str()),
            version: self.version.as_ref().map(AsRef::as_ref),
            metadata: Some(MetadataRow::of(&self.secret.metadata)),
            value: Some(&value),
            confirmed: Some(self.confirmed.into()),
            settled: self.settled,
        };
        encoder.encode(row)?.ok()
    }

    fn read(decoder: &mut Decoder<'_>) -> Result<Option<Self>, DecodeError> {
        Ok(ValueRow::known(decoder.decode()?))
    }
}

impl ValueRow<'_> {
    fn known(self) -> Option<KnownValue> {
        let version = match self.version {
            // One that cannot be read must not become the current one.
            Some(version) => Some(version.parse().ok()?),
            None => None,
        };
        Some(KnownValue {
            vault: self.vault?.parse().ok()?,
            name: self.name?.parse().ok()?,
            version,
            confirmed: self.confirmed?.wall()?,
            settled: self.settled,
            secret: Arc::new(Secret { metadata: self.metadata?.known()?, value: SecretValue::new(self.value?) }),
        })
    }
}

impl Row for Metadata {
    fn write<W: Write>(&self, encoder: &mut Encoder<W>) -> Result<(), EncodeError<W::Error>> {
        encoder.encode(MetadataRow::of(self))?.ok()
    }

    fn read(decoder: &mut Decoder<'_>) -> Result<Option<Self>, DecodeError> {
        Ok(MetadataRow::known(decoder.decode()?))
    }
}

impl<'a> MetadataRow<'a> {
    fn of(metadata: &'a Metadata) -> Self {
        let tags = metadata.tags.iter().collect();
        Self {
            name: Some(metadata.name.as_str()),
            version: metadata.version.as_ref().map(AsRef::as_ref),
            enabled: Some(metadata.enabled),
            not_before: metadata.not_before.map(Wall::from),
            expires: metadata.expires.map(Wall::from),
            created: metadata.created.map(Wall::from),
            updated: metadata.updated.map(Wall::from),
            content_type: metadata.content_type.as_deref(),
            tags: Some(tags).filter(|tags: &BTreeMap<_, _>| !tags.is_empty()),
            managed: Some(metadata.managed).filter(|managed| *managed),
        }
    }

    fn known(self) -> Option<Metadata> {
        let tags = self.tags.unwrap_or_default().into_iter();
        Some(Metadata {
            version: self.version.and_then(|version| version.parse().ok()),
            enabled: self.enabled.unwrap_or(true),
            not_before: self.not_before.and_then(Wall::wall),
            expires: self.expires.and_then(Wall::wall),
            created: self.created.and_then(Wall::wall),
            updated: self.updated.and_then(Wall::wall),
            content_type: self.content_type.map(str::to_owned),
            tags: tags.collect(),
            managed: self.managed.unwrap_or_default(),
            ..Metadata::new(self.name?.parse().ok()?)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: i64 = 1_795_262_400;

    /// What `written` encodes into.
    fn cbor(written: impl FnOnce(&mut Encoder<&mut Vec<u8>>) -> Result<(), EncodeError<Infallible>>) -> Vec<u8> {
        let mut bytes = Vec::new();
        written(&mut Encoder::new(&mut bytes)).unwrap();
        bytes
    }

    fn wall(encoder: &mut Encoder<&mut Vec<u8>>) -> Result<(), EncodeError<Infallible>> {
        encoder.array(2)?.i64(SECOND)?.u32(0)?.ok()
    }

    #[test]
    fn what_a_newer_sidekey_adds_is_skipped() {
        let bytes = cbor(|e| {
            e.map(4)?.u8(9)?.map(1)?.str("new")?.array(1)?.f64(1.0)?;
            // A time with a third part.
            e.u8(0)?.array(3)?.i64(SECOND)?.u32(5)?.str("zone")?;
            e.u8(1)?.array(1)?.map(3)?;
            e.u8(0)?.map(3)?.u8(0)?.str("s")?.u8(1)?.str("v")?.u8(40)?.bool(true)?;
            e.u8(1)?.array(1)?.map(2)?.u8(0)?.str("n")?.u8(41)?.tag(minicbor::data::Tag::new(7))?.null()?;
            e.u8(2)?.begin_array()?.u8(1)?.end()?;
            e.u8(2)?.array(1)?.map(6)?;
            e.u8(0)?.str("s:v")?.u8(1)?.str("n")?.u8(3)?.map(1)?.u8(0)?.str("n")?;
            e.u8(4)?.bytes(b"value")?.u8(42)?.bytes(b"new")?.u8(5)?;
            wall(e)
        });
        let contents = decode(&bytes).unwrap();
        assert_eq!((contents.taken.unix_timestamp(), contents.taken.nanosecond()), (SECOND, 5));
        assert_eq!(contents.vaults[0].secrets, [Metadata::new("n".parse().unwrap())]);
        assert_eq!(contents.values[0].secret.value.expose(), b"value");
    }

    #[test]
    fn what_an_older_sidekey_left_out_has_its_default() {
        let contents = decode(&cbor(|e| {
            e.map(1)?.u8(0)?;
            wall(e)
        }));
        let contents = contents.unwrap();
        assert!(contents.vaults.is_empty() && contents.values.is_empty());
        assert!(decode(&cbor(|e| e.map(0)?.ok())).is_none(), "when it was taken is not optional");
    }

    #[test]
    fn an_entry_that_cannot_be_read_is_left_out_and_never_becomes_another() {
        let value = |e: &mut Encoder<&mut Vec<u8>>, name: &str, version: Option<&str>| {
            e.map(if version.is_some() { 6 } else { 5 })?;
            e.u8(0)?.str("s:v")?.u8(1)?.str(name)?.u8(3)?.map(1)?.u8(0)?.str("n")?.u8(4)?.bytes(b"x")?;
            if let Some(version) = version {
                e.u8(2)?.str(version)?;
            }
            e.u8(5)?;
            wall(e)
        };
        let bytes = cbor(|e| {
            e.map(3)?.u8(0)?;
            wall(e)?;
            e.u8(1)?.array(2)?;
            e.map(1)?.u8(0)?.map(1)?.u8(0)?.str("s")?;
            e.map(2)?.u8(0)?.map(3)?.u8(0)?.str("s")?.u8(1)?.str("v")?.u8(7)?;
            wall(e)?;
            e.u8(1)?.array(1)?.map(1)?.u8(0)?.str("a/name/of/tomorrow")?;
            e.u8(2)?.array(4)?;
            value(e, "n/n", None)?;
            value(e, "n", Some("a version of tomorrow"))?;
            e.map(0)?;
            value(e, "n", None)
        });
        let contents = decode(&bytes).unwrap();
        assert_eq!((contents.vaults.len(), contents.values.len()), (1, 1));
        assert_eq!(contents.vaults[0].listed, None, "a listing without one of its rows is not whole");
        assert_eq!(contents.values[0].name.as_str(), "n");
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }
    }
}
