//! `EnvironmentFile=`: a service of a real systemd, which is the first process of a world of its own.

use sidekey::hydrate::Format;

use super::{Trip, pairs, program_with, reader, told_as_left_out};

fn cannot(value: &[u8]) -> bool {
    let non_character = |c| matches!(u32::from(c), 0xfdd0..=0xfdef) || u32::from(c) & 0xfffe == 0xfffe;
    std::str::from_utf8(value).map_or(true, |text| text.chars().any(non_character))
}

#[test]
fn a_service_gets_what_went_in() {
    let trip = Trip::of(Format::Systemd);
    trip.refuses(cannot);
    let out = trip.folder.path().join("out").display().to_string();
    let run = program_with("bash", &trip.path(), &[&reader("systemd.sh"), "{}", &out]).output().unwrap();
    let Some(found) = std::fs::read(&out).ok().filter(|_| run.status.success()) else {
        return told_as_left_out(&format!("systemd (wants root): {}", String::from_utf8_lossy(&run.stderr)));
    };
    let mut found = pairs(&found);
    found.retain(|name, _| !["INVOCATION_ID", "SYSTEMD_EXEC_PID"].contains(&name.as_str()));
    trip.same("systemd", found);
}

/// Its rules for double quotes, where no systemd runs.
#[test]
fn systemd_s_rules_give_what_went_in() {
    let trip = Trip::of(Format::Systemd);
    let text = String::from_utf8(trip.page.clone()).unwrap();
    let (mut found, mut chars) = (super::Found::new(), text.chars());
    loop {
        let name: String = chars.by_ref().take_while(|c| *c != '=').collect();
        if name.is_empty() {
            break;
        }
        assert_eq!(chars.next(), Some('"'));
        let mut value = String::new();
        while let Some(c) = chars.next().filter(|c| *c != '"') {
            match c {
                '\\' => match chars.next().unwrap() {
                    '\n' => {}
                    c if "\"\\`$".contains(c) => value.push(c),
                    c => value.extend(['\\', c]),
                },
                c => value.push(c),
            }
        }
        assert_eq!(chars.next(), Some('\n'));
        found.insert(name, value.into_bytes());
    }
    trip.same("systemd's rules", found);
}
