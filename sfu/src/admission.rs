//! Load shedding of a thread: it takes no new connections when it forwards as much as it can, and beyond that it sends
//! less to those it has, the least missed first. A thread that takes everything collapses: at one and a half times its
//! capacity, half is lost. Pure.

use std::time::{Duration, Instant};

use crate::layers::Shed;
use crate::protocol::EndpointId;

/// Packets in a second that a connection just admitted is expected to take, of which nothing better is known.
pub(crate) const EXPECTED: u64 = 50;
/// How long a connection takes to be seen in the measurement: it connects, waits for a key frame, is counted.
const UNSEEN: Duration = Duration::from_secs(3);
/// How often is shed or given back: what was changed must show in the measurement first.
pub(crate) const INTERVAL: Duration = Duration::from_millis(1_200);
/// Given back only below this share of the maximum, in percent, so that giving doesn't cause the next shedding.
const RELAXED_PERCENT: u64 = 80;
/// Shed down to this share.
const TARGET_PERCENT: u64 = 90;

/// Owned by the worker.
#[derive(Debug)]
pub(crate) struct Admission {
    max: u64,
    measured: u64,
    /// When connections were, that aren't measured yet, and what they will take.
    admitted: Vec<(Instant, u64)>,
    changed: Option<Instant>,
    /// Something is taken from somebody.
    sheds: bool,
}

/// A viewer's part in the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) endpoint: EndpointId,
    /// The worth of the picture to its viewer: [`crate::layers::View::worth`].
    pub(crate) worth: u64,
    pub(crate) video_per_s: u64,
    pub(crate) audio_per_s: u64,
    /// The publisher sends smaller layers too.
    pub(crate) simulcast: bool,
    pub(crate) shed: Shed,
}

impl Admission {
    pub(crate) fn new(max: u64) -> Admission {
        Admission { max: max.max(1), measured: 0, admitted: Vec::new(), changed: None, sheds: false }
    }

    /// Packets forwarded in the last second.
    pub(crate) fn measured(&mut self, per_s: u64, now: Instant) {
        self.measured = per_s;
        self.admitted.retain(|(at, _)| now.saturating_duration_since(*at) < UNSEEN);
    }

    /// Whether one more connection may come, that is expected to take so many packets in a second; it is counted as
    /// there from now on.
    pub(crate) fn admit(&mut self, expected: u64, now: Instant) -> bool {
        let coming: u64 = self.admitted.iter().map(|(_, expected)| expected).sum();
        let admits = !self.sheds && self.measured + coming <= self.max;
        if admits {
            self.admitted.push((now, expected));
        }
        admits
    }

    /// How full it is: from 1 on no connection is admitted.
    pub(crate) fn fullness(&self) -> f64 {
        let coming: u64 = self.admitted.iter().map(|(_, expected)| expected).sum();
        let share = (self.measured + coming) as f64 / self.max as f64;
        if self.sheds { share.max(1.0) } else { share }
    }

    /// The changes, with their viewers. `shares` are all viewers.
    pub(crate) fn balance(&mut self, mut shares: Vec<Share>, now: Instant) -> Vec<(EndpointId, Shed)> {
        self.sheds = shares.iter().any(|share| share.shed > Shed::Nothing);
        let rested = self.changed.is_none_or(|at| now.saturating_duration_since(at) >= INTERVAL);
        let relaxed = self.max * RELAXED_PERCENT / 100;
        if !rested || (self.measured <= self.max && self.measured >= relaxed) {
            return Vec::new();
        }
        shares.sort_by_key(|share| (share.worth, share.endpoint));
        let changes = match self.measured > self.max {
            true => take(&shares, self.measured - self.max * TARGET_PERCENT / 100),
            false => give(&shares, relaxed - self.measured),
        };
        if !changes.is_empty() {
            self.changed = Some(now);
        }
        changes
    }
}

/// How much of a viewer's video a small layer is taken for, in percent, before it is measured.
const SMALL_PERCENT: u64 = 40;

/// Takes from the viewers, the least worth first, in rounds: large layers of all, then video, then sound.
fn take(shares: &[Share], excess: u64) -> Vec<(EndpointId, Shed)> {
    let mut left = excess;
    let mut changes: Vec<(EndpointId, Shed)> = Vec::new();
    for step in [Shed::LargeLayers, Shed::Video, Shed::All] {
        for share in shares.iter().filter(|share| share.shed < step) {
            if left == 0 {
                return changes;
            }
            let saved = match step {
                Shed::LargeLayers if !share.simulcast => 0,
                Shed::LargeLayers => share.video_per_s * (100 - SMALL_PERCENT) / 100,
                Shed::Video if share.simulcast && share.shed == Shed::Nothing => {
                    share.video_per_s * SMALL_PERCENT / 100
                }
                Shed::Video => share.video_per_s,
                _ => share.audio_per_s,
            };
            if saved == 0 {
                continue;
            }
            left = left.saturating_sub(saved);
            match changes.iter_mut().find(|(endpoint, _)| *endpoint == share.endpoint) {
                Some(change) => change.1 = step,
                None => changes.push((share.endpoint, step)),
            }
        }
    }
    changes
}

/// Gives back, those worth most first: sound, then small video, then all.
fn give(shares: &[Share], room: u64) -> Vec<(EndpointId, Shed)> {
    let mut left = room;
    let mut changes = Vec::new();
    for (taken, given) in
        [(Shed::All, Shed::Video), (Shed::Video, Shed::LargeLayers), (Shed::LargeLayers, Shed::Nothing)]
    {
        for share in shares.iter().rev().filter(|share| share.shed == taken) {
            if left < EXPECTED {
                return changes;
            }
            left -= EXPECTED;
            changes.push((share.endpoint, given));
        }
        // One step at a time: the next when this one was measured.
        if !changes.is_empty() {
            return changes;
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn viewers(count: u64, shed: Shed) -> Vec<Share> {
        let share =
            |n| Share { endpoint: EndpointId(n), worth: n, video_per_s: 100, audio_per_s: 50, simulcast: true, shed };
        (0..count).map(share).collect()
    }

    #[test]
    fn a_full_thread_admits_nobody_and_counts_those_it_admitted_before_they_send() {
        let now = Instant::now();
        let mut admission = Admission::new(1_000);
        admission.measured(900, now);
        assert!(admission.admit(50, now) && admission.admit(50, now) && admission.admit(50, now));
        assert!(!admission.admit(50, now), "three that will send 50 each");
        admission.measured(900, now + UNSEEN);
        assert!(admission.admit(50, now + UNSEEN), "they sent nothing in the end");
        admission.measured(1_001, now + UNSEEN);
        assert!(!admission.admit(50, now + UNSEEN));
        admission.measured(100, now + 2 * UNSEEN);
        admission.balance(viewers(1, Shed::Video), now + 2 * UNSEEN);
        assert!(!admission.admit(50, now + 2 * UNSEEN), "nobody comes while others go without");
    }

    #[test]
    fn the_least_viewers_lose_their_large_layers_first() {
        let now = Instant::now();
        let mut admission = Admission::new(1_000);
        admission.measured(1_100, now);
        let changes = admission.balance(viewers(20, Shed::Nothing), now);
        let expected: Vec<(EndpointId, Shed)> = (0..4).map(|n| (EndpointId(n), Shed::LargeLayers)).collect();
        assert_eq!(changes, expected, "200 too many, 60 saved with each");
        assert_eq!(admission.balance(viewers(20, Shed::Nothing), now), [], "not before that is measured");
    }

    #[test]
    fn sound_goes_last() {
        let now = Instant::now();
        let mut admission = Admission::new(100);
        admission.measured(1_000, now);
        let changes = admission.balance(viewers(4, Shed::LargeLayers), now);
        assert!(changes.iter().all(|(_, shed)| *shed >= Shed::Video), "{changes:?}");
        admission.measured(120, now + INTERVAL);
        let mut silent = viewers(4, Shed::Video);
        silent.iter_mut().for_each(|share| share.video_per_s = 0);
        assert_eq!(admission.balance(silent, now + INTERVAL), [(EndpointId(0), Shed::All)]);
    }

    #[test]
    fn shed_media_is_given_back_to_the_largest_views_first() {
        let now = Instant::now();
        let mut admission = Admission::new(1_000);
        admission.measured(700, now);
        let mut shares = viewers(4, Shed::Video);
        shares[0].shed = Shed::All;
        assert_eq!(admission.balance(shares.clone(), now), [(EndpointId(0), Shed::Video)], "sound before video");
        shares[0].shed = Shed::Video;
        let given = admission.balance(shares.clone(), now + INTERVAL);
        assert_eq!(given, [(EndpointId(3), Shed::LargeLayers), (EndpointId(2), Shed::LargeLayers)]);
        admission.measured(900, now + 2 * INTERVAL);
        assert_eq!(admission.balance(shares, now + 2 * INTERVAL), [], "between the marks nothing moves");
    }
}
