#!/usr/bin/env bash
# Builds the binary that ships, the same bytes wherever it is built: `deploy/build.sh [TARGET]`, and prints where it is.
#
# What it is made of is fixed by Cargo.lock and rust-toolchain.toml; what it must not hold is where and when it was
# made. Another C compiler may make other bytes of ring's C code: `cc --version` belongs to the record of a release.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${1:-$(uname -m)-unknown-linux-musl}
home=${CARGO_HOME:-$HOME/.cargo}
out=${CARGO_TARGET_DIR:-$PWD/target}
sysroot=$(rustc --print sysroot)
commit=$(rustc -vV | sed -n 's/^commit-hash: //p')

# Names of files stand in panics' places. The standard library's are as if its sources were not installed.
rust=("--remap-path-prefix=$PWD=/sidekey" "--remap-path-prefix=$out=/sidekey/target" "--remap-path-prefix=$home=/cargo"
    "--remap-path-prefix=$sysroot/lib/rustlib/src/rust=/rustc/$commit" "-Clink-arg=-Wl,--build-id=none")
# Rust's own linker folds functions that are the same bytes, which Rust lets no program tell apart, and packs relocations: a
# tenth of the size, and fewer pages to touch at each start.
rust+=("-Clink-arg=-fuse-ld=lld" "-Clink-arg=-B$sysroot/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin/gcc-ld"
    "-Clink-arg=-Wl,--icf=all,-z,pack-relative-relocs")
c="-ffile-prefix-map=$PWD=/sidekey -ffile-prefix-map=$out=/sidekey/target -ffile-prefix-map=$home=/cargo"
CARGO_ENCODED_RUSTFLAGS=$(printf '%s\x1f' "${rust[@]}" | sed 's/\x1f$//')
export CARGO_ENCODED_RUSTFLAGS CFLAGS="$c" LC_ALL=C TZ=UTC
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-0}"
unset RUSTFLAGS

# For another processor, GCC's cross compiler makes ring's C code and links all of it, with the musl that comes with Rust.
there=${target%%-*}
if [[ $there != "$(uname -m)" && $target == *-linux-musl ]]; then
    export "CC_${target//-/_}=${CC:-$there-linux-gnu-gcc}" "AR_${target//-/_}=${AR:-$there-linux-gnu-ar}"
    linker=CARGO_TARGET_${target//-/_}_LINKER
    export "${linker^^}=${CC:-$there-linux-gnu-gcc}"
fi

cargo build --locked --profile dist --no-default-features --bin sidekey --target "$target" >&2
echo "$out/$target/dist/sidekey"
