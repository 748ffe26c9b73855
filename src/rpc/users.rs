//! `org.user.createUser`: an account at the EIM.

use crate::config::EimMode;
use crate::eim::ProvisionError;
use crate::ids::{Secret, UserId, random_digits, random_text};
use crate::refusal::{Reason, Refusal};

use super::{Door, Outcome, Params, text, typed};

/// Digits of an id made for a user who comes without one.
const MADE_ID_DIGITS: usize = 9;
/// Characters of a password made for a user who comes without one.
const MADE_PASSWORD: usize = 20;

impl Door {
    pub(super) async fn create_user(&self, params: &Params) -> Outcome {
        let mut params = params.clone();
        if text(&params, "userId").is_none() {
            params.insert("userId".into(), format!("u{}", random_digits(MADE_ID_DIGITS)).into());
        }
        let user: UserId = typed(&params, "userId")?;
        let made = self.provision(&user, &params).await?;
        let created = self.calls.as_gateway("org.user.createUser", &params).await;
        if created.is_err() && made {
            // A login without a profile would be half a user: taken for the next try, of no use to anybody.
            if let Err(error) = self.eim.delete_account(&user).await {
                Refusal::fault(error);
            }
        }
        created
    }

    /// Makes the login at an external XMPP server where the gateway may; whether it did.
    async fn provision(&self, user: &UserId, params: &Params) -> Result<bool, Refusal> {
        let eim = &self.config.eim;
        if eim.mode == EimMode::Builtin || eim.admin_domain.is_none() {
            return Ok(false);
        }
        let password = text(params, "password").map_or_else(|| Secret::new(random_text(MADE_PASSWORD)), Secret::new);
        match self.eim.create_account(user, &password, text(params, "name").unwrap_or_default()).await {
            Ok(()) => Ok(true),
            Err(ProvisionError::Taken) => Err(Refusal::of(Reason::UserTaken)),
            Err(other) => Err(other.into()),
        }
    }
}
