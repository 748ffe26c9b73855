//! The JSON-RPC door against those who mean it no good: every body, token and stanza gets a clear answer, nothing
//! panics, nothing is told that should not be.

mod envelope;
mod logins;
mod secrets;
mod stanzas;
mod tokens;
mod wire;
