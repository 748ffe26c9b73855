//! The embedded default's welcome: a user, a conference, and the links that lead into it.

use serde_json::{Map, Value, json};

use crate::app::lifecycle::Failure;
use crate::app::print::print;
use crate::auth::LinkTerms;
use crate::event::ENDED;
use crate::ids::{ConfId, UserId, random_text};
use crate::refusal::{Kind, Refusal};
use crate::rpc::Door;

const ADMIN: &str = "admin";
/// Characters of the user's password.
const PASSWORD: usize = 12;

/// Makes the user and the conference where they are missing, and prints what a newcomer needs on stdout.
pub async fn prepare(door: &Door) -> Result<(), Failure> {
    let admin = UserId::parse(ADMIN).expect("lower-case letters");
    let password = door.store.get_or_create("demo.password", || random_text(PASSWORD)).await?;
    make_user(door, &admin, &password).await.map_err(told)?;
    let conf = conference(door, &admin).await.map_err(told)?;
    let chair = door.entry.create_link(&conf, LinkTerms::chair(), &admin).await.map_err(told)?;
    let guest = door.entry.create_link(&conf, LinkTerms::guest(), &admin).await.map_err(told)?;
    let text = format!(
        "confgate is running. A demo conference is open:\n\n  chair: {}\n  guest: {}\n\nTo make your own, sign in at \
         {}\n  user: {ADMIN}\n  password: {password}\n\nThe certificate is self-signed: a browser asks once whether to \
         trust it.",
        chair.url,
        guest.url,
        door.entry.home()
    );
    print(text).map_err(|error| format!("the links could not be printed on stdout: {error}").into())
}

async fn make_user(door: &Door, admin: &UserId, password: &str) -> Result<(), Refusal> {
    let params = object(json!({"userId": admin, "name": "Admin", "password": password}));
    match door.calls.as_gateway("org.user.createUser", &params).await {
        Ok(_) => Ok(()),
        Err(refusal) if refusal.kind == Kind::Conflict => Ok(()),
        Err(refusal) => Err(refusal),
    }
}

/// The demo conference of before, if it goes on; else a new one.
async fn conference(door: &Door, admin: &UserId) -> Result<ConfId, Refusal> {
    let known = door.store.setting("demo.conference").await.map_err(Refusal::from)?;
    if let Some(conf) = known.as_deref().and_then(ConfId::parse)
        && door.entry.conference(&conf).await.is_ok_and(|c| c.state != ENDED)
    {
        return Ok(conf);
    }
    let made = door.calls.as_user("conference.create", admin, &object(json!({"name": "Demo"}))).await?;
    let conf: ConfId = serde_json::from_value(made["confId"].clone()).map_err(Refusal::fault)?;
    door.store.set_setting("demo.conference", conf.as_str()).await.map_err(Refusal::from)?;
    Ok(conf)
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn told(refusal: Refusal) -> Failure {
    format!("the demo conference could not be made: {} ({})", refusal.message(), refusal.key()).into()
}
