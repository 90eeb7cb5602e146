//! `[[client]]`: who may read what. Any entry makes everything forbidden that none grants.

use std::ops::Range;

use toml::de::DeTable;

use super::kinds::{Raw, count, name, text, texts};
use super::reader::{At, Reader, Section};
use crate::access::{Client, OVERFLOW};
use crate::rights::Pattern;

/// Keys that are no settings, with what to do instead.
const ELSEWHERE: &[(&str, &str)] =
    &[("token", "a token does not belong here: name a file that holds it in token_file")];

/// All clients of the file.
pub(super) fn clients<'r>(reader: &'r Reader<'r>, tables: &[(&'r DeTable<'r>, Range<usize>)]) -> Vec<Client> {
    let mut clients: Vec<Client> = Vec::new();
    for (at, table) in tables.iter().enumerate() {
        let section = Section::new(reader, format!("client[{}]", at + 1), None, Some(table.clone()));
        let client = client(section, &clients);
        clients.push(client);
    }
    clients
}

fn client(section: Section<'_>, earlier: &[Client]) -> Client {
    let name = section.read("name", name);
    if name.is_none() && !section.is_set("name") {
        section.fault_of_absent("name", "must be set: it is how the log calls the client");
    }
    if let Some(At { value, place }) = &name
        && earlier.iter().any(|other| other.name == *value)
    {
        section.fault_at(place.clone(), "name", "another client has that name already");
    }
    let uid = section.read("uid", id);
    let gid = section.read("gid", id);
    let token_file = section.path("token_file");
    if let Some(At { value, place }) = &token_file
        && earlier.iter().any(|other| other.token_file.as_ref() == Some(value))
    {
        section.fault_at(place.clone(), "token_file", "another client has that file already: give each its own token");
    }
    let certificate = section.read("certificate", certificate);
    if let Some(At { place, .. }) = certificate.as_ref().filter(|_| uid.is_some() || gid.is_some()) {
        let what = "cannot stand beside uid or gid: those are shown on the unix socket, a certificate under TLS";
        section.fault_at(place.clone(), "certificate", what);
    }
    if ["uid", "gid", "token_file", "certificate"].into_iter().all(|key| !section.is_set(key)) {
        section.fault_of_absent("", "nothing says who it is: set uid, gid, token_file or certificate");
    }
    let (read, list) = (patterns(&section, "read"), patterns(&section, "list"));
    section.finish(ELSEWHERE);
    Client {
        name: name.map(|at| at.value).unwrap_or_default(),
        uid: uid.map(|at| at.value),
        gid: gid.map(|at| at.value),
        token_file: token_file.map(|at| at.value),
        certificate: certificate.map(|at| at.value),
        read,
        list,
    }
}

/// Of a user or a group.
fn id(raw: Raw<'_>) -> Result<u32, String> {
    match u32::try_from(count(raw)?) {
        Ok(OVERFLOW) => {
            Err(format!("{OVERFLOW} stands for every user and group that this machine does not know: it is nobody"))
        }
        Ok(u32::MAX) | Err(_) => Err("expected the number of a user or a group".to_owned()),
        Ok(id) => Ok(id),
    }
}

fn certificate(raw: Raw<'_>) -> Result<String, String> {
    let name = text(raw)?;
    let fits = name.bytes().all(|b| b.is_ascii_graphic()) && !name.contains(['*', ',']);
    if fits { Ok(name) } else { Err("expected one DNS name or URI, as the certificate has it, without '*'".to_owned()) }
}

fn patterns(section: &Section<'_>, key: &'static str) -> Vec<Pattern> {
    let Some(At { value, place }) = section.read(key, texts) else { return Vec::new() };
    let mut patterns = Vec::new();
    for (at, pattern) in value.iter().enumerate() {
        match pattern.parse() {
            Ok(pattern) => patterns.push(pattern),
            Err(why) => section.fault_at(place.clone(), key, format!("entry {}: {why}", at + 1)),
        }
    }
    patterns
}
