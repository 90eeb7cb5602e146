//! What a process leaves: what the kernel shows of it, files, and its memory.
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::forms::Scanner;

/// As the emulator issues them: a word, a dot, and 32 bytes in base64url.
pub fn holds_access_token(bytes: &[u8]) -> bool {
    memchr::memmem::find_iter(bytes, b"emulated.").any(|at| {
        let letters = bytes[at + 9..].iter().take_while(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte));
        letters.count() >= 40
    })
}

/// Everything under `/proc/PID` that is a text, and the names of what is open.
pub fn of_process(pid: u32) -> BTreeMap<String, Vec<u8>> {
    let root = format!("/proc/{pid}");
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(&root).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        // Memory is searched by itself; the others have no end, or none of the process's own words.
        if ["mem", "pagemap", "clear_refs", "kpagecgroup"].contains(&name.as_str()) || !entry.path().is_file() {
            continue;
        }
        if let Ok(bytes) = fs::read(entry.path()) {
            found.insert(format!("proc {name}"), bytes);
        }
    }
    let mut open = String::new();
    for entry in fs::read_dir(format!("{root}/fd")).into_iter().flatten().flatten() {
        open.push_str(&fs::read_link(entry.path()).unwrap_or_default().to_string_lossy());
        open.push('\n');
    }
    assert!(!open.contains("secretmem"), "the key's page can be had by its descriptor: {open}");
    found.insert("open files".to_owned(), open.into_bytes());
    assert!(found.len() > 5 && found.contains_key("proc environ"), "{:?}", found.keys());
    found
}

/// Every file beneath, but for those of these names.
pub fn of_folder(folder: &Path, but: &[&str]) -> BTreeMap<String, Vec<u8>> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            if path.is_dir() {
                folders.push(path);
            } else if path.is_file() && !but.contains(&name.as_str()) {
                found.insert(format!("file {name}"), fs::read(path).unwrap());
            }
        }
    }
    found
}

/// What is found in what root can read of its memory, with the place.
pub fn memory(pid: u32, scanner: &Scanner) -> Vec<String> {
    let (maps, mut found) = (fs::read_to_string(format!("/proc/{pid}/maps")).unwrap(), Vec::new());
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut hidden = 0;
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let (range, rights) = (words.next().unwrap(), words.next().unwrap());
        let place = words.nth(3).unwrap_or("unnamed");
        let (from, to) = range.split_once('-').unwrap();
        let [from, to] = [from, to].map(|address| u64::from_str_radix(address, 16).unwrap());
        // What cannot be written holds no more than the files that it is mapped from.
        if !rights.starts_with("rw") {
            continue;
        }
        if place.contains("secretmem") {
            assert!(memory.read_exact_at(&mut [0], from).is_err(), "root reads the key's page");
            hidden += 1;
            continue;
        }
        let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
        if memory.read_exact_at(&mut bytes, from).is_err() {
            // Pages that guard a stack cannot be read by anybody; what is beside them can.
            for (page, at) in bytes.chunks_mut(4_096).zip((from..to).step_by(4_096)) {
                let _ = memory.read_exact_at(page, at);
            }
        }
        found.extend(scanner.hits(&bytes).into_iter().map(|hit| format!("{hit} in memory at {place}")));
        if holds_access_token(&bytes) {
            found.push(format!("an access token in memory at {place}"));
        }
    }
    assert_eq!(hidden, 1, "the key's page is one that root cannot read");
    found
}
