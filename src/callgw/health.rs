//! Whether a node is to be used, from all that is known of it: its control link where it has one, else probes; and what
//! members report. Pure: time is an argument.

use std::collections::HashMap;

use crate::ids::UserId;
use crate::node_protocol::{CascadeMethod, FromNode};

/// Reports of one member older than this are no longer held against a node.
const REPORT_WINDOW_MS: u64 = 10_000;

/// How long members' reports keep a node out of use: its own link says that it is well, so nothing else would.
const REPORTED_MS: u64 = 30_000;

/// Fewer members than that are no several, however small the conference.
const REPORTERS_MIN: usize = 2;

/// Of the members that we sent to the node, one in so many must report: two guests alone can't take a node away from
/// hundreds.
const REPORTERS_ONE_IN: u64 = 3;

/// Most members whose reports are held against one node.
const REPORTERS_MAX: usize = 1024;

/// The state of the node's control link.
#[derive(Debug, Clone, PartialEq)]
pub enum Control {
    /// It has none, for that reason: probes alone say how it is.
    Unspoken(String),
    /// It admits nobody whom we send, for that reason: it and we don't take each other for who we are.
    Distrusted(String),
    /// It has spoken, the last time then.
    Alive(u64),
}

/// The node's last report.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reported {
    /// The largest share of any of its bounds: 0 idle, 1 full.
    pub busiest: f64,
    /// The method by which a conference is at this node and at others.
    pub cascades: Option<CascadeMethod>,
    pub at: u64,
}

/// The reason why a node isn't to be used any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The node doesn't answer.
    Down,
    /// Clients have reported it.
    Reported,
}

/// One node's health. Owned by its [`super::node::Node`], behind that one's lock.
#[derive(Debug)]
pub struct NodeHealth {
    /// A control link that is silent for longer is dead, in ms.
    silence_ms: u64,
    /// When this node was last looked at.
    looked_at: Option<u64>,
    /// Anything is known of it.
    is_judged: bool,
    probed: Result<(), String>,
    control: Control,
    load: Option<Reported>,
    /// The reason why it says that it serves nobody.
    unserving: Option<String>,
    /// The node refuses new rooms.
    draining: bool,
    /// When the node stops, ms since 1970.
    stops_at: Option<u64>,
    reporters: HashMap<UserId, u64>,
    reported_until: u64,
}

impl NodeHealth {
    pub fn new(silence_ms: u64) -> Self {
        Self {
            silence_ms,
            looked_at: None,
            is_judged: false,
            probed: Err("not yet probed".into()),
            control: Control::Unspoken("no control link yet".into()),
            load: None,
            unserving: None,
            draining: false,
            stops_at: None,
            reporters: HashMap::new(),
            reported_until: 0,
        }
    }

    /// Told at every look, of which there are several in the time of a silence. Where there was none for half of it, we
    /// were stalled and heard nobody: a fresh silence begins.
    pub fn on_look(&mut self, now: u64) {
        let gap = self.looked_at.replace(now).map_or(0, |before| now.saturating_sub(before));
        if let Control::Alive(at) = &mut self.control
            && gap > self.silence_ms / 2
        {
            *at = now;
        }
    }

    /// Whether anything is known of it yet.
    pub fn is_known(&self) -> bool {
        self.is_judged
    }

    pub fn on_probe(&mut self, outcome: Result<(), String>) {
        self.is_judged = true;
        self.probed = outcome;
    }

    /// The node won't have a control link: what is known of it from one no longer holds.
    pub fn set_control_refused(&mut self, why: String) {
        self.set_control(Control::Unspoken(why));
    }

    /// It doesn't take our secret, or we don't take its certificate.
    pub fn set_distrusted(&mut self, why: String) {
        self.is_judged = true;
        self.set_control(Control::Distrusted(why));
    }

    fn set_control(&mut self, control: Control) {
        self.control = control;
        (self.load, self.unserving, self.draining, self.stops_at) = (None, None, false, None);
    }

    pub fn on_message(&mut self, message: &FromNode, now: u64) {
        self.is_judged = true;
        if let FromNode::Unserving { why } = message {
            // As if it were silent: its media may be back in a moment.
            self.unserving = Some(why.clone());
            return;
        }
        (self.control, self.unserving) = (Control::Alive(now), None);
        match message {
            FromNode::Unserving { .. } => {}
            FromNode::Load { busiest, draining, cascades, .. } => {
                // A node may say anything; a load that isn't a number is a full one.
                let busiest = if busiest.is_finite() { busiest.max(0.0) } else { 1.0 };
                self.load = Some(Reported { busiest, cascades: *cascades, at: now });
                self.draining = *draining;
                if !draining {
                    self.stops_at = None;
                }
            }
            FromNode::Draining { deadline_ms } => {
                self.draining = true;
                self.stops_at = Some(*deadline_ms);
            }
        }
    }

    /// Whether the node may be used, or why not.
    pub fn check(&self, now: u64) -> Result<(), (Fault, String)> {
        let down = |why: String| Err((Fault::Down, why));
        match (&self.control, &self.probed, &self.unserving) {
            (Control::Alive(at), _, why) if now.saturating_sub(*at) > self.silence_ms => {
                let silent = || format!("silent on its control link for {} ms", now.saturating_sub(*at));
                down(why.clone().unwrap_or_else(silent))
            }
            (Control::Distrusted(why), ..)
            | (Control::Unspoken(_), _, Some(why))
            | (Control::Unspoken(_), Err(why), _) => down(why.clone()),
            _ if self.reported_until > now => Err((Fault::Reported, "its members report that it fails".into())),
            _ => Ok(()),
        }
    }

    /// The reason why the node gets no commands from us, where it gets none.
    pub fn uncontrolled(&self) -> Option<&str> {
        match &self.control {
            Control::Unspoken(why) | Control::Distrusted(why) => Some(why),
            Control::Alive(_) => None,
        }
    }

    pub fn load(&self) -> Option<Reported> {
        self.load
    }

    /// Whether the node itself says that it takes no new rooms.
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// Whether the node itself says that it stops: its rooms must leave.
    pub fn is_stopping(&self) -> bool {
        self.stops_at.is_some()
    }

    /// A member has trouble with the node, to which we sent `members` in all. Of several within a moment the last one
    /// counts as a failed probe: then true.
    pub fn report_failure(&mut self, user: &UserId, members: u64, now: u64) -> bool {
        self.reporters.retain(|_, at| now.saturating_sub(*at) < REPORT_WINDOW_MS);
        if self.reporters.len() < REPORTERS_MAX {
            self.reporters.insert(user.clone(), now);
        }
        let needed = REPORTERS_MIN.max(usize::try_from(members.div_ceil(REPORTERS_ONE_IN)).unwrap_or(usize::MAX));
        let failed = self.reporters.len() >= needed.min(REPORTERS_MAX);
        if failed {
            self.reported_until = now + REPORTED_MS;
            self.reporters.clear();
        }
        failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENCE: u64 = 2000;

    fn load(busiest: f64, draining: bool) -> FromNode {
        FromNode::Load {
            packets_per_s: 1,
            packets_per_s_max: 2,
            busiest,
            rooms: 0,
            endpoints: 0,
            draining,
            cascades: Some(CascadeMethod::Webrtc),
        }
    }

    fn user(name: &str) -> UserId {
        UserId::parse(name).unwrap()
    }

    fn fault(health: &NodeHealth, now: u64) -> Option<Fault> {
        health.check(now).err().map(|(fault, _)| fault)
    }

    #[test]
    fn a_link_that_is_silent_for_two_reports_is_dead_whatever_a_probe_says() {
        let mut health = NodeHealth::new(SILENCE);
        health.on_probe(Ok(()));
        health.on_message(&load(0.1, false), 1000);
        assert_eq!(fault(&health, 1000 + SILENCE), None);
        assert_eq!(fault(&health, 1001 + SILENCE), Some(Fault::Down));
        health.on_message(&load(0.1, false), 9000);
        assert_eq!(fault(&health, 9000), None);
    }

    #[test]
    fn a_node_that_refuses_control_is_as_its_probes_say() {
        let mut health = NodeHealth::new(SILENCE);
        assert_eq!(fault(&health, 0), Some(Fault::Down), "not yet probed");
        health.on_message(&load(0.7, true), 0);
        health.set_control_refused("404".into());
        assert_eq!(fault(&health, 0), Some(Fault::Down));
        health.on_probe(Ok(()));
        assert_eq!((fault(&health, 99_999), health.uncontrolled()), (None, Some("404")));
        assert_eq!((health.load(), health.is_draining()), (None, false), "what an older life said is over");
    }

    #[test]
    fn a_node_that_does_not_take_our_secret_is_down_though_a_probe_goes_well_until_it_does() {
        let mut health = NodeHealth::new(SILENCE);
        health.on_probe(Ok(()));
        health.set_distrusted("it refuses our secret".into());
        assert_eq!(health.check(0), Err((Fault::Down, "it refuses our secret".into())));
        health.on_message(&load(0.1, false), 1);
        assert_eq!(fault(&health, 1), None);
    }

    #[test]
    fn a_node_whose_media_is_away_says_why_and_is_down_unless_it_is_back_in_time() {
        let away = FromNode::Unserving { why: "Janus has gone".into() };
        let mut health = NodeHealth::new(SILENCE);
        health.on_probe(Ok(()));
        health.on_message(&away, 0);
        assert_eq!(health.check(0), Err((Fault::Down, "Janus has gone".into())), "it was never there");
        health.on_message(&load(0.1, false), 1000);
        health.on_message(&away, 1500);
        assert_eq!(fault(&health, 1000 + SILENCE), None);
        assert_eq!(health.check(1001 + SILENCE), Err((Fault::Down, "Janus has gone".into())));
        health.on_message(&load(0.1, false), 1001 + SILENCE);
        assert_eq!(fault(&health, 1001 + SILENCE), None);
    }

    #[test]
    fn while_we_were_stalled_nobody_was_silent() {
        let mut health = NodeHealth::new(SILENCE);
        health.on_message(&load(0.1, false), 1000);
        health.on_look(1500);
        // Stopped for an hour.
        let now = 3_601_500;
        health.on_look(now);
        assert_eq!(fault(&health, now), None);
        for at in 1..=4 {
            health.on_look(now + at * SILENCE / 4);
        }
        assert_eq!(fault(&health, now + SILENCE), None);
        health.on_look(now + SILENCE + 1);
        assert_eq!(fault(&health, now + SILENCE + 1), Some(Fault::Down), "a fresh silence, and no longer one");
    }

    #[test]
    fn reports_of_several_members_count_as_a_failed_probe_for_a_while() {
        let mut health = NodeHealth::new(SILENCE);
        health.on_probe(Ok(()));
        for now in [0, 1, 2] {
            assert!(!health.report_failure(&user("a"), 6, now), "one member, however often");
        }
        assert!(!health.report_failure(&user("b"), 6, REPORT_WINDOW_MS + 2), "the first is forgotten");
        assert_eq!(fault(&health, REPORT_WINDOW_MS + 3), None);
        assert!(health.report_failure(&user("c"), 6, REPORT_WINDOW_MS + 3));
        assert_eq!(fault(&health, REPORT_WINDOW_MS + 4), Some(Fault::Reported));
        assert_eq!(fault(&health, REPORT_WINDOW_MS + 3 + REPORTED_MS), None);
    }

    #[test]
    fn a_few_members_cant_take_a_node_away_from_many() {
        let mut health = NodeHealth::new(SILENCE);
        health.on_probe(Ok(()));
        let complaints =
            (0..33).map(|i| health.report_failure(&user(&format!("u{i}")), 100, 5)).filter(|failed| *failed);
        assert_eq!(complaints.count(), 0);
        assert!(health.report_failure(&user("u33"), 100, 5), "a third of them can");
    }

    #[test]
    fn a_node_that_says_that_it_stops_is_left_until_it_says_otherwise() {
        let mut health = NodeHealth::new(SILENCE);
        health.on_message(&FromNode::Draining { deadline_ms: 9 }, 1);
        health.on_message(&load(0.1, true), 2);
        assert!(health.is_draining() && health.is_stopping());
        health.on_message(&load(f64::NAN, false), 3);
        assert!(!health.is_draining() && !health.is_stopping());
        assert_eq!(health.load().map(|l| l.busiest), Some(1.0));
    }
}
