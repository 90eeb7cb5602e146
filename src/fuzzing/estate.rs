use time::macros::datetime;

use crate::emulator::Estate;

/// An estate's file: the same text is the same estate, and what is refused is refused with its lines in order.
pub fn estate(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    // What is made by number is made in full: only so many that it takes no time.
    if file_of(text).is_some_and(|file| !is_small(&file)) {
        return;
    }
    let now = datetime!(2026-01-31 12:00 UTC);
    let read = || Estate::parse_at(text, now);
    match (read(), read()) {
        (Ok(one), Ok(other)) => assert_eq!(format!("{one:?}"), format!("{other:?}"), "the same text, another estate"),
        (Err(faults), Err(again)) => {
            assert!(!faults.is_empty(), "refused without a reason");
            assert_eq!(faults, again);
            assert!(faults.is_sorted_by_key(|fault| fault.line), "faults are not in the order of their lines");
            let lines = text.matches('\n').count() + 1;
            assert!(faults.iter().all(|fault| (1..=lines).contains(&fault.line)), "a fault is on no line");
        }
        _ => panic!("the same text is read now and refused then"),
    }
}

fn file_of(text: &str) -> Option<toml::Value> {
    text.parse().ok().map(toml::Value::Table)
}

fn is_small(value: &toml::Value) -> bool {
    let small = |count: &toml::Value| count.as_integer().is_none_or(|count| !(101..=1_000_000).contains(&count));
    match value {
        toml::Value::Table(table) => {
            table.iter().all(|(key, value)| (key != "count" || small(value)) && is_small(value))
        }
        toml::Value::Array(items) => items.iter().all(is_small),
        toml::Value::String(_)
        | toml::Value::Integer(_)
        | toml::Value::Float(_)
        | toml::Value::Boolean(_)
        | toml::Value::Datetime(_) => true,
    }
}
