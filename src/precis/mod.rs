//! Text from strangers, prepared for comparison and for display (PRECIS, RFC 8264).

pub mod display_name;
pub mod password;
