use super::*;

fn at(text: &str) -> UnixMillis {
    UnixMillis::new(text.parse::<Timestamp>().unwrap().as_millisecond())
}

fn shown(at: UnixMillis) -> String {
    Timestamp::from_millisecond(at.get()).unwrap().to_string()
}

fn windows(period: &str, zone: Option<&str>, anchor: &str) -> Windows {
    let alignment = zone.map_or(Alignment::Rolling, |zone| Alignment::Calendar(Zone::parse(zone).unwrap()));
    Windows { period: period.parse().unwrap(), alignment, anchor: at(anchor) }
}

#[test]
fn a_period_is_a_count_and_a_unit_or_total() {
    for text in ["1h", "1d", "2w", "1M", "12M", "1Y", "1000h", "total"] {
        assert_eq!(text.parse::<Period>().map(|period| period.to_string()), Ok(text.to_owned()));
    }
    for bad in ["", "h", "0h", "1001h", "-1d", "+1d", "1m", "1 d", "d1", "1.5d", "Total", "00001d", "1ä"] {
        assert_eq!(bad.parse::<Period>(), Err(InvalidPeriod), "{bad}");
    }
}

#[test]
fn each_instant_lies_in_one_window() {
    for (period, zone, now, start, end) in [
        // Month ends and the leap day.
        ("1M", Some("UTC"), "2028-02-29T23:59:59.999Z", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"),
        ("1M", Some("UTC"), "2028-03-01T00:00:00Z", "2028-03-01T00:00:00Z", "2028-04-01T00:00:00Z"),
        ("1d", Some("UTC"), "2028-02-29T12:00:00Z", "2028-02-29T00:00:00Z", "2028-03-01T00:00:00Z"),
        ("3M", Some("UTC"), "2026-11-25T00:00:00Z", "2026-10-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ("1Y", Some("UTC"), "2026-12-31T23:59:59Z", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ("1w", Some("UTC"), "2026-11-29T23:59:59Z", "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z"),
        // A month by the clocks of a place.
        ("1M", Some("Europe/Berlin"), "2026-10-31T22:59:59Z", "2026-09-30T22:00:00Z", "2026-10-31T23:00:00Z"),
        ("1M", Some("Europe/Berlin"), "2026-10-31T23:00:00Z", "2026-10-31T23:00:00Z", "2026-11-30T23:00:00Z"),
        // Summer time begins: a day of 23 hours. It ends: one of 25.
        ("1d", Some("Europe/Berlin"), "2026-03-29T10:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
        ("1d", Some("Europe/Berlin"), "2026-10-25T10:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
        ("1d", Some("America/New_York"), "2026-03-08T12:00:00Z", "2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z"),
        ("1d", Some("America/New_York"), "2026-11-01T12:00:00Z", "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z"),
        // The hour that is skipped, and the one that is repeated.
        ("1h", Some("Europe/Berlin"), "2026-03-29T01:00:00Z", "2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"),
        ("1h", Some("Europe/Berlin"), "2026-10-25T00:30:00Z", "2026-10-25T00:00:00Z", "2026-10-25T02:00:00Z"),
        ("1h", Some("Europe/Berlin"), "2026-10-25T01:30:00Z", "2026-10-25T00:00:00Z", "2026-10-25T02:00:00Z"),
        ("1h", Some("America/New_York"), "2026-11-01T06:30:00Z", "2026-11-01T05:00:00Z", "2026-11-01T07:00:00Z"),
        // Blocks that do not divide the day end with it.
        ("5h", Some("UTC"), "2026-11-25T23:00:00Z", "2026-11-25T20:00:00Z", "2026-11-26T00:00:00Z"),
        // Rolling from the creation; a month later than the 31st is the last day of a shorter month.
        ("1h", None, "2026-01-31T11:30:00Z", "2026-01-31T11:15:00Z", "2026-01-31T12:15:00Z"),
        ("1M", None, "2026-02-28T10:15:00Z", "2026-02-28T10:15:00Z", "2026-03-31T10:15:00Z"),
        ("1M", None, "2026-02-28T10:14:59Z", "2026-01-31T10:15:00Z", "2026-02-28T10:15:00Z"),
        ("1M", None, "2028-02-29T10:15:00Z", "2028-02-29T10:15:00Z", "2028-03-31T10:15:00Z"),
        ("7d", None, "2026-02-07T10:15:00Z", "2026-02-07T10:15:00Z", "2026-02-14T10:15:00Z"),
        ("1Y", None, "2027-01-31T10:15:00Z", "2027-01-31T10:15:00Z", "2028-01-31T10:15:00Z"),
        ("1d", None, "2020-01-01T00:00:00Z", "2026-01-31T10:15:00Z", "2026-02-01T10:15:00Z"),
    ] {
        let window = windows(period, zone, "2026-01-31T10:15:00Z").at(at(now));
        assert_eq!((shown(window.start), window.end.map(shown)), (start.into(), Some(end.into())), "{period} {now}");
    }
    let total = windows("total", None, "2026-01-31T10:15:00Z").at(at("2036-01-01T00:00:00Z"));
    assert_eq!((shown(total.start), total.end), ("2026-01-31T10:15:00Z".into(), None));
}

#[test]
fn an_instant_beyond_the_calendar_lies_in_some_window() {
    for zone in [None, Some("UTC"), Some("Europe/Berlin")] {
        for period in ["1h", "1000h", "1d", "1w", "1M", "1000Y"] {
            let windows = windows(period, zone, "2026-01-31T10:15:00Z");
            for millis in [i64::MIN, i64::MIN + 1, -1, 253_402_300_800_000, i64::MAX - 1, i64::MAX] {
                assert!(windows.at(UnixMillis::new(millis)).end.is_some(), "{zone:?} {period} {millis}");
            }
        }
    }
}

#[test]
fn windows_follow_each_other_without_gap_or_overlap() {
    for zone in [None, Some("UTC"), Some("Europe/Berlin"), Some("America/New_York"), Some("Australia/Lord_Howe")] {
        for period in ["1h", "5h", "7h", "1d", "3d", "1w", "1M", "5M", "1Y"] {
            let windows = windows(period, zone, "2026-01-31T10:15:00Z");
            let mut window = windows.at(at("2026-02-01T00:00:00Z"));
            for _ in 0..400 {
                let end = window.end.unwrap();
                assert!(window.start < end, "{zone:?} {period}");
                let last = windows.at(UnixMillis::new(end.get() - 1));
                assert_eq!(last, window, "{zone:?} {period} {}", shown(end));
                let next = windows.at(end);
                assert_eq!(next.start, end, "{zone:?} {period} {}", shown(end));
                window = next;
            }
        }
    }
}

#[test]
fn a_zone_is_one_of_the_database() {
    assert_eq!(Zone::parse("Europe/Berlin").unwrap().name(), "Europe/Berlin");
    assert_eq!(Zone::utc().name(), "UTC");
    for bad in ["", "Berlin", "Europe/Atlantis", "../etc/passwd"] {
        assert!(Zone::parse(bad).is_err(), "{bad}");
    }
}
