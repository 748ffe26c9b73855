//! Finds the active speaker from the levels that clients write into their sound packets (RFC 6464). A short noise
//! changes nothing. Pure.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::protocol::MemberId;

/// dB below the loudest (dBov) that count as silence. Speech into a headset is at -25 to -40, a room's noise at -60.
const SILENCE: f64 = -55.0;
/// The loudness, 0 to 1, from which somebody speaks, and below which they have ended.
const SPEAKS: f64 = 0.25;
const ENDED: f64 = 0.10;
/// How fast loudness follows the packets: most of the way in this time.
const SMOOTHING: Duration = Duration::from_millis(300);
/// Another must be this much louder ...
const LOUDER: f64 = 1.4;
/// ... for this long to take the speaker's place.
const PATIENCE: Duration = Duration::from_millis(500);
/// Nobody speaks only after so long a silence: people breathe and think.
const PAUSE: Duration = Duration::from_secs(2);
/// Members whose loudness is kept; those who are silent are forgotten.
const MEMBERS_MAX: usize = 256;

/// The loudness of a room's members. Owned by the room.
#[derive(Debug, Default)]
pub(crate) struct ActiveSpeakerObserver {
    loudness: HashMap<MemberId, Loudness>,
    speaker: Option<MemberId>,
    /// The speaker is below [`ENDED`] since.
    silent_since: Option<Instant>,
    /// The member that is louder than the speaker, and since when.
    rival: Option<(MemberId, Instant)>,
}

#[derive(Debug)]
struct Loudness {
    value: f64,
    at: Instant,
}

impl Loudness {
    /// Without packets it falls: a client that sends none in silence (DTX) is silent.
    fn now(&self, now: Instant) -> f64 {
        self.value * decay(now.saturating_duration_since(self.at))
    }
}

fn decay(passed: Duration) -> f64 {
    (-passed.as_secs_f64() / SMOOTHING.as_secs_f64()).exp()
}

impl ActiveSpeakerObserver {
    /// A packet of the member's sound came, this loud: in dBov, 0 (loudest) to -127.
    pub(crate) fn record_level(&mut self, member: &MemberId, level: i8, now: Instant) {
        let sound = (1.0 - f64::from(level.min(0)) / SILENCE).max(0.0);
        if let Some(loudness) = self.loudness.get_mut(member) {
            let kept = decay(now.saturating_duration_since(loudness.at));
            *loudness = Loudness { value: loudness.value * kept + sound * (1.0 - kept), at: now };
        } else if sound > 0.0 && self.loudness.len() < MEMBERS_MAX {
            self.loudness.insert(member.clone(), Loudness { value: 0.0, at: now });
        }
    }

    /// Looks who speaks now; `Some` when that is another than before. To be called some times a second.
    pub(crate) fn update(&mut self, now: Instant) -> Option<Option<MemberId>> {
        const FORGOTTEN: f64 = 0.001;
        self.loudness.retain(|_, loudness| loudness.now(now) > FORGOTTEN || loudness.at + SMOOTHING > now);
        let loudest = self
            .loudness
            .iter()
            .map(|(member, loudness)| (member, loudness.now(now)))
            .filter(|(_, value)| *value >= SPEAKS)
            .max_by(|(_, a), (_, b)| a.total_cmp(b))
            .map(|(member, value)| (member.clone(), value));
        let Some(speaker) = self.speaker.clone() else {
            return loudest.map(|(member, _)| self.set_speaker(Some(member)));
        };
        let own = self.loudness.get(&speaker).map_or(0.0, |loudness| loudness.now(now));
        if own >= ENDED {
            self.silent_since = None;
        } else if now.saturating_duration_since(*self.silent_since.get_or_insert(now)) >= PAUSE && loudest.is_none() {
            return Some(self.set_speaker(None));
        }
        match loudest {
            Some((member, value)) if member != speaker && value >= own * LOUDER => self.challenge(member, now),
            _ => {
                self.rival = None;
                None
            }
        }
    }

    fn challenge(&mut self, member: MemberId, now: Instant) -> Option<Option<MemberId>> {
        let since = match &self.rival {
            Some((rival, since)) if *rival == member => *since,
            _ => {
                self.rival = Some((member, now));
                return None;
            }
        };
        let patient = now.saturating_duration_since(since) >= PATIENCE;
        patient.then(|| self.set_speaker(Some(member)))
    }

    fn set_speaker(&mut self, speaker: Option<MemberId>) -> Option<MemberId> {
        (self.silent_since, self.rival) = (None, None);
        self.speaker = speaker.clone();
        speaker
    }

    /// The member sends no sound any more, or may not.
    pub(crate) fn forget(&mut self, member: &MemberId) {
        self.loudness.remove(member);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// A room in which time passes in packets of 20 ms.
    struct Scene {
        observer: ActiveSpeakerObserver,
        now: Instant,
        changes: Vec<Option<MemberId>>,
    }

    impl Scene {
        fn new() -> Scene {
            Scene { observer: ActiveSpeakerObserver::default(), now: Instant::now(), changes: Vec::new() }
        }

        fn play(&mut self, time: Duration, voices: &[(&str, i8)]) -> &mut Scene {
            for packet in 0..time.as_millis() / 20 {
                self.now += Duration::from_millis(20);
                voices.iter().for_each(|(name, level)| self.observer.record_level(&Arc::from(*name), *level, self.now));
                if packet % 5 == 0 {
                    self.changes.extend(self.observer.update(self.now));
                }
            }
            self
        }

        fn changes(&self) -> Vec<Option<&str>> {
            self.changes.iter().map(Option::as_deref).collect()
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn active_speaker_is_named_once_and_nobody_after_a_silence() {
        let mut scene = Scene::new();
        scene.play(2 * SECOND, &[("anna", -30), ("boris", -80)]);
        assert_eq!(scene.changes(), [Some("anna")]);
        scene.play(SECOND, &[("anna", -90)]);
        assert_eq!(scene.changes(), [Some("anna")], "a breath is no end");
        scene.play(3 * SECOND, &[]);
        assert_eq!(scene.changes(), [Some("anna"), None], "a client that sends nothing is silent");
    }

    #[test]
    fn a_cough_takes_nobodys_place_and_an_answer_does() {
        let mut scene = Scene::new();
        scene.play(2 * SECOND, &[("anna", -32)]).play(SECOND / 5, &[("anna", -32), ("boris", -5)]);
        scene.play(2 * SECOND, &[("anna", -32), ("boris", -90)]);
        assert_eq!(scene.changes(), [Some("anna")]);
        scene.play(2 * SECOND, &[("anna", -90), ("boris", -28)]);
        assert_eq!(scene.changes(), [Some("anna"), Some("boris")]);
    }

    #[test]
    fn two_at_once_do_not_alternate() {
        let mut scene = Scene::new();
        for _ in 0..20 {
            scene.play(SECOND / 5, &[("anna", -28), ("boris", -32)]);
            scene.play(SECOND / 5, &[("anna", -32), ("boris", -28)]);
        }
        assert_eq!(scene.changes().len(), 1, "{:?}", scene.changes());
    }

    #[test]
    fn noise_speaks_not() {
        let mut scene = Scene::new();
        scene.play(5 * SECOND, &[("anna", -58), ("boris", -127)]);
        assert_eq!(scene.changes(), []);
    }

    #[test]
    fn more_members_than_a_room_has_take_no_more_memory() {
        let mut observer = ActiveSpeakerObserver::default();
        let now = Instant::now();
        (0..10_000).for_each(|n| observer.record_level(&Arc::from(format!("m{n}")), -20, now));
        assert_eq!(observer.loudness.len(), MEMBERS_MAX);
    }
}
