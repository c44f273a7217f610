//! Cron patterns read, and refused with the place and what to write instead.

use super::{Days, Fields};

/// A longer pattern is refused: none that a person wrote needs more.
const PATTERN_BYTES_MAX: usize = 256;

/// Why a text is no cron pattern: the field, the character and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CronError {
    message: String,
    /// The field, from 1; `None` if it is about the pattern as a whole.
    pub field: Option<usize>,
    /// The character in the pattern, from 1.
    pub character: Option<usize>,
}

impl CronError {
    fn whole(message: impl Into<String>) -> Self {
        Self { message: message.into(), field: None, character: None }
    }
}

/// One kind of field.
#[derive(Debug, Clone, Copy)]
struct Kind {
    name: &'static str,
    min: u32,
    max: u32,
    names: &'static [&'static str],
    /// What the field is a part of, for a step that is too long.
    of: &'static str,
}

const MONTHS: &[&str] = &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: &[&str] = &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

const SECOND: Kind = Kind { name: "second", min: 0, max: 59, names: &[], of: "a minute" };
const MINUTE: Kind = Kind { name: "minute", min: 0, max: 59, names: &[], of: "an hour" };
const HOUR: Kind = Kind { name: "hour", min: 0, max: 23, names: &[], of: "a day" };
const DAY_OF_MONTH: Kind = Kind { name: "day of month", min: 1, max: 31, names: &[], of: "a month" };
const MONTH: Kind = Kind { name: "month", min: 1, max: 12, names: MONTHS, of: "a year" };
/// 7 is Sunday too.
const DAY_OF_WEEK: Kind = Kind { name: "day of week", min: 0, max: 7, names: WEEKDAYS, of: "a week" };

const FIVE: &[Kind] = &[MINUTE, HOUR, DAY_OF_MONTH, MONTH, DAY_OF_WEEK];
const SIX: &[Kind] = &[SECOND, MINUTE, HOUR, DAY_OF_MONTH, MONTH, DAY_OF_WEEK];

const NICKNAMES: &[(&str, &str)] = &[
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

impl Kind {
    /// How many different values it has.
    fn values(&self) -> u32 {
        self.top() - self.min + 1
    }

    /// The highest value, once Sunday is 0.
    fn top(&self) -> u32 {
        if self.is_week() { 6 } else { self.max }
    }

    fn is_week(&self) -> bool {
        self.name == DAY_OF_WEEK.name
    }

    fn is_month_day(&self) -> bool {
        self.name == DAY_OF_MONTH.name
    }
}

/// A field of a pattern on its way to bits.
struct Field<'a> {
    kind: &'a Kind,
    /// Its place in the pattern, from 1.
    place: usize,
    bits: u64,
    days: Days,
}

/// A piece of a pattern, and the character of the pattern at which it begins, from 1.
#[derive(Clone, Copy)]
struct Piece<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Piece<'a> {
    /// What stands before and behind the first `mark`.
    fn split(self, mark: char) -> Option<(Piece<'a>, Piece<'a>)> {
        let (head, tail) = self.text.split_once(mark)?;
        let tail_at = self.at + head.chars().count() + 1;
        Some((Piece { text: head, at: self.at }, Piece { text: tail, at: tail_at }))
    }
}

/// What the pattern matches.
pub(super) fn pattern(text: &str) -> Result<Fields, CronError> {
    if text.len() > PATTERN_BYTES_MAX {
        let length = text.len();
        return Err(CronError::whole(format!("has {length} characters; at most {PATTERN_BYTES_MAX} are allowed")));
    }
    let trimmed = text.trim();
    if trimmed.starts_with('@') {
        let known = NICKNAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(trimmed));
        let names = "@hourly, @daily, @weekly, @monthly or @yearly";
        let refused = || CronError::whole(format!("`{trimmed}` is not known: write {names}, or a pattern"));
        return known.ok_or_else(refused).and_then(|(_, pattern)| fields(pattern));
    }
    fields(text)
}

fn fields(text: &str) -> Result<Fields, CronError> {
    let pieces = pieces(text);
    let kinds = match pieces.len() {
        5 => FIVE,
        6 => SIX,
        1 => {
            let remedy = "write 5 (minute, hour, day of month, month, day of week), as `0 9 * * MON-FRI`";
            return Err(CronError::whole(format!("has 1 field: {remedy}")));
        }
        count => {
            let remedy = "write 5 (minute, hour, day of month, month, day of week), or 6 with seconds first";
            return Err(CronError::whole(format!("has {count} fields: {remedy}")));
        }
    };
    let mut bits = [1; 6];
    let mut days = Days::default();
    // Without a field for them, seconds are 0.
    let shift = SIX.len() - kinds.len();
    for (index, (kind, piece)) in kinds.iter().zip(&pieces).enumerate() {
        let mut field = Field { kind, place: index + 1, bits: 0, days };
        field.read(*piece)?;
        (bits[index + shift], days) = (field.bits, field.days);
    }
    let [seconds, minutes, hours, of_month, months, of_week] = bits;
    days.of_month = of_month as u32;
    days.of_week = of_week as u8;
    Ok(Fields { seconds, minutes, hours: hours as u32, days, months: months as u16 })
}

/// The fields of a pattern, each with its place.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut found = Vec::new();
    let mut open: Option<(usize, usize)> = None;
    for (at, (byte, c)) in text.char_indices().enumerate() {
        match (c.is_ascii_whitespace(), open) {
            (true, Some((start, first))) => {
                found.push(Piece { text: &text[start..byte], at: first });
                open = None;
            }
            (false, None) => open = Some((byte, at + 1)),
            (true, None) | (false, Some(_)) => {}
        }
    }
    found.extend(open.map(|(start, first)| Piece { text: &text[start..], at: first }));
    found
}

impl Field<'_> {
    fn error(&self, at: usize, message: impl std::fmt::Display) -> CronError {
        let (place, name) = (self.place, self.kind.name);
        let message = format!("field {place} ({name}), character {at}: {message}");
        CronError { message, field: Some(place), character: Some(at) }
    }

    fn read(&mut self, piece: Piece<'_>) -> Result<(), CronError> {
        let starred = piece.text.starts_with('*');
        self.days.of_month_starred |= starred && self.kind.is_month_day();
        self.days.of_week_starred |= starred && self.kind.is_week();
        let mut rest = piece;
        while let Some((item, tail)) = rest.split(',') {
            self.item(item)?;
            rest = tail;
        }
        self.item(rest)
    }

    /// One item of the list: `*`, `5`, `1-5`, `*/15`, `MON#2`, `L`.
    fn item(&mut self, item: Piece<'_>) -> Result<(), CronError> {
        if item.text.is_empty() {
            return Err(self.error(item.at, "a value is missing: a list is written `1,15`"));
        }
        let (range, step) = match item.split('/') {
            Some((range, step)) => (range, Some(step)),
            None => (item, None),
        };
        if step.is_none() && self.special_day(item)? {
            return Ok(());
        }
        let (first, last) = self.range(range, step.is_some())?;
        let step = step.map_or(Ok(1), |step| self.step(step))?;
        // A range may run over the end: FRI-MON, 22-2.
        let length = if first <= last { last - first } else { last + self.kind.values() - first };
        for ahead in (0..=length).step_by(step as usize) {
            let value = (first - self.kind.min + ahead) % self.kind.values() + self.kind.min;
            self.bits |= 1 << value;
        }
        Ok(())
    }

    /// The first and the last value of `*`, `5`, `1-5`, or `5` before a step, which is `5-59`.
    fn range(&self, range: Piece<'_>, has_step: bool) -> Result<(u32, u32), CronError> {
        if range.text == "*" {
            return Ok((self.kind.min, self.kind.top()));
        }
        let Some((first, last)) = range.split('-') else {
            let value = self.week(self.value(range)?);
            return Ok((value, if has_step { self.kind.top() } else { value }));
        };
        let (first, last) = (self.value(first)?, self.value(last)?);
        // From Sunday to Sunday is the whole week.
        if self.kind.is_week() && (first, last) == (0, 7) {
            return Ok((0, 6));
        }
        Ok((self.week(first), self.week(last)))
    }

    /// Sunday is 0, also if written 7.
    fn week(&self, value: u32) -> u32 {
        if self.kind.is_week() { value % 7 } else { value }
    }

    fn value(&self, piece: Piece<'_>) -> Result<u32, CronError> {
        let (text, Kind { min, max, names, .. }) = (piece.text, *self.kind);
        if text.is_empty() {
            return Err(self.error(piece.at, format!("a value between {min} and {max} is missing")));
        }
        if text.bytes().all(|b| b.is_ascii_digit()) {
            let value: Option<u32> = text.parse().ok();
            return value
                .filter(|value| (min..=max).contains(value))
                .ok_or_else(|| self.error(piece.at, format!("`{text}` is not between {min} and {max}")));
        }
        if let Some(place) = names.iter().position(|name| name.eq_ignore_ascii_case(text)) {
            return Ok(place as u32 + min);
        }
        let also = match names {
            [first, .., last] => format!(", or a name from {first} to {last}"),
            _ => String::new(),
        };
        let remedy = match text {
            "?" => "write `*` for any".into(),
            "W" | "w" => "the nearest working day is not supported; name the days, as MON-FRI".into(),
            _ => format!("write a number between {min} and {max}{also}"),
        };
        Err(self.error(piece.at, format!("`{text}` is not known: {remedy}")))
    }

    fn step(&self, piece: Piece<'_>) -> Result<u32, CronError> {
        let (text, values, of) = (piece.text, self.kind.values(), self.kind.of);
        let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let step = is_number.then(|| text.parse::<u32>().ok()).flatten();
        match step {
            Some(step) if (1..=values).contains(&step) => Ok(step),
            Some(step) if step > values => {
                let remedy = r#"`{"every": …}` goes over it"#;
                Err(self
                    .error(piece.at, format!("a step of {step} does not fit into {of}: at most {values}; {remedy}")))
            }
            _ => Err(self.error(piece.at, format!("`{text}` is not a step: write a number from 1 to {values}"))),
        }
    }

    /// Reads `L`, `5L` and `MON#2`; false if it is none of them.
    fn special_day(&mut self, item: Piece<'_>) -> Result<bool, CronError> {
        let is_last = item.text.ends_with(['L', 'l']);
        if self.kind.is_month_day() && item.text.eq_ignore_ascii_case("L") {
            self.days.last_of_month = true;
            return Ok(true);
        }
        if !self.kind.is_week() {
            return Ok(false);
        }
        if let Some((day, nth)) = item.split('#') {
            let day = self.week(self.value(day)?) as usize;
            if nth.text.eq_ignore_ascii_case("L") {
                self.days.last_of_week |= 1 << day;
                return Ok(true);
            }
            let number = nth.text.parse::<u8>().ok().filter(|number| (1..=5).contains(number) && nth.text.len() == 1);
            let Some(number) = number else {
                let message = format!("`{}` is not between 1 and 5: the second Monday is MON#2", nth.text);
                return Err(self.error(nth.at, message));
            };
            self.days.nth[day] |= 1 << number;
            return Ok(true);
        }
        if is_last {
            let day = &item.text[..item.text.len() - 1];
            if day.is_empty() {
                return Err(self.error(item.at, "`L` needs its day: the last Friday is 5L, Saturday is 6"));
            }
            let day = self.week(self.value(Piece { text: day, at: item.at })?);
            self.days.last_of_week |= 1 << day;
        }
        Ok(is_last)
    }
}
