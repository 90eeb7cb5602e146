use sidekey::snapshot::{Bounds, Contents, ReadError, Snapshot};
use std::time::Duration;
use time::OffsetDateTime;

use super::{BOUNDS, HOUR, IDENTITY, MINUTE, Place, TAKEN, VALUE, assert_same, holding_only, sample};

const YEAR: Duration = Duration::from_secs(365 * 24 * 3_600);

#[test]
fn another_identitys_snapshot_is_refused_and_left_for_its_owner() {
    let place = Place::holding(&sample());
    for other in [&b""[..], b"prod tenant-1 client-2 public", &[IDENTITY, b"x"].concat()] {
        let read = Snapshot::new(place.file(), place.key(), other).read(TAKEN, BOUNDS);
        assert!(matches!(read, Err(ReadError::OtherIdentity { .. })), "{read:?}");
    }
    assert_same(&place.read().contents, &sample());
}

#[test]
fn a_snapshot_is_refused_past_its_age_and_read_again_if_the_clock_was_wrong() {
    let place = Place::holding(&holding_only(VALUE));
    let bounds = Bounds { max_age: HOUR, max_stale: YEAR };
    assert!(place.snapshot().read(TAKEN + HOUR, bounds).is_ok());
    let read = place.snapshot().read(TAKEN + HOUR + MINUTE, bounds);
    let Err(error @ ReadError::TooOld { .. }) = read else { panic!("{read:?}") };
    assert!(error.to_string().ends_with("is 1h 1m old and is not used: 1h is the most"), "{error}");
    assert!(place.snapshot().read(TAKEN, bounds).is_ok());
}

#[test]
fn values_past_the_bound_are_dropped_and_the_others_have_their_true_age() {
    let place = Place::holding(&sample());
    let bounds = Bounds { max_stale: HOUR + MINUTE * 10, ..BOUNDS };
    let restored = place.snapshot().read(TAKEN + MINUTE * 10, bounds).unwrap().unwrap();
    let ages: Vec<_> = restored.contents.values.iter().map(|known| restored.age(known.confirmed)).collect();
    assert_eq!((ages, restored.too_old), (vec![MINUTE * 11, MINUTE * 10], 1));
    assert_eq!(restored.contents.vaults, sample().vaults, "what a listing told is not dropped");
    assert_eq!(restored.age(TAKEN - MINUTE), MINUTE * 11);
}

#[test]
fn without_stale_reads_nothing_is_restored() {
    let place = Place::holding(&sample());
    for now in [TAKEN, TAKEN - YEAR] {
        let restored = place.snapshot().read(now, Bounds { max_stale: Duration::ZERO, ..BOUNDS }).unwrap().unwrap();
        assert_eq!((restored.contents.values.len(), restored.too_old), (0, 3));
    }
}

#[test]
fn a_clock_that_went_back_makes_nothing_fresh() {
    let place = Place::holding(&sample());
    for back in [MINUTE + Duration::from_secs(1), YEAR, YEAR * 10] {
        let restored = place.snapshot().read(TAKEN - back, BOUNDS).unwrap().unwrap();
        assert!(!restored.ages_known);
        assert_eq!(restored.contents.values.len(), 3, "they are served, as stale");
        for known in &restored.contents.values {
            assert_eq!(restored.age(known.confirmed), BOUNDS.max_stale - HOUR);
        }
        // A bound that is short leaves a quarter of it.
        let bounds = Bounds { max_stale: HOUR, ..BOUNDS };
        let restored = place.snapshot().read(TAKEN - back, bounds).unwrap().unwrap();
        assert_eq!(restored.age(TAKEN), MINUTE * 45);
        assert_eq!(restored.too_old, 1, "one was an hour old when it was taken");
    }
}

#[test]
fn a_clock_corrected_by_seconds_takes_nothing_off_an_age() {
    let place = Place::holding(&sample());
    let restored = place.snapshot().read(TAKEN - MINUTE, BOUNDS).unwrap().unwrap();
    let ages: Vec<_> = restored.contents.values.iter().map(|known| restored.age(known.confirmed)).collect();
    assert_eq!((ages, restored.ages_known), (vec![MINUTE, Duration::ZERO, HOUR], true));
}

#[test]
fn times_at_the_ends_of_the_calendar_do_no_harm() {
    let ends = [OffsetDateTime::UNIX_EPOCH - YEAR * 1_000, time::macros::datetime!(9999-12-31 23:59:59.999999999 UTC)];
    for taken in ends {
        let place = Place::holding(&Contents { taken, ..sample() });
        for now in ends {
            let _ = place.snapshot().read(now, Bounds { max_age: Duration::MAX, max_stale: Duration::MAX });
        }
    }
}
