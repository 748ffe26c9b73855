//! Limits of use: rates, shares, and the bytes held, for each address block and for all together.

pub mod account;
pub mod address;
pub mod budget;
pub mod limiter;
pub mod shares;
pub mod throttle;
