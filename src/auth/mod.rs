//! Admission: logins of every kind, links, the guess limiter, and the ends of a guest's stay.

mod caller;
pub mod code;
mod guests;
mod keys;
mod limits;
mod link;
mod lookup;
mod session;
mod verified;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, RwLock};

use serde_json::json;
use tokio::sync::{Semaphore, broadcast};

use crate::clock::{Now, date_ms};
use crate::config::Config;
use crate::eim::requests::{Requests, object};
use crate::eim::{Eim, Guard};
use crate::event::{Conference, Member};
use crate::ids::{ConfId, UserId};
use crate::node_protocol::EndedBy;
use crate::rate_limit::address::AddressBlock;
use crate::rate_limit::shares::Shares;
use crate::refusal::{Kind, Refusal};
use crate::store::Store;
use crate::store::encryption_at_rest::Sealer;
use crate::sync;
use crate::token::{Access, Keys};
use verified::Verified;

pub use caller::Caller;
pub use keys::Secrets;
pub use limits::Limits;
pub use link::{Link, LinkTerms, ListedLink};
pub use lookup::{LookUp, Page};
pub use session::{Grant, Session};

/// How many ended families a slow listener may miss before it has to look at all of them.
const ENDED_QUEUE: usize = 1024;
/// Passwords proved at once; who comes later waits.
const PROVING: usize = 16;
/// Logins with a password under way, in all and of one address.
const PROOFS: (usize, usize) = (256, 32);
/// Of the requests that may be under way to the EIM, one part in so many is for look-ups of links, in all and of one
/// address: the gateway's own requests share that bound.
const LOOK_UPS_ONE_IN: (usize, usize) = (2, 8);
/// When to try again where all places are taken.
const BUSY_RETRY_MS: u64 = 1000;

/// Where a login comes from.
#[derive(Debug, Clone)]
pub struct ClientOrigin {
    /// The client's address.
    pub address: IpAddr,
    /// The browser's name.
    pub device: Option<String>,
}

/// The service: a cloneable handle. The store owns what lasts; here are only the families that have ended lately (so
/// that no request asks the store), the tokens verified lately and the limiters.
#[derive(Clone)]
pub struct AuthService(Arc<Inner>);

/// A login that is over.
#[derive(Debug, Clone)]
pub struct EndedLogin {
    /// Its refresh family.
    pub family: String,
    /// The reason of the end.
    pub by: EndedBy,
}

struct Inner {
    config: Arc<Config>,
    /// `https://host:port{base}`: what links begin with.
    web_address: String,
    keys: Keys,
    sealer: Sealer,
    store: Store,
    calls: Requests,
    eim: Eim,
    limits: Limits,
    proving: Semaphore,
    proofs: Shares<AddressBlock>,
    look_ups: Shares<AddressBlock>,
    verified: Verified,
    /// Ended families and when they were; kept as long as an access token of theirs could live, by either clock: one that
    /// has expired by the wall clock serves again where that is set back.
    ended: RwLock<HashMap<String, Now>>,
    ended_logins: broadcast::Sender<EndedLogin>,
    /// Held for writing by who looks what others have ended, so that nobody hears less than what it ended by.
    ending: tokio::sync::RwLock<()>,
}

impl AuthService {
    /// Puts the parts of logins together.
    pub fn new(
        config: Arc<Config>,
        web_address: String,
        keys: Keys,
        sealer: Sealer,
        store: Store,
        calls: Requests,
        eim: Eim,
    ) -> Self {
        let limits = Limits::new(&config.limits);
        let under_way = config.eim.under_way;
        let look_ups = Shares::new(under_way / LOOK_UPS_ONE_IN.0, under_way / LOOK_UPS_ONE_IN.1);
        let (ended_logins, _) = broadcast::channel(ENDED_QUEUE);
        Self(Arc::new(Inner {
            config,
            web_address,
            keys,
            sealer,
            store,
            calls,
            eim,
            limits,
            proving: Semaphore::new(PROVING),
            proofs: Shares::new(PROOFS.0, PROOFS.1),
            look_ups,
            verified: Verified::default(),
            ended: RwLock::default(),
            ended_logins,
            ending: tokio::sync::RwLock::default(),
        }))
    }

    /// Where a user signs in.
    pub fn home(&self) -> String {
        format!("{}/", self.0.web_address)
    }

    /// The caller behind an access token.
    pub fn authenticate(&self, token: &str) -> Result<Arc<Caller>, Refusal> {
        let verify = || {
            let claims: Access = self.0.keys.access.verify(token).map_err(|_| Refusal::unauthenticated())?;
            Ok::<_, Refusal>(Caller::new(claims))
        };
        self.still_valid(self.0.verified.caller(token, verify)?)
    }

    /// The caller again, unless their token has ended since.
    pub fn still_valid(&self, caller: Arc<Caller>) -> Result<Arc<Caller>, Refusal> {
        if caller.deadline <= date_ms() {
            return Err(Refusal::token_expired());
        }
        if self.read_ended().contains_key(&caller.family) {
            return Err(Refusal::unauthenticated());
        }
        Ok(caller)
    }

    /// A name for a browser that has none, and the cookie that carries it.
    pub fn new_device(&self) -> (String, String) {
        self.0.keys.new_device()
    }

    /// The browser's name, if the cookie is ours.
    pub fn device(&self, cookie: &str) -> Option<String> {
        self.0.keys.device(cookie)
    }

    /// Families as they end: a socket of one of them is closed.
    pub fn ended_families(&self) -> broadcast::Receiver<EndedLogin> {
        self.0.ended_logins.subscribe()
    }

    /// All that have ended as far as a token of theirs could still live.
    pub fn all_ended(&self) -> Vec<String> {
        self.read_ended().keys().cloned().collect()
    }

    /// The conference as the EIM says.
    pub async fn conference(&self, conf: &ConfId) -> Result<Conference, Refusal> {
        self.conference_within(None, conf).await
    }

    /// The same on behalf of somebody, within their share of the requests under way.
    pub async fn conference_within(&self, guard: Option<Guard>, conf: &ConfId) -> Result<Conference, Refusal> {
        let params = object(json!({"confId": conf}));
        let found = self.0.calls.as_gateway_within(guard, "eim.conference.get", &params).await?;
        serde_json::from_value(found).map_err(Refusal::fault)
    }

    /// The conference's members as the EIM tells them to the user.
    pub async fn members(&self, conf: &ConfId, user: &UserId) -> Result<Vec<Member>, Refusal> {
        let found = self.0.calls.as_user("conference.members", user, &object(json!({"confId": conf}))).await?;
        serde_json::from_value(found["members"].clone()).map_err(Refusal::fault)
    }

    /// The user's own member, if they are in the conference.
    pub async fn member(&self, conf: &ConfId, user: &UserId) -> Result<Option<Member>, Refusal> {
        match self.members(conf, user).await {
            Ok(members) => Ok(members.into_iter().find(|m| m.user_id == *user)),
            Err(refusal) if matches!(refusal.kind, Kind::Forbidden | Kind::NotOpen) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    fn read_ended(&self) -> std::sync::RwLockReadGuard<'_, HashMap<String, Now>> {
        sync::read(&self.0.ended)
    }

    /// Makes it known on this node that the families have ended.
    fn announce(&self, families: Vec<String>, by: EndedBy) {
        let now = Now::read();
        let longest = self.0.config.auth.access_ttl;
        let mut ended = sync::write(&self.0.ended);
        ended.retain(|_, at| at.is_within(longest, now));
        for family in families {
            if ended.insert(family.clone(), now).is_none() {
                // Nobody listens while no socket is open.
                let _ = self.0.ended_logins.send(EndedLogin { family, by });
            }
        }
        metrics::gauge!("confgate_ended_families_waiting").set(self.0.ended_logins.len() as f64);
    }

    /// Learns which families other nodes have ended, or this one before it was started anew.
    pub async fn poll_ended(&self, since: u64) -> Result<(), Refusal> {
        let _nobody_is_ending_one = self.0.ending.write().await;
        let ended = self.0.store.ends_since(since).await.map_err(Refusal::from)?;
        for reason in [EndedBy::Itself, EndedBy::Kick, EndedBy::Conference] {
            let families = ended.iter().filter(|(_, by)| *by == reason).map(|(family, _)| family.clone());
            self.announce(families.collect(), reason);
        }
        Ok(())
    }
}
