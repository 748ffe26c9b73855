//! The bridge against a MUC service that a test holds in its hands.

mod histories;
mod hostile;
mod service;
mod world;
