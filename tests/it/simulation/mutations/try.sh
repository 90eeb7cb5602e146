#!/usr/bin/env bash
# Whether the rules catch what they are for: applies each mutation in turn to a copy of the tree, lives through worlds
# until one breaks a rule, and says which and after how many. Fails if a mutation is not caught.
#   tests/it/simulation/mutations/try.sh [COPY [NAME…]]     COPY: where the copy is made and kept, with its target/
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
tree=$(cd "$here/../../../.." && pwd)
copy=${1:-$tree/target/mutated}
shift || true
seeds=${SEEDS:-20000}

mkdir -p "$copy"
rm -rf "$copy/src" "$copy/tests" "$copy/benches"
# With the time of now, or cargo would take what it built before for the newer one.
tar -C "$tree" --exclude=./target --exclude=./.git -cf - . | tar -C "$copy" -mxf -
escaped=0
for patch in "$here"/*.patch; do
    name=$(basename "$patch" .patch)
    if [ $# -gt 0 ] && [[ " $* " != *" $name "* ]]; then continue; fi
    patch --quiet --directory "$copy" --strip 1 < "$patch"
    if (cd "$copy" && cargo bench --quiet --locked --profile simulation --no-run --bench simulation 2> build.log); then
        # shellcheck disable=SC2015 # No simulation that failed is meant, if nothing is told.
        told=$(cd "$copy" && cargo bench --quiet --locked --profile simulation --bench simulation -- --seeds "$seeds" --first 2> /dev/null | grep '^first' || true)
    else
        told=$(grep -m1 '^error' "$copy/build.log")
    fi
    patch --quiet --directory "$copy" --strip 1 --reverse < "$patch"
    if [ -z "$told" ]; then told="NOT CAUGHT in $seeds seeds"; escaped=$((escaped + 1)); fi
    printf '%-28s %s\n' "$name" "$told"
done
[ "$escaped" -eq 0 ]
