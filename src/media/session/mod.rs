//! WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep), pure: which offers are taken, what a session is told later, and
//! what becomes of its ICE. HTTP is done in `signaling`.

mod fragment;
mod offer;
mod state;

pub use fragment::{Credentials, FRAGMENT_MAX, Fragment};
pub use offer::{Offer, Side, Unfit, is_whole};
pub use state::{Established, Refused, Step};
