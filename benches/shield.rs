//! What it costs that values lie encrypted: to seal one and to open one, by its size. Medians of rounds.
//! `cargo bench --bench shield` takes a few seconds.

#![allow(clippy::print_stdout, reason = "printing is what a benchmark is for")]

use std::hint::black_box;

use sidekey::secret::{SecretValue, key_page};
use tokio::time::Instant;
use zeroizing_alloc::ZeroAlloc;

/// As the program has it: what is opened is freed, and so wiped.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<std::alloc::System> = ZeroAlloc(std::alloc::System);

const ROUNDS: usize = 101;
const TIMES: u32 = 2_000;

fn main() {
    println!("the key's page: {}", key_page());
    for size in [32, 256, 4 * 1024, 25 * 1024] {
        let plain = vec![7_u8; size];
        let value = SecretValue::new(plain.as_slice());
        let open = median(|| drop(black_box(value.expose())));
        let seal = median(|| drop(black_box(SecretValue::new(plain.as_slice()))));
        let copy = median(|| drop(black_box(plain.clone())));
        println!("{size:>6} bytes: open {open:>6} ns, seal {seal:>6} ns; a plain copy, wiped when freed: {copy:>5} ns");
    }
}

/// Nanoseconds of one call.
fn median(mut work: impl FnMut()) -> u128 {
    let mut rounds: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..TIMES {
                work();
            }
            start.elapsed().as_nanos() / u128::from(TIMES)
        })
        .collect();
    rounds.sort_unstable();
    rounds[ROUNDS / 2]
}
