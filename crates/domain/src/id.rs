//! Typed identifiers: a prefix that names the kind and a UUIDv7 in base 32
//! (the TypeID form, `run_01k…`). Within one [`IdSource`] they rise strictly,
//! so that sorting by id is sorting by creation.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

use crate::time::Timestamp;

/// The kind of thing an [`Id`] names.
pub trait Kind: 'static {
    /// What stands before the underscore.
    const PREFIX: &'static str;
    /// How a person calls it in an error message.
    const NOUN: &'static str;
}

/// The kinds of things that have ids.
pub mod kind {
    use super::Kind;

    pub enum Company {}
    pub enum Agent {}
    pub enum Task {}
    pub enum Wakeup {}
    pub enum Run {}
    pub enum Event {}
    pub enum Token {}
    pub enum Goal {}
    pub enum Project {}
    pub enum Comment {}
    pub enum Escalation {}
    pub enum Schedule {}
    pub enum Notification {}
    pub enum Channel {}
    pub enum Delivery {}
    pub enum Budget {}
    pub enum Message {}
    pub enum Subscription {}
    pub enum Webhook {}
    pub enum Receipt {}

    impl Kind for Company {
        const PREFIX: &'static str = "co";
        const NOUN: &'static str = "company";
    }
    impl Kind for Agent {
        const PREFIX: &'static str = "agt";
        const NOUN: &'static str = "agent";
    }
    impl Kind for Task {
        const PREFIX: &'static str = "tsk";
        const NOUN: &'static str = "task";
    }
    impl Kind for Wakeup {
        const PREFIX: &'static str = "wak";
        const NOUN: &'static str = "wakeup";
    }
    impl Kind for Run {
        const PREFIX: &'static str = "run";
        const NOUN: &'static str = "run";
    }
    impl Kind for Event {
        const PREFIX: &'static str = "evt";
        const NOUN: &'static str = "event";
    }
    impl Kind for Token {
        const PREFIX: &'static str = "tok";
        const NOUN: &'static str = "token";
    }
    impl Kind for Goal {
        const PREFIX: &'static str = "goal";
        const NOUN: &'static str = "goal";
    }
    impl Kind for Project {
        const PREFIX: &'static str = "prj";
        const NOUN: &'static str = "project";
    }
    impl Kind for Comment {
        const PREFIX: &'static str = "cmt";
        const NOUN: &'static str = "comment";
    }
    impl Kind for Escalation {
        const PREFIX: &'static str = "esc";
        const NOUN: &'static str = "escalation";
    }
    impl Kind for Schedule {
        const PREFIX: &'static str = "sch";
        const NOUN: &'static str = "schedule";
    }
    impl Kind for Notification {
        const PREFIX: &'static str = "ntf";
        const NOUN: &'static str = "notification";
    }
    impl Kind for Channel {
        const PREFIX: &'static str = "chn";
        const NOUN: &'static str = "channel";
    }
    impl Kind for Delivery {
        const PREFIX: &'static str = "dlv";
        const NOUN: &'static str = "delivery";
    }
    impl Kind for Budget {
        const PREFIX: &'static str = "bud";
        const NOUN: &'static str = "budget";
    }
    impl Kind for Message {
        const PREFIX: &'static str = "msg";
        const NOUN: &'static str = "message";
    }
    impl Kind for Subscription {
        const PREFIX: &'static str = "sub";
        const NOUN: &'static str = "subscription";
    }
    impl Kind for Webhook {
        const PREFIX: &'static str = "hok";
        const NOUN: &'static str = "webhook";
    }
    impl Kind for Receipt {
        const PREFIX: &'static str = "rcp";
        const NOUN: &'static str = "receipt";
    }
}

pub type CompanyId = Id<kind::Company>;
pub type AgentId = Id<kind::Agent>;
pub type TaskId = Id<kind::Task>;
pub type WakeupId = Id<kind::Wakeup>;
pub type RunId = Id<kind::Run>;
pub type EventId = Id<kind::Event>;
pub type TokenId = Id<kind::Token>;
pub type GoalId = Id<kind::Goal>;
pub type ProjectId = Id<kind::Project>;
pub type CommentId = Id<kind::Comment>;
pub type EscalationId = Id<kind::Escalation>;
pub type ScheduleId = Id<kind::Schedule>;
pub type NotificationId = Id<kind::Notification>;
pub type ChannelId = Id<kind::Channel>;
pub type DeliveryId = Id<kind::Delivery>;
pub type BudgetId = Id<kind::Budget>;
pub type MessageId = Id<kind::Message>;
pub type SubscriptionId = Id<kind::Subscription>;
pub type WebhookId = Id<kind::Webhook>;
pub type ReceiptId = Id<kind::Receipt>;

/// An identifier of one kind of thing.
pub struct Id<K> {
    uuid: Uuid,
    kind: PhantomData<fn() -> K>,
}

/// Why a text is no id of the kind asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    #[error("`{text}` is not a {noun} id: it must begin with `{prefix}_`")]
    Prefix { text: String, noun: &'static str, prefix: &'static str },
    #[error("`{text}` is not a {noun} id: 26 characters of 0-9a-z (without i, l, o, u) must follow `{prefix}_`")]
    Suffix { text: String, noun: &'static str, prefix: &'static str },
}

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// The digit that a byte stands for; [`NO_DIGIT`] for the others.
const DIGITS: [u8; 256] = {
    let mut digits = [NO_DIGIT; 256];
    let mut digit = 0;
    while digit < ALPHABET.len() {
        digits[ALPHABET[digit] as usize] = digit as u8;
        digit += 1;
    }
    digits
};
const NO_DIGIT: u8 = 0xff;
/// 128 bits in 5-bit digits; the first digit carries only 3.
const SUFFIX_CHARS: usize = 26;

impl<K: Kind> Id<K> {
    /// The id with these 128 bits.
    pub fn from_uuid(uuid: Uuid) -> Self {
        Self { uuid, kind: PhantomData }
    }

    /// What no id made from this time on is less than, and every id made before it is.
    pub fn first_of(at: Timestamp) -> Self {
        let ms = u64::try_from(at.as_millis()).unwrap_or(0);
        Self::from_uuid(Uuid::from_u128(u128::from(ms) << 80))
    }

    /// Its 128 bits.
    pub fn uuid(&self) -> Uuid {
        self.uuid
    }
}

impl<K: Kind> FromStr for Id<K> {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let suffix = text
            .strip_prefix(K::PREFIX)
            .and_then(|rest| rest.strip_prefix('_'))
            .ok_or_else(|| IdError::Prefix { text: text.into(), noun: K::NOUN, prefix: K::PREFIX })?;
        let refused = || IdError::Suffix { text: text.into(), noun: K::NOUN, prefix: K::PREFIX };
        if suffix.len() != SUFFIX_CHARS || suffix.as_bytes()[0] > b'7' {
            return Err(refused());
        }
        let mut bits: u128 = 0;
        for byte in suffix.bytes() {
            let digit = DIGITS[usize::from(byte)];
            if digit == NO_DIGIT {
                return Err(refused());
            }
            bits = (bits << 5) | u128::from(digit);
        }
        Ok(Self::from_uuid(Uuid::from_u128(bits)))
    }
}

impl<K: Kind> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.uuid.as_u128();
        let mut suffix = [0u8; SUFFIX_CHARS];
        for (place, letter) in suffix.iter_mut().rev().enumerate() {
            *letter = ALPHABET[((bits >> (5 * place)) & 31) as usize];
        }
        f.write_str(K::PREFIX)?;
        f.write_str("_")?;
        f.write_str(std::str::from_utf8(&suffix).map_err(|_| fmt::Error)?)
    }
}

impl<K: Kind> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<K> Clone for Id<K> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<K> Copy for Id<K> {}
impl<K> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.uuid == other.uuid
    }
}
impl<K> Eq for Id<K> {}
impl<K> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<K> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.uuid.cmp(&other.uuid)
    }
}
impl<K> Hash for Id<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.uuid.hash(state);
    }
}

impl<K: Kind> Serialize for Id<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, K: Kind> Deserialize<'de> for Id<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// Makes ids that rise strictly, from a clock that is handed in and a seeded generator.
#[derive(Debug)]
pub struct IdSource {
    rng: fastrand::Rng,
    last_ms: u64,
    counter: u64,
}

/// The bits behind the time that count up within one millisecond.
const COUNTER_BITS: u32 = 42;

impl IdSource {
    /// A source whose ids follow from `seed` and the times it is given.
    pub fn new(seed: u64) -> Self {
        Self { rng: fastrand::Rng::with_seed(seed), last_ms: 0, counter: 0 }
    }

    /// The next id. Greater than all before it, even if `now` went back.
    pub fn next<K: Kind>(&mut self, now: Timestamp) -> Id<K> {
        let ms = u64::try_from(now.as_millis()).unwrap_or(0);
        if ms > self.last_ms {
            self.last_ms = ms;
            // The upper half stays free, so that a millisecond cannot run out of numbers.
            self.counter = self.rng.u64(..1 << (COUNTER_BITS - 1));
        } else {
            self.counter += 1;
        }
        let tail = u128::from(self.rng.u32(..));
        // RFC 9562: 48 bits of time, version 7, 12 bits, variant, 62 bits.
        let mut bits = u128::from(self.last_ms) << 80;
        bits |= 7 << 76;
        bits |= u128::from(self.counter >> 30) << 64;
        bits |= 0b10 << 62;
        bits |= u128::from(self.counter & ((1 << 30) - 1)) << 32;
        bits |= tail;
        Id::from_uuid(Uuid::from_u128(bits))
    }

    /// The generator behind the ids, for jitter.
    pub fn rng(&mut self) -> &mut fastrand::Rng {
        &mut self.rng
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_its_text_form() {
        let mut ids = IdSource::new(7);
        let id: RunId = ids.next(Timestamp::from_millis(1_700_000_000_000));
        assert_eq!(id.to_string().parse::<RunId>().unwrap(), id);
        assert_eq!(id.uuid().get_version_num(), 7);
        assert!(id.to_string().starts_with("run_"));
    }

    #[test]
    fn the_type_id_example_of_the_specification_reads_back() {
        let uuid: Uuid = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
        let id = RunId::from_uuid(uuid);
        assert_eq!(id.to_string(), "run_01h455vb4pex5vsknk084sn02q");
    }

    #[test]
    fn ids_rise_even_when_the_clock_goes_back() {
        let mut ids = IdSource::new(1);
        let mut last: WakeupId = ids.next(Timestamp::from_millis(5_000));
        for ms in [5_000, 4_000, 5_001, 5_001, 1] {
            let next = ids.next(Timestamp::from_millis(ms));
            assert!(next > last && next.to_string() > last.to_string());
            last = next;
        }
    }

    #[test]
    fn a_time_parts_the_ids_before_it_from_those_after() {
        let mut ids = IdSource::new(3);
        let before: RunId = ids.next(Timestamp::from_millis(4_999));
        let (bound, after) = (RunId::first_of(Timestamp::from_millis(5_000)), ids.next(Timestamp::from_millis(5_000)));
        assert!(before < bound && bound < after && before.to_string() < bound.to_string());
    }

    #[test]
    fn a_wrong_id_says_what_an_id_looks_like() {
        for text in ["agt_01h455vb4pex5vsknk084sn02q", "run_", "run_81h455vb4pex5vsknk084sn02q", "x"] {
            let error = text.parse::<RunId>().unwrap_err().to_string();
            assert!(error.contains("run_"), "{error}");
        }
    }
}
