//! What follows an answer's head: a value in a buffer of its own, or what a route has made.
//!
//! Must never happen: a copy of a value that is not wiped once it is written.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Error;
use axum::body::{Body, Bytes};
use bytes::Buf;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use crate::secret::Exposed;

/// The body of an answer.
pub(super) enum Outgoing {
    /// A value, which goes to the connection as it is: nothing is made around it. `None`: it is gone, or empty.
    Value(Option<Exposed>),
    /// Whatever else.
    Routed(Body),
}

/// A part of it on its way to the connection.
pub(super) enum Piece {
    Value { value: Exposed, written: usize },
    Bytes(Bytes),
}

impl From<Exposed> for Outgoing {
    fn from(value: Exposed) -> Self {
        Self::Value((!value.is_empty()).then_some(value))
    }
}

impl From<Outgoing> for Body {
    fn from(outgoing: Outgoing) -> Self {
        match outgoing {
            Outgoing::Value(value) => value.map_or_else(Self::empty, |value| Bytes::from_owner(value).into()),
            Outgoing::Routed(body) => body,
        }
    }
}

impl HttpBody for Outgoing {
    type Data = Piece;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match &mut *self {
            Self::Value(value) => {
                let value = value.take();
                Poll::Ready(value.map(|value| Ok(Frame::data(Piece::Value { value, written: 0 }))))
            }
            Self::Routed(body) => {
                let frame = Pin::new(body).poll_frame(cx);
                frame.map_ok(|frame| frame.map_data(Piece::Bytes))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Value(value) => value.is_none(),
            Self::Routed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Value(value) => SizeHint::with_exact(value.as_ref().map_or(0, |value| value.len() as u64)),
            Self::Routed(body) => body.size_hint(),
        }
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.chunk().len()
    }

    fn chunk(&self) -> &[u8] {
        match self {
            Self::Value { value, written } => &value[*written..],
            Self::Bytes(bytes) => bytes,
        }
    }

    fn advance(&mut self, more: usize) {
        match self {
            Self::Value { value, written } => {
                *written += more;
                assert!(*written <= value.len(), "no more is written than there was");
            }
            Self::Bytes(bytes) => bytes.advance(more),
        }
    }
}
