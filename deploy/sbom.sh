#!/usr/bin/env bash
# Writes what the binary that ships is made of, as CycloneDX 1.5: `deploy/sbom.sh [TARGET]`, and prints where it is.
# Needs cargo-cyclonedx: `cargo install cargo-cyclonedx --version 0.5.9 --locked`.
#
# Build-time dependencies are in it too: what runs while we are built can change what is built. An SBOM that misses one of
# those that Cargo.lock fixes for that target, or its checksum, is an error.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${1:-$(uname -m)-unknown-linux-musl}
out=${CARGO_TARGET_DIR:-target}/sbom/sidekey-$target.cdx.json
mkdir -p "$(dirname "$out")"

# The same sources have the same SBOM: the time is the commit's, and the number that is drawn for each and the folder are
# left out.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH
cargo cyclonedx --quiet --format json --spec-version 1.5 --no-default-features --target "$target" \
    --override-filename sidekey-sbom-draft
trap 'rm -f sidekey-sbom-draft.json' EXIT
jq 'del(.serialNumber)' sidekey-sbom-draft.json | sed "s#path+file://$PWD#path+file:///sidekey#g" >"$out"

named=$(jq -r '.components[] | "\(.name) \(.version)"' "$out" | sort -u)
wanted=$(cargo tree --locked --no-default-features --target "$target" --edges normal,build --prefix none --format '{p}' |
    sed -n 's/^\([^ ]*\) v\([^ ]*\).*/\1 \2/p' | grep -v '^sidekey ' | sort -u)
if missing=$(comm -13 <(echo "$named") <(echo "$wanted") | grep .); then
    echo "the SBOM does not name: $missing" >&2
    exit 1
fi
if unproved=$(jq -re '.components[] | select((.hashes // []) == []) | .name' "$out"); then
    echo "the SBOM has no checksum of: $unproved" >&2
    exit 1
fi
echo "$(wc -l <<<"$wanted") dependencies" >&2
echo "$out"
