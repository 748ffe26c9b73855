//! A text frame as it is sent: made once, shared by all sockets that it goes to.

use std::ops::Deref;
use std::str::Utf8Error;

use bytes::Bytes;
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame(Utf8Bytes);

impl Frame {
    pub(super) fn text(&self) -> Utf8Bytes {
        self.0.clone()
    }
}

impl Deref for Frame {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl From<String> for Frame {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<&str> for Frame {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl TryFrom<Bytes> for Frame {
    type Error = Utf8Error;

    fn try_from(text: Bytes) -> Result<Self, Utf8Error> {
        Utf8Bytes::try_from(text).map(Self)
    }
}
