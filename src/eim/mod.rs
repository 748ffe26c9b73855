//! The wire to the EIM: XML, the XMPP stream, the link with its requests under way, conversion by schema.

pub mod builtin;
pub mod xml;
