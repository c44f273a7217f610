//! Jitter: how far from its nominal time a schedule fires. Always the same for one schedule, and
//! spread evenly over many, without chance. The nominal time stays the key of the slot.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};

use super::trigger::write_duration;
use crate::id::ScheduleId;
use crate::time::parse_duration;

/// The jitter of a heartbeat is at most this.
pub const HEARTBEAT_JITTER_MAX: Duration = Duration::from_secs(60);
/// Jitter of this width and more is counted in seconds.
const WHOLE_SECONDS_FROM: Duration = Duration::from_secs(10);
/// More jitter is refused: a schedule that wants it wants another time.
pub const JITTER_MAX: Duration = Duration::from_secs(86_400);

/// Fires less than this after the nominal time. Written as `30s`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Jitter(Duration);

impl Jitter {
    /// None: what fires, fires on time.
    pub const NONE: Jitter = Jitter(Duration::ZERO);

    /// Up to `width`, which is at most a day.
    pub fn up_to(width: Duration) -> Self {
        Self(width.min(JITTER_MAX))
    }

    /// A tenth of the period of a heartbeat, at most a minute.
    pub fn of_heartbeat(period: Duration) -> Self {
        Self((period / 10).min(HEARTBEAT_JITTER_MAX))
    }

    /// Its width.
    pub fn width(self) -> Duration {
        self.0
    }

    /// How far after its nominal times a schedule fires: less than the width. In whole milliseconds; in whole seconds if
    /// the width is large, so that many who fire within a second fire together.
    pub fn offset(self, schedule: ScheduleId) -> Duration {
        match self.0 < WHOLE_SECONDS_FROM {
            true => Duration::from_millis(share(schedule, b"jitter", self.0.as_millis() as u64)),
            false => Duration::from_secs(share(schedule, b"jitter", self.0.as_secs())),
        }
    }
}

/// A number below `of`, from a schedule's id alone; 0 of 0.
pub(super) fn share(schedule: ScheduleId, purpose: &[u8], of: u64) -> u64 {
    let hash = Sha256::new().chain_update(purpose).chain_update(schedule.uuid().as_bytes()).finalize();
    let high = hash.iter().take(8).fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
    ((u128::from(high) * u128::from(of)) >> 64) as u64
}

impl Serialize for Jitter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&write_duration(self.0))
    }
}

impl<'de> Deserialize<'de> for Jitter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let width = parse_duration(&text).map_err(de::Error::custom)?;
        if width > JITTER_MAX {
            return Err(de::Error::custom(format!("a jitter of {text} is too long: at most 1d")));
        }
        Ok(Self(width))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::IdSource;
    use crate::time::Timestamp;

    #[test]
    fn offsets_stay_within_the_width_are_the_same_again_and_spread_evenly() {
        let mut ids = IdSource::new(1);
        let jitter = Jitter::of_heartbeat(Duration::from_secs(300));
        assert_eq!(jitter.width(), Duration::from_secs(30));
        let mut tenths = [0; 10];
        for _ in 0..10_000 {
            let id: ScheduleId = ids.next(Timestamp::from_millis(1_000_000));
            let offset = jitter.offset(id);
            assert!(offset < jitter.width() && offset == jitter.offset(id));
            tenths[offset.as_secs() as usize / 3] += 1;
        }
        assert!(tenths.iter().all(|count| (850..1_150).contains(count)), "{tenths:?}");
        assert_eq!(Jitter::NONE.offset(ids.next(Timestamp::from_millis(1))), Duration::ZERO);
        assert_eq!(Jitter::of_heartbeat(Duration::from_secs(7_200)).width(), Duration::from_secs(60));
    }

    #[test]
    fn written_as_a_duration() {
        assert_eq!(serde_json::from_str::<Jitter>("\"1m30s\"").unwrap().width(), Duration::from_secs(90));
        assert_eq!(serde_json::to_string(&Jitter::up_to(Duration::from_secs(90))).unwrap(), "\"1m30s\"");
        assert!(serde_json::from_str::<Jitter>("\"2d\"").unwrap_err().to_string().contains("at most 1d"));
    }
}
