//! Users' own sessions at the server: proving a password, and in mode `c2s` a link for each user who is signed in.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{Mutex as AsyncMutex, Semaphore, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::clock::stall::patience;
use crate::eim::events::Announce;
use crate::eim::inbound::InboundSchema;
use crate::eim::link::{Context, EimError, Link, LinkSettings, Timing};
use crate::health::Health;
use crate::ids::{Secret, UserId};
use crate::sync;
use crate::xmpp::dial::{Connected, Dial, Endpoint, offer};
use crate::xmpp::negotiate::ConnectError;
use crate::xmpp::negotiate::client::{self, Security};

/// Passwords proved at once: each costs the server as much as a login.
const PROOFS_MAX: usize = 32;
/// Users signed in at once, as many as `limits.connections` lets in by default.
const SESSIONS_MAX: usize = 10_000;

/// The XMPP server as users sign in at it.
#[derive(Clone)]
pub struct C2sServer {
    /// The connection.
    pub endpoint: Endpoint,
    /// The XMPP domain.
    pub domain: String,
    /// The TLS of the connection.
    pub security: Security,
    proofs: Arc<Semaphore>,
    /// How the last attempt to get in went.
    health: Arc<watch::Sender<Health>>,
}

impl C2sServer {
    /// The server at that endpoint.
    pub fn new(endpoint: Endpoint, domain: String, security: Security) -> Self {
        let health = Arc::new(watch::channel(Health::up()).0);
        Self { endpoint, domain, security, proofs: Arc::new(Semaphore::new(PROOFS_MAX)), health }
    }

    /// The health of sign-ins.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// Whether the server takes the password (SASL without binding a resource: no session of the user is disturbed).
    pub async fn verify_password(&self, user: &UserId, password: &Secret, limit: Duration) -> Result<bool, EimError> {
        let _place = self.proofs.try_acquire().map_err(|_| EimError::TooManyUnderWay)?;
        let proof = async {
            let offer = offer(&self.endpoint, &self.domain, &self.security).await?;
            client::authenticate(offer, &self.domain, user, password).await
        };
        let late = |_| Err(ConnectError::Timeout(limit.as_millis() as u64));
        self.check(timeout(limit, proof).await.unwrap_or_else(late)).map(|opened| opened.is_some())
    }

    /// Sees whether users could sign in, as far as the server's offer.
    pub async fn probe(&self, limit: Duration) {
        let late = |_| Err(ConnectError::Timeout(limit.as_millis() as u64));
        let offered = patience(limit, offer(&self.endpoint, &self.domain, &self.security)).await;
        // Its result goes into the health.
        let _ = self.check(offered.unwrap_or_else(late));
    }

    /// Opens a session. `None`: the server refuses the password.
    async fn open_session(&self, dial: &Dial, limit: Duration) -> Result<Option<Connected>, EimError> {
        self.check(dial.connect(limit).await)
    }

    /// A password that is refused is an answer; all else is the server's trouble.
    fn check<T>(&self, outcome: Result<T, ConnectError>) -> Result<Option<T>, EimError> {
        let (outcome, health) = match outcome {
            Ok(opened) => (Ok(Some(opened)), Health::up()),
            Err(ConnectError::NotAuthorized(_)) => (Ok(None), Health::up()),
            Err(e @ ConnectError::Timeout(_)) => (Err(EimError::Timeout), Health::down(e.to_string())),
            Err(e) => (Err(EimError::Unreachable { sent: false }), Health::down(e.to_string())),
        };
        self.health.send_if_modified(|last| {
            let changed = last.up != health.up;
            if changed {
                match health.up {
                    true => tracing::info!("users can sign in at the EIM"),
                    false => tracing::warn!(why = health.why, "users can't sign in at the EIM"),
                }
                *last = health;
            }
            changed
        });
        outcome
    }
}

struct Session {
    link: Link,
    password: Secret,
    stop: CancellationToken,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A user's place: at most one session, and one at a time who opens it. (A second session with the same resource
/// would throw the first one out.)
#[derive(Default)]
struct UserSession {
    turn: Arc<AsyncMutex<()>>,
    session: Option<Session>,
}

/// All sessions of mode `c2s`. The map's lock is held for look-ups only, never while waiting.
pub struct Sessions {
    server: C2sServer,
    resource: String,
    inbound: Arc<InboundSchema>,
    timing: Timing,
    around: Context,
    stop: CancellationToken,
    places: Mutex<HashMap<UserId, UserSession>>,
    /// The sessions from before the start have been opened again, as far as credentials are kept.
    restored: AtomicBool,
}

impl Sessions {
    /// No sessions yet.
    pub fn new(
        server: C2sServer,
        resource: String,
        inbound: Arc<InboundSchema>,
        timing: Timing,
        around: Context,
        stop: CancellationToken,
    ) -> Self {
        let (places, restored) = (Mutex::default(), AtomicBool::new(false));
        Self { server, resource, inbound, timing, around, stop, places, restored }
    }

    /// The server that users sign in at.
    pub fn server(&self) -> &C2sServer {
        &self.server
    }

    /// The user's link, if the user is signed in.
    ///
    /// # Errors
    /// Unreachable while the sessions from before the start are being opened again, else [`EimError::NoSession`]: the
    /// user must sign in anew.
    pub fn link(&self, user: &UserId) -> Result<Link, EimError> {
        let open = self.lock().get(user).and_then(|place| place.session.as_ref().map(|s| s.link.clone()));
        let restored = self.restored.load(Ordering::Relaxed);
        open.ok_or(if restored { EimError::NoSession } else { EimError::Unreachable { sent: false } })
    }

    /// Whether the user must sign in anew: there is no session, or the server no longer takes its password.
    pub fn has_lost(&self, user: &UserId) -> bool {
        match self.link(user) {
            Ok(link) => link.health().borrow().refused,
            Err(error) => error == EimError::NoSession,
        }
    }

    /// Some session's link.
    pub fn any_link(&self) -> Option<Link> {
        self.lock().values().find_map(|place| place.session.as_ref().map(|s| s.link.clone()))
    }

    /// See [`Sessions::link`].
    pub fn restored(&self) {
        self.restored.store(true, Ordering::Relaxed);
    }

    /// Signs the user in, unless they are already with this password. `false`: the server refuses the password; a
    /// session that is open stays so. Credentials are kept in memory, for reconnecting, until [`Sessions::close`].
    pub async fn open(&self, user: &UserId, password: &Secret) -> Result<bool, EimError> {
        let turn = self.place(user)?;
        let _turn = turn.lock().await;
        let open = self.open_in_turn(user, password).await;
        if !matches!(open, Ok(true)) {
            self.tidy(user);
        }
        open
    }

    async fn open_in_turn(&self, user: &UserId, password: &Secret) -> Result<bool, EimError> {
        let now = self.lock().get(user).and_then(|p| p.session.as_ref().map(|s| s.state(password)));
        if let Some((is_up, same_password)) = now {
            if is_up && same_password {
                return Ok(true);
            }
            if !self.server.verify_password(user, password, self.timing.timeout).await? {
                return Ok(false);
            }
        }
        let dial = self.dial(user, password);
        let Some(connected) = self.server.open_session(&dial, self.timing.timeout).await? else { return Ok(false) };
        let settings = LinkSettings {
            name: "session",
            dial,
            eim_domain: self.server.domain.clone(),
            inbound: self.inbound.clone(),
            timing: self.timing,
            announce: Announce::Session(user.clone()),
            strays: None,
        };
        let stop = self.stop.child_token();
        let link = Link::start(settings, Some(connected), &self.around, stop.clone());
        let session = Session { link, password: password.clone(), stop };
        // A logout in the meantime has removed the entry: then the session ends here.
        if let Some(place) = self.lock().get_mut(user) {
            place.session = Some(session);
        }
        self.count();
        Ok(true)
    }

    /// Signs the user out and forgets the password.
    pub fn close(&self, user: &UserId) {
        self.lock().remove(user);
        self.count();
    }

    fn dial(&self, user: &UserId, password: &Secret) -> Dial {
        Dial::Session {
            endpoint: self.server.endpoint.clone(),
            domain: self.server.domain.clone(),
            security: self.server.security.clone(),
            user: user.clone(),
            password: password.clone(),
            resource: self.resource.clone(),
        }
    }

    fn place(&self, user: &UserId) -> Result<Arc<AsyncMutex<()>>, EimError> {
        let mut places = self.lock();
        if places.len() >= SESSIONS_MAX && !places.contains_key(user) {
            return Err(EimError::TooManyUnderWay);
        }
        Ok(Arc::clone(&places.entry(user.clone()).or_default().turn))
    }

    /// Takes an empty place away unless others wait for their turn in it (they hold the turn, and so do we and it).
    fn tidy(&self, user: &UserId) {
        let mut places = self.lock();
        if places.get(user).is_some_and(|p| p.session.is_none() && Arc::strong_count(&p.turn) <= 2) {
            places.remove(user);
        }
    }

    fn count(&self) {
        let open = self.lock().values().filter(|p| p.session.is_some()).count();
        metrics::gauge!("confgate_eim_sessions").set(open as f64);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UserId, UserSession>> {
        sync::lock(&self.places)
    }
}

impl Session {
    /// Whether its link is up, and whether it was opened with this password.
    fn state(&self, password: &Secret) -> (bool, bool) {
        let health: Health = self.link.health().borrow().clone();
        (health.up, self.password.matches(password.expose()))
    }
}
