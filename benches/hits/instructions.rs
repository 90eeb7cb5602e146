//! What one read costs in instructions, which no neighbour's load can change: the whole process, server and client on one
//! thread, under `valgrind --tool=callgrind` for some reads and for more. The kernel's part is not in it.

use std::process::{Command, exit};

use tokio::runtime::Builder;

use super::asking::{ask, connect};
use super::contenders::{self, Contender};

const FEW: u32 = 2_000;
const MORE: u32 = 6_000;

/// Prints a line for each contender.
pub(super) fn print() {
    let names = with_contenders(|contenders, _| contenders.iter().map(|contender| contender.name).collect::<Vec<_>>());
    let mut bare = 0;
    for (at, name) in names.into_iter().enumerate() {
        let one = (counted(at, MORE) - counted(at, FEW)) / u64::from(MORE - FEW);
        if name.starts_with("bare") {
            bare = one;
            println!("{name:<30} {one:>9} instructions");
        } else {
            println!("{name:<30} {one:>9} instructions, {:+} of sidekey's own", one.cast_signed() - bare.cast_signed());
        }
    }
}

/// Asks the contender at that place so often, one after the other.
pub(super) fn run(at: usize, count: u32) {
    with_contenders(|contenders, runtime| {
        let Contender { place, requests, .. } = &contenders[at];
        runtime.block_on(async {
            ask(&mut *connect(place).await, requests, 0, |asked| asked < count).await;
        });
    });
}

fn with_contenders<T>(work: impl FnOnce(&[Contender], &tokio::runtime::Runtime) -> T) -> T {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let directory = tempfile::tempdir_in(".").expect("a directory");
    work(&contenders::start(&runtime, &runtime, directory.path()), &runtime)
}

fn counted(at: usize, count: u32) -> u64 {
    let program = std::env::current_exe().expect("this program");
    let mut valgrind = Command::new("valgrind");
    let flags = ["--tool=callgrind", "--callgrind-out-file=/dev/null"];
    let Ok(done) = valgrind.args(flags).arg(program).args(["--ask", &at.to_string(), &count.to_string()]).output()
    else {
        eprintln!("valgrind is not to be found: install it to count instructions");
        exit(1);
    };
    let told = String::from_utf8_lossy(&done.stderr);
    let collected = told.lines().find_map(|line| line.split_once("Collected :")).map(|(_, count)| count.trim().parse());
    let Some(Ok(collected)) = collected else {
        eprintln!("valgrind counted nothing:\n{told}");
        exit(1);
    };
    collected
}
