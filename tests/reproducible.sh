#!/usr/bin/env bash
# Builds what ships twice, by `deploy/build.sh`: in two folders, with two homes of Cargo, at other times of day, in other
# time zones and languages. Both must have the same bytes. Takes two builds of the release: minutes.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${1:-$(uname -m)-unknown-linux-musl}
work=$(mktemp -d "${TMPDIR:-/tmp}/sidekey-reproducible-XXXXXX")
trap 'rm -rf "$work"' EXIT
home=${CARGO_HOME:-$HOME/.cargo}

# Both are made of what is there now, whatever is edited meanwhile.
git ls-files -z Cargo.toml Cargo.lock rust-toolchain.toml deploy src benches README.md |
    tar --null --create --files-from=- --file="$work/sources.tar"

build() { # FOLDER CARGO-HOME
    mkdir -p "$work/$1"
    tar --extract --file="$work/sources.tar" --directory="$work/$1"
    (cd "$work/$1" && env -u CARGO_TARGET_DIR -u SOURCE_DATE_EPOCH CARGO_HOME="$2" deploy/build.sh "$target")
}

# The same downloads under another name.
mkdir -p "$work/home"
ln -s "$home/registry" "$work/home/registry"
one=$(build one "$home" | tail -n 1)
other=$(export TZ=Asia/Tokyo LANG=de_DE.UTF-8 USER=somebody; build another/and/deeper "$work/home" | tail -n 1)

sha256sum "$one" "$other" | sed "s#$work/##"
stat --format '%s bytes' "$one"
for place in "$work" "$home" "$PWD"; do
    if grep --quiet --fixed-strings --text "$place" "$one"; then
        echo "the binary tells where it was built: $place"
        exit 1
    fi
done
cmp "$one" "$other"
echo "the same bytes"
