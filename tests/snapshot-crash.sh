#!/usr/bin/env bash
# A snapshot's write with a kill, EIO and ENOSPC at every system call it makes, on the real disk; and every bit of a
# 64 KiB snapshot flipped. Too slow for every run: the same faults are in `cargo test` by a disk that fails as told.
# Needs strace (apt-get install strace) and the right to trace.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v strace >/dev/null || { echo "strace is missing: apt-get install strace" >&2; exit 1; }
cargo test --locked --test it -- --ignored --nocapture \
    snapshot::strace::at_every_system_call_of_a_writing_thread \
    snapshot::format::every_flipped_bit_of_64_kib_is_rejected
