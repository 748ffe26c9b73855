//! XMPP (RFC 6120): addresses, XML, streams, how a stream is negotiated and opened. Knows no dialect of the EIM.

pub mod dial;
pub mod jid;
pub mod negotiate;
pub mod stream;
pub mod xml;
