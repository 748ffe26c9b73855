//! JSON <-> IQ by the schema's `x-iq`: pure functions, one pair for every method that the EIM answers.
//!
//! ```text
//! params --to_iq--> <iq type to><wrapper xmlns><operation ...>...</operation></wrapper></iq>
//! result <--from_iq-- <iq type="result"><wrapper xmlns><operation ...>...</operation></wrapper></iq>
//! refusal <--from_iq-- <iq type="error">...<error type><condition/><text/><reason/></error></iq>
//! ```

mod read;
mod refused;
mod write;

pub use read::from_iq;
pub(super) use refused::StanzaError;
pub use write::to_iq;

#[cfg(test)]
mod tests;
