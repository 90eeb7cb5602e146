#!/usr/bin/env bash
# Runs every target for a moment, on stable Rust with nothing installed: `fuzz/short.sh [SECONDS-EACH [TARGET…]]`.
# Begins with all inputs that are kept, so that a fault that was once mended and is back is found at once; what is found
# new is left in fuzz/artifacts.
set -euo pipefail
cd "$(dirname "$0")"

host=$(rustc -vV | sed -n "s/^host: //p")
seconds=${1:-5}
if [ $# -gt 1 ]; then targets=("${@:2}"); else mapfile -t targets < <(cd fuzz_targets && printf '%s\n' *.rs | sed 's/\.rs$//'); fi

# What cargo-fuzz gives the compiler, but for the sanitizers, which want nightly. With a target, build scripts are spared.
RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing" \
    cargo build --locked --release --target "$host"

for target in "${targets[@]}"; do
    mkdir -p "corpus/$target" "artifacts/$target" "seeds/$target" "regressions/$target"
    log=$(mktemp)
    # 10 s for one input are a hang, and 1 GiB a flood.
    if "target/$host/release/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -max_len=4096 \
        -artifact_prefix="artifacts/$target/" "corpus/$target" "seeds/$target" "regressions/$target" >"$log" 2>&1; then
        printf '%-18s %s\n' "$target" "$(grep '^Done' "$log")"
        rm "$log"
    else
        tail -n 60 "$log"
        echo "$target: an input does not hold. Keep it under fuzz/regressions/$target, and mend what it shows."
        exit 1
    fi
done
