//! The work that is done away from the EIM, because it takes tens of milliseconds: passwords are hashed and verified.

use super::account::Account;
use super::password::{self, SALT_LEN, Stored};
use crate::ids::{Secret, UserId};

#[derive(Debug)]
pub(super) enum Work {
    Hash { account: Box<Account>, password: Secret, salt: [u8; SALT_LEN] },
    Verify { user: Option<(UserId, String)>, stored: Option<Stored>, password: Secret },
}

#[derive(Debug)]
pub(super) enum Outcome {
    Hashed(Box<Account>),
    /// The user, if the password was theirs.
    Verified(Option<(UserId, String)>),
}

impl Work {
    pub fn run(self) -> Outcome {
        match self {
            Self::Hash { mut account, password, salt } => {
                account.password = Some(password::hash(&password, &salt));
                Outcome::Hashed(account)
            }
            Self::Verify { user, stored, password } => {
                let right = password::verify(stored.as_ref(), &password);
                Outcome::Verified(user.filter(|_| right))
            }
        }
    }
}
