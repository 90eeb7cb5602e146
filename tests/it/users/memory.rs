use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Command;

use super::{House, user};

/// Reads a file as somebody: how far it came, and what the system said.
fn reads(whom: &[String], path: &str) -> (bool, String) {
    let line: Vec<&str> = whom.iter().map(String::as_str).chain(["/usr/bin/head", "-c", "64", path]).collect();
    let run = Command::new(line[0]).args(&line[1..]).env_clear().output().unwrap();
    (run.status.success() && !run.stdout.is_empty(), String::from_utf8_lossy(&run.stderr).into_owned())
}

#[test]
fn another_process_of_the_sidecars_own_user_reads_nothing_of_its_memory_environment_or_files() {
    let Some(house) = House::new("", "") else { return };
    let folder = Path::new(&house.azure.config()).parent().unwrap().to_owned();
    let own = user(1001);
    for path in [folder.clone(), folder.join("sidekey.toml"), folder.join("client-secret")] {
        chown(path, Some(1001), Some(1001)).unwrap();
    }
    let sidecar = house.serve_as(&own);
    let pid = sidecar.0.id();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.contains("Uid:\t1001\t1001\t1001\t1001"), "{status}");
    house.gives(&own);
    for file in ["environ", "maps", "mem", "smaps", "auxv", "stack", "syscall", "fd/0", "root/etc/hostname", "cwd/etc"]
    {
        let (read, told) = reads(&own, &format!("/proc/{pid}/{file}"));
        assert!(!read && (told.contains("denied") || told.contains("not permitted")), "{file}: {told}");
    }
    // The eyes are good: what is not closed can be read so, and of a process that is not closed all of it.
    assert!(reads(&own, &format!("/proc/{pid}/cmdline")).0);
    let line: Vec<&str> = own.iter().map(String::as_str).chain(["/bin/sleep", "60"]).collect();
    let mut open = Command::new(line[0]).args(&line[1..]).env_clear().env("A", "b").spawn().unwrap();
    let environ = format!("/proc/{}/environ", open.id());
    // Until it has become the other user's.
    while !reads(&own, &environ).0 {
        std::thread::yield_now();
    }
    open.kill().unwrap();
    open.wait().unwrap();
}
