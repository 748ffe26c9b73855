//! The embedded default's welcome: a user, a conference, and the links that lead into it.

use serde_json::json;

use crate::app::lifecycle::Failure;
use crate::app::print::print;
use crate::auth::{AuthService, LinkTerms};
use crate::eim::requests::{Requests, object};
use crate::event::ENDED;
use crate::ids::{ConfId, UserId, random_text};
use crate::refusal::{Kind, Refusal};
use crate::store::Store;

const ADMIN: &str = "admin";
/// Characters of the user's password.
const PASSWORD: usize = 12;

/// Handles to the parts that it works with.
pub struct Demo {
    /// The store.
    pub store: Store,
    /// Logins, links and guests.
    pub auth: AuthService,
    /// Requests to the EIM.
    pub calls: Requests,
}

/// Makes the user and the conference where they are missing, and prints what a newcomer needs on stdout.
pub async fn prepare(demo: &Demo) -> Result<(), Failure> {
    let admin = UserId::parse(ADMIN).expect("lower-case letters");
    let password = demo.store.get_or_create("demo.password", || random_text(PASSWORD)).await?;
    make_user(demo, &admin, &password).await.map_err(to_failure)?;
    let conf = conference(demo, &admin).await.map_err(to_failure)?;
    let chair = demo.auth.create_link(&conf, LinkTerms::chair(), &admin).await.map_err(to_failure)?;
    let guest = demo.auth.create_link(&conf, LinkTerms::guest(), &admin).await.map_err(to_failure)?;
    let text = format!(
        "confgate is running. A demo conference is open:\n\n  chair: {}\n  guest: {}\n\nTo make your own, sign in at \
         {}\n  user: {ADMIN}\n  password: {password}\n\nThe certificate is self-signed: a browser asks once whether to \
         trust it.",
        chair.url,
        guest.url,
        demo.auth.home()
    );
    print(text).map_err(|error| format!("the links could not be printed on stdout: {error}").into())
}

async fn make_user(demo: &Demo, admin: &UserId, password: &str) -> Result<(), Refusal> {
    let params = object(json!({"userId": admin, "name": "Admin", "password": password}));
    match demo.calls.as_gateway("org.user.createUser", &params).await {
        Ok(_) => Ok(()),
        Err(refusal) if refusal.kind == Kind::Conflict => Ok(()),
        Err(refusal) => Err(refusal),
    }
}

/// The demo conference of before, if it goes on; else a new one.
async fn conference(demo: &Demo, admin: &UserId) -> Result<ConfId, Refusal> {
    let known = demo.store.setting("demo.conference").await.map_err(Refusal::from)?;
    if let Some(conf) = known.as_deref().and_then(ConfId::parse)
        && demo.auth.conference(&conf).await.is_ok_and(|c| c.state != ENDED)
    {
        return Ok(conf);
    }
    let made = demo.calls.as_user("conference.create", admin, &object(json!({"name": "Demo"}))).await?;
    let conf: ConfId = serde_json::from_value(made["confId"].clone()).map_err(Refusal::fault)?;
    demo.store.set_setting("demo.conference", conf.as_str()).await.map_err(Refusal::from)?;
    Ok(conf)
}

fn to_failure(refusal: Refusal) -> Failure {
    format!("the demo conference could not be made: {} ({})", refusal.message(), refusal.key()).into()
}
