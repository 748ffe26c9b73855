//! Reports of each user's socket to the EIM, and its answers: wanted, asked, told.

use super::super::Ending;
use super::{Core, Effect, Effects, EimRequest, Failure, Newer, RETRY_MS, Start, Subscribed};
use crate::event::MemberState;
use crate::http::ws::send_queue::Close;
use crate::ids::UserId;

/// How long the node to which a user has gone may take to report their arrival: it waits for the client's first frame,
/// and lists the user's conferences.
const YIELD_MS: u64 = 2000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    Online,
    Away,
    Gone,
    /// Nothing any more: they were removed, or may not listen. Kept until what is being asked is answered.
    Nothing,
}

/// The presence that the EIM is to know of a user, and the one it has been told. One request at a time for each user,
/// so that none can overtake another.
pub(super) struct Presence {
    pub(super) generation: u64,
    pub(super) want: Want,
    pub(super) reported: Option<(u64, Want)>,
    pub(super) asking: Option<(u64, Want)>,
    /// Whether what is being asked is a subscription with the events since a position.
    pub(super) asks_for_events: bool,
    /// The request under way may have been undone at the EIM meanwhile: it is sent again.
    pub(super) undone: bool,
    /// They were let in while it was being asked whether they may listen: a refusal is asked again.
    pub(super) let_in: bool,
    /// Whether the EIM was ever subscribed for this user.
    pub(super) subscribed: bool,
    /// When the grace ends, while away.
    pub(super) grace_until: u64,
    /// Since when the EIM takes the user for away, whose socket is open here and reported.
    pub(super) away_since: Option<u64>,
    pub(super) retry_at: u64,
}

impl Presence {
    /// Whether time may have changed what is to be reported.
    fn is_due(&self, now: u64) -> bool {
        let is_told = self.asking.is_some() || self.reported == Some((self.generation, self.want));
        !is_told || self.away_since.is_some() || self.want == Want::Away && now >= self.grace_until
    }
}

impl Core {
    /// A socket closed. Of an older generation than the one that listens now: nothing.
    pub fn detach(&mut self, user: &UserId, generation: u64, how: Ending, now: u64) -> Effects {
        let mut out = Vec::new();
        if self.subscribers.get(user).is_none_or(|l| l.generation != generation) {
            return out;
        }
        self.subscribers.remove(user);
        if self.subscribers.is_empty() {
            self.idle_since = Some(now);
        }
        match how {
            _ if self.ended => {}
            Ending::Closed => self.want(user, generation, Want::Away, now, &mut out),
            Ending::TakenOver => self.yield_presence(user, now),
        }
        out
    }

    /// Another node has the user's socket. That the one here is closed is reported once the other has had the time to
    /// report its own: the EIM ignores it then, and where that socket has ended before it could, grace begins.
    fn yield_presence(&mut self, user: &UserId, now: u64) {
        if let Some(p) = self.presence.get_mut(user) {
            p.want = Want::Away;
            p.grace_until = now + self.limits.grace_ms;
            p.retry_at = now + YIELD_MS;
        }
    }

    /// The user joined by a request. Without a socket they are away at once.
    pub fn joined(&mut self, user: &UserId, generation: u64, now: u64) -> Effects {
        let mut out = Vec::new();
        if !self.subscribers.contains_key(user) {
            self.want(user, generation, Want::Away, now, &mut out);
            out.extend(self.look_now(now));
        }
        out
    }

    /// The EIM took the user for one who was here before this node started, and for away now. Who has come back
    /// meanwhile is told again: the EIM has just dropped their subscription.
    pub fn away_since_restart(&mut self, user: &UserId, generation: u64, now: u64) -> Effects {
        let mut out = Vec::new();
        if self.presence.contains_key(user) {
            self.report_online_again(user, &mut out);
            return out;
        }
        let presence = Presence {
            generation,
            want: Want::Away,
            reported: Some((generation, Want::Away)),
            asking: None,
            asks_for_events: false,
            undone: false,
            let_in: false,
            subscribed: false,
            grace_until: now + self.limits.grace_ms,
            away_since: None,
            retry_at: 0,
        };
        self.presence.insert(user.clone(), presence);
        out
    }

    /// The user was at a node that is gone: they are away, and this node reports what becomes of them.
    pub fn inherit(&mut self, user: &UserId, generation: u64, now: u64) -> Effects {
        let mut out = Vec::new();
        if !self.report_online_again(user, &mut out) {
            self.want(user, generation, Want::Away, now, &mut out);
            out.extend(self.look_now(now));
        }
        out
    }

    /// Whether nothing of that generation is left to be reported.
    pub fn is_reported(&self, generation: u64) -> bool {
        let mut own = self.presence.values().filter(|p| p.generation == generation && p.want != Want::Nothing);
        own.all(|p| p.reported == Some((generation, p.want)))
    }

    /// The EIM has just taken the user for away; whether they have a socket here, which is reported once more.
    pub(super) fn report_online_again(&mut self, user: &UserId, out: &mut Effects) -> bool {
        let Some(known) = self.presence.get_mut(user).filter(|p| p.want == Want::Online) else { return false };
        known.reported = None;
        known.undone = known.asking.is_some();
        self.reconcile(user, out);
        true
    }

    pub(super) fn want(&mut self, user: &UserId, generation: u64, want: Want, now: u64, out: &mut Effects) {
        let presence = self.presence.entry(user.clone()).or_insert(Presence {
            generation,
            want,
            reported: None,
            asking: None,
            asks_for_events: false,
            undone: false,
            let_in: false,
            subscribed: false,
            grace_until: 0,
            away_since: None,
            retry_at: 0,
        });
        // A join without a socket may have been numbered after the socket that is being opened; the EIM would take what
        // is reported of that socket for older news.
        if generation <= presence.generation && want == Want::Online {
            (presence.reported, presence.undone) = (None, presence.asking.is_some());
        }
        presence.generation = presence.generation.max(generation);
        presence.want = want;
        if want == Want::Away {
            presence.grace_until = now + self.limits.grace_ms;
        }
        self.reconcile(user, out);
    }

    /// Asks for what the user's presence lacks, unless a request is under way.
    pub(super) fn reconcile(&mut self, user: &UserId, out: &mut Effects) {
        let Some(p) = self.presence.get(user) else { return };
        let wanted = (p.generation, p.want);
        if p.asking.is_some() || p.reported == Some(wanted) {
            return;
        }
        let (name, generation) = (user.clone(), p.generation);
        let request = match p.want {
            Want::Online => EimRequest::Subscribe { user: name, generation, since: self.since(user) },
            Want::Away if p.subscribed => {
                EimRequest::Unsubscribe { user: name, generation, linger_ms: self.limits.window_ms }
            }
            Want::Away => EimRequest::Away { user: name, generation },
            Want::Gone => {
                let keep_ms = self.limits.window_ms.saturating_sub(self.limits.grace_ms);
                EimRequest::Gone { user: name, generation, keep_ms }
            }
            Want::Nothing => return,
        };
        let Some(p) = self.presence.get_mut(user) else { return };
        p.asking = Some(wanted);
        p.asks_for_events = matches!(request, EimRequest::Subscribe { since: Some(_), .. });
        p.retry_at = 0;
        out.push(Effect::EimRequest(request));
    }

    /// Nothing is to be told of the user any more. While something is being asked they are kept in mind: its answer must
    /// not be taken for that to a later request, nor a later request overtake it.
    pub(super) fn forget(&mut self, user: &UserId) {
        match self.presence.get_mut(user) {
            Some(p) if p.asking.is_some() => (p.want, p.undone, p.subscribed) = (Want::Nothing, true, false),
            _ => drop(self.presence.remove(user)),
        }
    }

    /// The EIM answered [`EimRequest::Subscribe`] with the roster as it is now.
    pub fn on_subscribe_reply(&mut self, user: &UserId, answer: Result<Subscribed, Failure>, now: u64) -> Effects {
        let mut out = Vec::new();
        let answer = answer.map(|subscribed| subscribed.checked(&self.conf_id, self.limits.log));
        let failure = answer.as_ref().err().copied();
        let had_events = answer.as_ref().is_ok_and(|subscribed| !subscribed.events.is_empty());
        if let Some(p) = self.presence.get_mut(user) {
            p.asks_for_events = false;
        }
        if let Ok(subscribed) = answer {
            if let Some(p) = self.presence.get_mut(user) {
                p.subscribed = true;
            }
            self.willing(user, &mut out);
            self.fresh(subscribed, now, false, &mut out);
        }
        let counts = self.answered(user, failure, now, &mut out);
        let generation = self.subscribers.get(user).map(|l| l.generation);
        match (failure, generation) {
            (Some(Failure::NoConference), Some(_)) if self.is_call() => self.end_conference(&mut out),
            (Some(Failure::NoConference), Some(_)) => {
                self.notify_over(user, &mut out);
                if let Some(subscriber) = self.subscribers.remove(user) {
                    self.let_go(user.clone(), &subscriber, Close::Over, &mut out);
                }
                self.forget(user);
            }
            // Someone whom the EIM doesn't let listen is told nothing; their socket serves their other requests.
            (Some(Failure::Refused), Some(_)) if counts => {
                self.meet_refused(user, now, &mut out);
                self.forget(user);
            }
            // They may have been let in since: it has been asked again.
            (Some(Failure::Refused), Some(_)) => {}
            (Some(Failure::Unwilling), Some(_)) if counts => self.unwilling(user, now, &mut out),
            // Their own coming is on its way as an event: a snapshot without them would be a riddle.
            (None, Some(_)) if self.comes_in(user) => {}
            (None, Some(_)) if self.awaits_events(user, had_events, &mut out) => {}
            // They have more than this node: what they have come with is on its way here too.
            (None, Some(_)) if self.is_ahead(user) => {}
            // From what is known here, if anything is: the socket stays open and is told when the EIM is back.
            _ => self.send_first_snapshot(user, now, &mut out),
        }
        out
    }

    /// Whether the roster that is waited for has the user among the members, and ours not yet.
    fn comes_in(&self, user: &UserId) -> bool {
        self.newer.as_ref().is_some_and(|newer| newer.roster.member(user).is_some()) && !self.sees_all(user)
    }

    /// Whether the user resumes after an event that is waited for here.
    fn is_ahead(&self, user: &UserId) -> bool {
        let (Some(Newer { roster: newer, .. }), Some(ours)) = (&self.newer, self.roster()) else { return false };
        let pending = self.subscribers.get(user).and_then(|subscriber| subscriber.pending.as_ref());
        let Some(Start::Since(last)) = pending else { return false };
        last.epoch == newer.epoch && ours.seq < last.seq && last.seq <= newer.seq
    }

    /// Whether the EIM has the user for subscribed, and isn't being asked for them.
    pub(super) fn is_subscribed(&self, user: &UserId) -> bool {
        let is = |p: &Presence| p.asking.is_none() && p.reported == Some((p.generation, Want::Online));
        self.presence.get(user).is_some_and(is)
    }

    /// Whether the EIM is being asked for the user.
    pub(super) fn is_asked(&self, user: &UserId) -> bool {
        self.presence.get(user).is_some_and(|p| p.asking.is_some())
    }

    /// Greets those who waited for the roster that has come.
    pub(super) fn send_waiting_snapshot(&mut self, now: u64, out: &mut Effects) {
        let waiting = self.subscribers.iter().filter(|(user, l)| l.pending.is_some() && !self.is_asked(user));
        let users: Vec<UserId> = waiting.map(|(user, _)| user.clone()).collect();
        users.iter().for_each(|user| self.send_first_snapshot(user, now, out));
    }

    /// The EIM answered [`EimRequest::Unsubscribe`], [`EimRequest::Away`] or [`EimRequest::Gone`].
    pub fn on_presence_reply(&mut self, user: &UserId, answer: Result<(), Failure>, now: u64) -> Effects {
        let mut out = Vec::new();
        // An EIM that has no such operation will not have it later.
        let failure =
            answer.err().map(|failure| if failure == Failure::Unwilling { Failure::Refused } else { failure });
        self.answered(user, failure, now, &mut out);
        out
    }

    /// Whether what was answered is what is wanted still; if not, that is asked.
    fn answered(&mut self, user: &UserId, failure: Option<Failure>, now: u64, out: &mut Effects) -> bool {
        let Some(p) = self.presence.get_mut(user) else { return false };
        let asked = p.asking.take();
        let let_in = std::mem::take(&mut p.let_in) && failure == Some(Failure::Refused);
        let undone = std::mem::take(&mut p.undone) || let_in;
        if p.want == Want::Nothing {
            self.presence.remove(user);
            return false;
        }
        let wanted = (p.generation, p.want);
        if matches!(failure, Some(Failure::Unreachable | Failure::Unwilling)) {
            p.retry_at = now + RETRY_MS;
            return asked == Some(wanted);
        }
        p.reported = asked.filter(|_| !undone);
        if p.reported == Some(wanted) {
            if p.want == Want::Gone {
                self.presence.remove(user);
            }
            return true;
        }
        self.reconcile(user, out);
        false
    }

    /// The link to the EIM is back: events may have been lost, and the EIM may have forgotten who listens.
    pub fn link_up(&mut self, now: u64) -> Effects {
        let mut out = Vec::new();
        let users: Vec<_> = self.presence.keys().cloned().collect();
        for user in users {
            out.extend(self.session_up(&user));
        }
        if self.log.is_some() {
            self.resync(now, &mut out);
        }
        out
    }

    /// The user's own session at the EIM is there, or there again (c2s): they are subscribed over it. Nobody else's
    /// concern: a guest's first session must not send everybody a fresh start.
    pub fn session_up(&mut self, user: &UserId) -> Effects {
        let mut out = Vec::new();
        if let Some(p) = self.presence.get_mut(user) {
            if p.want == Want::Online {
                p.reported = None;
            }
            self.reconcile(user, &mut out);
        }
        out
    }

    /// The EIM takes the user for away. With an open socket here, that is for the late report of another node, where an
    /// older socket has closed.
    pub(super) fn seems_away(&mut self, user: &UserId, now: u64) {
        if let Some(p) = self.presence.get_mut(user).filter(|p| p.want == Want::Online) {
            p.away_since.get_or_insert(now);
        }
    }

    /// Reports the user's socket once more, under a later number, where the EIM still takes them for away when a newer
    /// socket elsewhere would have closed this one.
    fn insist(&mut self, user: &UserId, now: u64) {
        let Some(p) = self.presence.get_mut(user) else { return };
        if p.away_since.is_none_or(|since| now < since + YIELD_MS) {
            return;
        }
        p.away_since = None;
        if p.want == Want::Online && p.asking.is_none() && !self.is_joined(user) {
            self.presence.entry(user.clone()).and_modify(|p| p.generation += 1);
        }
    }

    fn is_joined(&self, user: &UserId) -> bool {
        let member = self.roster().and_then(|roster| roster.member(user));
        member.is_some_and(|member| member.state == MemberState::Joined)
    }

    /// This process was stalled: who is away could not come back meanwhile. A fresh grace begins.
    pub fn stalled(&mut self, now: u64) {
        for p in self.presence.values_mut().filter(|p| p.want == Want::Away) {
            p.grace_until = p.grace_until.max(now + self.limits.grace_ms);
        }
    }

    /// Time passes: graces end, failed requests are made again.
    pub fn tick(&mut self, now: u64) -> Effects {
        let mut out = Vec::new();
        self.unseen.tick(now);
        if self.subscribers.is_empty() {
            self.idle_since.get_or_insert(now);
        }
        // Ten times a second, of everybody: most have nothing due.
        let is_due = |(user, p): (&UserId, &Presence)| p.is_due(now).then(|| user.clone());
        let users: Vec<UserId> = self.presence.iter().filter_map(is_due).collect();
        for user in users {
            self.insist(&user, now);
            let p = self.presence.get_mut(&user).expect("just listed");
            if p.want == Want::Away && now >= p.grace_until {
                p.want = Want::Gone;
            }
            if p.retry_at <= now {
                self.reconcile(&user, &mut out);
            }
        }
        self.wait_no_longer(now, &mut out);
        if self.syncing.is_some_and(|at| at <= now) {
            self.resync(now, &mut out);
        }
        self.look(now, &mut out);
        self.follow(now, &mut out);
        out
    }
}
