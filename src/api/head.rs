//! A request's headers, of which it is seen once which are there.
//!
//! Of those that mean something here, most requests bring two or three. To look for each of the others by itself takes
//! longer than to go through those that came.

use axum::http::HeaderMap;
use axum::http::header::{self, HeaderName, HeaderValue};

/// A header that is looked for in every request, or in every one for a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Accept,
    Authorization,
    CacheControl,
    ContentLength,
    Host,
    IfNoneMatch,
    RequestId,
    TransferEncoding,
    Upgrade,
}

/// Which of them a request has: a bit for each.
#[derive(Debug, Clone, Copy)]
pub(super) struct Met(u16);

/// The headers of one request. A cheap handle.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head<'h> {
    headers: &'h HeaderMap,
    met: Met,
}

/// It stands there twice, or more often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MoreThanOnce;

impl Met {
    /// The headers that it was worked out from.
    pub(super) fn within(self, headers: &HeaderMap) -> Head<'_> {
        Head { headers, met: self }
    }
}

impl<'h> Head<'h> {
    pub(super) fn of(headers: &'h HeaderMap) -> Self {
        let met = headers.keys().filter_map(Field::of).fold(0, |met, field| met | field.bit());
        Self { headers, met: Met(met) }
    }

    /// Which there are: where the headers themselves cannot be held on to.
    pub(super) fn met(self) -> Met {
        self.met
    }

    /// All its values, in the order in which they came.
    pub(super) fn all(self, field: Field) -> impl Iterator<Item = &'h HeaderValue> {
        let is_there = self.met.0 & field.bit() != 0;
        is_there.then(|| self.headers.get_all(field.name()).iter()).into_iter().flatten()
    }

    /// Its value, if it has one.
    pub(super) fn only(self, field: Field) -> Result<Option<&'h HeaderValue>, MoreThanOnce> {
        let mut all = self.all(field);
        match (all.next(), all.next()) {
            (only, None) => Ok(only),
            (_, Some(_)) => Err(MoreThanOnce),
        }
    }
}

impl Field {
    fn of(name: &HeaderName) -> Option<Self> {
        Some(match name.as_str() {
            "accept" => Self::Accept,
            "authorization" => Self::Authorization,
            "cache-control" => Self::CacheControl,
            "content-length" => Self::ContentLength,
            "host" => Self::Host,
            "if-none-match" => Self::IfNoneMatch,
            "x-request-id" => Self::RequestId,
            "transfer-encoding" => Self::TransferEncoding,
            "upgrade" => Self::Upgrade,
            _ => return None,
        })
    }

    fn name(self) -> HeaderName {
        match self {
            Self::Accept => header::ACCEPT,
            Self::Authorization => header::AUTHORIZATION,
            Self::CacheControl => header::CACHE_CONTROL,
            Self::ContentLength => header::CONTENT_LENGTH,
            Self::Host => header::HOST,
            Self::IfNoneMatch => header::IF_NONE_MATCH,
            Self::RequestId => HeaderName::from_static("x-request-id"),
            Self::TransferEncoding => header::TRANSFER_ENCODING,
            Self::Upgrade => header::UPGRADE,
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Field; 9] = [
        Field::Accept,
        Field::Authorization,
        Field::CacheControl,
        Field::ContentLength,
        Field::Host,
        Field::IfNoneMatch,
        Field::RequestId,
        Field::TransferEncoding,
        Field::Upgrade,
    ];

    #[test]
    fn each_is_found_among_the_others_and_only_where_it_is() {
        let value = HeaderValue::from_static("x");
        for field in ALL {
            let mut headers: HeaderMap = ALL.iter().map(|field| (field.name(), value.clone())).collect();
            assert_eq!(Head::of(&headers).only(field), Ok(Some(&value)), "{field:?}");
            headers.append(field.name(), HeaderValue::from_static("y"));
            let head = Head::of(&headers);
            assert_eq!((head.only(field), head.all(field).count()), (Err(MoreThanOnce), 2), "{field:?}");
            headers.remove(field.name());
            let head = Head::of(&headers);
            assert_eq!((head.only(field), head.all(field).count()), (Ok(None), 0), "{field:?}");
        }
    }
}
