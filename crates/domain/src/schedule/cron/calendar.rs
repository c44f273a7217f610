//! What a pattern matches on a calendar without a zone: local times as seconds since 1970.

use jiff::civil::Date;

use super::Fields;

const DAY: i64 = 86_400;

/// A local time outside of what can be reckoned with is no time.
const LOCAL_MAX: i64 = 253_000_000_000;

impl Fields {
    /// The first match from `from` on and before `until`; `steps` grows by one for each month looked at.
    pub(super) fn first_in(&self, from: i64, until: i64, steps: &mut u64) -> Option<i64> {
        if from >= until || until > LOCAL_MAX {
            return None;
        }
        // What is left of the first day.
        let (today, second) = (from.div_euclid(DAY), from.rem_euclid(DAY));
        *steps += 1;
        if self.day_matches(today)
            && let Some(found) = self.second_from(second)
        {
            return Some(today * DAY + found).filter(|found| *found < until);
        }
        let opening = self.second_from(0)?;
        let mut month = Month::of(today + 1)?;
        loop {
            *steps += 1;
            let skipped = (today + 1 - month.first_day).max(0);
            let days = self.days_of(&month) >> 1 >> skipped;
            if days != 0 {
                let day = month.first_day + skipped + i64::from(days.trailing_zeros());
                return Some(day * DAY + opening).filter(|found| *found < until);
            }
            month = month.next()?;
            if month.first_day * DAY >= until {
                return None;
            }
        }
    }

    /// How many matches there are from `from` on and before `until`.
    pub(super) fn count_in(&self, from: i64, until: i64) -> u64 {
        if from >= until || until > LOCAL_MAX {
            return 0;
        }
        self.count_before(until, from).saturating_sub(self.count_before(from, from))
    }

    /// How many matches there are before `until`, counted from the day of `from`.
    fn count_before(&self, until: i64, from: i64) -> u64 {
        let (first, last) = (from.div_euclid(DAY), until.div_euclid(DAY));
        let a_day = u64::from(self.hours.count_ones() * self.minutes.count_ones() * self.seconds.count_ones());
        let mut days = 0;
        let mut month = Month::of(first);
        while let Some(this) = month.filter(|month| month.first_day < last) {
            let mut matching = u64::from(self.days_of(&this)) >> 1;
            matching &= u64::MAX << (first - this.first_day).clamp(0, 63);
            matching &= !(u64::MAX << (last - this.first_day).clamp(0, 63));
            days += u64::from(matching.count_ones());
            month = this.next();
        }
        let rest = if self.day_matches(last) { self.seconds_before(until.rem_euclid(DAY)) } else { 0 };
        days * a_day + rest
    }

    fn day_matches(&self, day: i64) -> bool {
        Month::of(day).is_some_and(|month| self.days_of(&month) & (2 << (day - month.first_day)) != 0)
    }

    /// The matching days of a month; bit 1 is the first.
    fn days_of(&self, month: &Month) -> u32 {
        if self.months & (1 << month.number) == 0 {
            return 0;
        }
        let days = &self.days;
        let all = !(u32::MAX << month.length) << 1;
        let mut of_month = days.of_month & all;
        if days.last_of_month {
            of_month |= 1 << month.length;
        }
        let mut of_week = 0;
        for weekday in 0..7 {
            let first = 1 + (weekday + 7 - month.weekday_of_first) % 7;
            let each = (0..5).map(|week| first + 7 * week).filter(|day| *day <= month.length);
            for (week, day) in each.enumerate() {
                let is_last = day + 7 > month.length;
                let is_meant = days.of_week & (1 << weekday) != 0
                    || days.nth[weekday as usize] & (2 << week) != 0
                    || is_last && days.last_of_week & (1 << weekday) != 0;
                of_week |= u32::from(is_meant) << day;
            }
        }
        let either = !days.of_month_starred && !days.of_week_starred;
        if either { of_month | of_week } else { of_month & of_week }
    }

    /// The first matching second of a day from `from` on.
    fn second_from(&self, from: i64) -> Option<i64> {
        let (hour, minute, second) = (from / 3_600, from / 60 % 60, from % 60);
        let [hours, minutes, seconds] = [u64::from(self.hours), self.minutes, self.seconds];
        let at = |hour: i64, minute: i64, second: i64| hour * 3_600 + minute * 60 + second;
        if has(hours, hour) {
            if has(minutes, minute)
                && let Some(second) = bit_from(seconds, second)
            {
                return Some(at(hour, minute, second));
            }
            if let Some(minute) = bit_from(minutes, minute + 1) {
                return Some(at(hour, minute, bit_from(seconds, 0)?));
            }
        }
        let hour = bit_from(hours, hour + 1)?;
        Some(at(hour, bit_from(minutes, 0)?, bit_from(seconds, 0)?))
    }

    /// How many matching seconds a day has before `until`.
    fn seconds_before(&self, until: i64) -> u64 {
        let (hour, minute, second) = (until / 3_600, until / 60 % 60, until % 60);
        let [hours, minutes, seconds] = [u64::from(self.hours), self.minutes, self.seconds];
        let ones = |bits: u64| u64::from(bits.count_ones());
        let below = |bits: u64, limit: i64| ones(bits & !(u64::MAX << limit));
        let mut count = below(hours, hour) * ones(minutes) * ones(seconds);
        if has(hours, hour) {
            count += below(minutes, minute) * ones(seconds);
            if has(minutes, minute) {
                count += below(seconds, second);
            }
        }
        count
    }
}

fn has(bits: u64, place: i64) -> bool {
    bits & (1 << place) != 0
}

/// The lowest bit from `place` on; a place is at most 60.
fn bit_from(bits: u64, place: i64) -> Option<i64> {
    let rest = bits & (u64::MAX << place);
    (rest != 0).then(|| i64::from(rest.trailing_zeros()))
}

/// A month of a year, by days since 1970.
struct Month {
    year: i16,
    number: i8,
    first_day: i64,
    length: u32,
    /// 0 is Sunday.
    weekday_of_first: u32,
}

impl Month {
    /// The month of a day.
    fn of(day: i64) -> Option<Month> {
        let epoch = Date::constant(1970, 1, 1);
        let date = epoch.checked_add(jiff::Span::new().try_days(day).ok()?).ok()?;
        Month::new(date.year(), date.month(), day - i64::from(date.day()) + 1)
    }

    fn next(&self) -> Option<Month> {
        let (year, number) = if self.number == 12 { (self.year + 1, 1) } else { (self.year, self.number + 1) };
        Month::new(year, number, self.first_day + i64::from(self.length))
    }

    fn new(year: i16, number: i8, first_day: i64) -> Option<Month> {
        let first = Date::new(year, number, 1).ok()?;
        // 1970-01-01 was a Thursday.
        let weekday_of_first = (first_day + 4).rem_euclid(7) as u32;
        Some(Month { year, number, first_day, length: first.days_in_month().unsigned_abs().into(), weekday_of_first })
    }
}
