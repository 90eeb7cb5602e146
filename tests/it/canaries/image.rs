//! A core image of a process that goes on, as root makes it.
use std::path::Path;
use std::process::{Command, Stdio};

const GDB: &str = "/usr/bin/gdb";

/// All that a debugger can write of its memory and registers, with what the kernel would leave out of a core file.
/// `None`, said on stderr: there is no debugger here.
#[expect(clippy::print_stderr, reason = "who reads a green run must see what it did not show")]
pub fn of(pid: u32) -> Option<Vec<u8>> {
    if !Path::new(GDB).exists() {
        eprintln!("no {GDB}: no core image is searched");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("core");
    let mut gdb = Command::new(GDB);
    // Nothing is fetched, no program is read, and no file of this machine's tells it to do more.
    gdb.args(["-nx", "-batch", "-iex", "set debuginfod enabled off", "-iex", "set auto-load off"])
        .args(["-ex", "set use-coredump-filter off", "-ex", "set dump-excluded-mappings on"])
        .args(["-p", &pid.to_string(), "-ex"])
        .arg(format!("gcore {}", file.display()))
        .stdin(Stdio::null());
    let run = gdb.output().unwrap();
    let told = String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
    let core = std::fs::read(&file).unwrap_or_else(|error| panic!("{error}: {told}"));
    assert!(core.starts_with(b"\x7fELF") && core.len() > 1024 * 1024, "{} bytes: {told}", core.len());
    Some(core)
}
