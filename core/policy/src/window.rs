//! The windows over which a budget counts: their length, where they begin, and which one an instant lies in.
//!
//! Windows of one budget follow each other without gap or overlap, so that each instant lies in exactly one. A window that
//! is aligned to the calendar begins and ends by the clocks of its time zone: with a change to summer time a day has 23
//! hours, and the hour that clocks repeat in autumn belongs to one window of an hour.

use std::{fmt, str::FromStr};

use jiff::{
    Span as Distance, Timestamp, ToSpan as _, Unit as Calendar, Zoned,
    civil::{Date, DateTime, Weekday, date},
    tz::TimeZone,
};

use crate::time::UnixMillis;

/// The most units of one window.
pub const COUNT_MAX: u32 = 1_000;

/// What lengths of windows are counted in.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Unit {
    /// `h`.
    Hour,
    /// `d`.
    Day,
    /// `w`: begins on Monday.
    Week,
    /// `M`.
    Month,
    /// `Y`.
    Year,
}

/// How long a window is.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Period {
    /// It never ends: a prepaid amount.
    Total,
    /// So many units.
    Every {
        /// 1 to [`COUNT_MAX`].
        count: u32,
        /// Of what.
        unit: Unit,
    },
}

/// Where windows begin.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Alignment {
    /// At the budget's creation, and every period after it; months and years in UTC.
    Rolling,
    /// At the beginning of a unit by the clocks of a place.
    Calendar(Zone),
}

/// A time zone of the IANA database, such as `Europe/Berlin`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Zone(TimeZone);

/// The windows of a budget.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Windows {
    /// How long each is.
    pub period: Period,
    /// Where they begin.
    pub alignment: Alignment,
    /// The budget's creation: where rolling windows, and the only window of [`Period::Total`], begin.
    pub anchor: UnixMillis,
}

/// One window: from its start, up to and without its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Window {
    /// The first instant. Names the window among those of its budget.
    pub start: UnixMillis,
    /// The first instant behind it; `None`: it never ends.
    pub end: Option<UnixMillis>,
}

/// A text that is not a period.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("must be a number from 1 to 1000 and a unit of h, d, w, M (month) or Y, such as 1d or 3M, or the word total")]
pub struct InvalidPeriod;

/// A text that names no time zone.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("must be a time zone of the IANA database, such as UTC or Europe/Berlin")]
pub struct InvalidZone;

// === impl Period ===

impl FromStr for Period {
    type Err = InvalidPeriod;

    fn from_str(text: &str) -> Result<Self, InvalidPeriod> {
        if text == "total" {
            return Ok(Self::Total);
        }
        let (digits, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or(InvalidPeriod)?;
        let unit = match unit {
            "h" => Unit::Hour,
            "d" => Unit::Day,
            "w" => Unit::Week,
            "M" => Unit::Month,
            "Y" => Unit::Year,
            _ => return Err(InvalidPeriod),
        };
        let plain = !digits.is_empty() && digits.len() <= 4 && digits.bytes().all(|byte| byte.is_ascii_digit());
        let count = digits.parse().ok().filter(|count| plain && (1..=COUNT_MAX).contains(count));
        count.map(|count| Self::Every { count, unit }).ok_or(InvalidPeriod)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Every { count, unit } = self else { return f.write_str("total") };
        let unit = match unit {
            Unit::Hour => 'h',
            Unit::Day => 'd',
            Unit::Week => 'w',
            Unit::Month => 'M',
            Unit::Year => 'Y',
        };
        write!(f, "{count}{unit}")
    }
}

// === impl Zone ===

impl Zone {
    /// Coordinated Universal Time.
    #[must_use]
    pub const fn utc() -> Self {
        Self(TimeZone::UTC)
    }

    /// Looks a time zone up by its name.
    ///
    /// # Errors
    /// Refuses a name that the database does not have.
    pub fn parse(name: &str) -> Result<Self, InvalidZone> {
        TimeZone::get(name).map(Self).map_err(|_| InvalidZone)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }
}

// === impl Windows ===

impl Windows {
    /// The window in which an instant lies. An instant before the budget's creation lies in its first rolling window.
    #[must_use]
    pub fn at(&self, now: UnixMillis) -> Window {
        let Period::Every { count, unit } = self.period else {
            return Window { start: self.anchor, end: None };
        };
        match &self.alignment {
            Alignment::Rolling => rolling(self.anchor, count, unit, now),
            Alignment::Calendar(zone) => calendar(&zone.0, count, unit, now),
        }
    }
}

// === impl Window ===

impl Window {
    /// How long it still lasts, in milliseconds; `None`: it never ends.
    #[must_use]
    pub fn left(&self, now: UnixMillis) -> Option<i64> {
        self.end.map(|end| end.get().saturating_sub(now.get()).max(0))
    }
}

// Months differ in length, so the number of the window is estimated from below and then counted up to.
fn rolling(anchor: UnixMillis, count: u32, unit: Unit, now: UnixMillis) -> Window {
    let from = instant(anchor).to_zoned(TimeZone::UTC);
    let begin = |number: i64| {
        let at = distance(count, unit, number).and_then(|distance| from.checked_add(distance).ok());
        at.map_or(i64::MAX, |at| millis(&at))
    };
    let elapsed = now.get().saturating_sub(anchor.get()).max(0);
    let mut number = elapsed / longest_ms(count, unit);
    while begin(number + 1) <= now.get() && begin(number) < i64::MAX {
        number += 1;
    }
    Window { start: UnixMillis::new(begin(number)), end: Some(UnixMillis::new(begin(number + 1))) }
}

// `None`: beyond the calendar.
fn distance(count: u32, unit: Unit, number: i64) -> Option<Distance> {
    let units = i64::from(count).saturating_mul(number);
    let distance = Distance::new();
    match unit {
        Unit::Hour => distance.try_hours(units),
        Unit::Day => distance.try_days(units),
        Unit::Week => distance.try_weeks(units),
        Unit::Month => distance.try_months(units),
        Unit::Year => distance.try_years(units),
    }
    .ok()
}

const fn longest_ms(count: u32, unit: Unit) -> i64 {
    let hours = match unit {
        Unit::Hour => 1,
        Unit::Day => 24,
        Unit::Week => 7 * 24,
        Unit::Month => 31 * 24,
        Unit::Year => 366 * 24,
    };
    count as i64 * hours * 3_600_000
}

fn calendar(zone: &TimeZone, count: u32, unit: Unit, now: UnixMillis) -> Window {
    let local = instant(now).to_zoned(zone.clone()).datetime();
    let (start, end) = bounds(local, i64::from(count), unit).unwrap_or((DateTime::MIN, DateTime::MAX));
    let clock = |at: DateTime| at.to_zoned(zone.clone()).map_or(i64::MAX, |at| millis(&at));
    Window { start: UnixMillis::new(clock(start)), end: Some(UnixMillis::new(clock(end))) }
}

// Blocks of hours count from midnight and end with the day; those of days from 1970-01-01, of weeks from the Monday behind
// it, of months and years from the year 0.
fn bounds(local: DateTime, count: i64, unit: Unit) -> Option<(DateTime, DateTime)> {
    let midnight = |day: Date| day.to_datetime(jiff::civil::Time::midnight());
    match unit {
        Unit::Hour => {
            let hour = i64::from(local.hour());
            let first = hour - hour % count;
            let start = local.date().at(i8::try_from(first).ok()?, 0, 0, 0);
            let next_day = midnight(local.date().tomorrow().ok()?);
            let end = if first + count >= 24 { next_day } else { start.checked_add(count.hours()).ok()? };
            Some((start, end))
        }
        Unit::Day | Unit::Week => {
            let first = if unit == Unit::Day { date(1970, 1, 1) } else { date(1970, 1, 5) };
            debug_assert!(unit == Unit::Day || first.weekday() == Weekday::Monday);
            let days = if unit == Unit::Day { count } else { count * 7 };
            let passed = i64::from(first.until((Calendar::Day, local.date())).ok()?.get_days());
            let start = first.checked_add((passed.div_euclid(days) * days).days()).ok()?;
            Some((midnight(start), midnight(start.checked_add(days.days()).ok()?)))
        }
        Unit::Month | Unit::Year => {
            let months = if unit == Unit::Month { count } else { count * 12 };
            let passed = i64::from(local.year()) * 12 + i64::from(local.month()) - 1;
            let start = passed.div_euclid(months) * months;
            Some((midnight(month(start)?), midnight(month(start + months)?)))
        }
    }
}

fn month(number: i64) -> Option<Date> {
    let year = i16::try_from(number.div_euclid(12)).ok()?;
    Date::new(year, i8::try_from(number.rem_euclid(12) + 1).ok()?, 1).ok()
}

fn instant(at: UnixMillis) -> Timestamp {
    Timestamp::from_millisecond(at.get()).unwrap_or(Timestamp::MAX)
}

fn millis(at: &Zoned) -> i64 {
    at.timestamp().as_millisecond()
}

#[cfg(test)]
mod tests;
