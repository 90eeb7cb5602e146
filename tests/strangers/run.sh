#!/usr/bin/env bash
# Microsoft's own Python clients against `sidekey emulator`, over TLS and the real host names, with the challenge
# verified. Ends with pytest's summary and its exit code.
#
#   tests/strangers/run.sh [SIDEKEY_BINARY] [PYTEST_ARGUMENT…]
#
# Without a binary, the debug build is made and used. STRANGERS_VENV keeps the virtual environment between runs
# (default: .venv in the repository).
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
if [[ $# -gt 0 && $1 != -* ]]; then
  sidekey=$(realpath "$1")
  shift
else
  cargo build --quiet --locked --manifest-path "$root/Cargo.toml"
  sidekey="${CARGO_TARGET_DIR:-$root/target}/debug/sidekey"
fi

venv=${STRANGERS_VENV:-$root/.venv}
[[ -x $venv/bin/python ]] || python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"

work=$(mktemp -d)
emulator=
cleanup() {
  if [[ -n $emulator ]]; then
    kill "$emulator" 2>/dev/null || true
    wait "$emulator" 2>/dev/null || true
  fi
  rm -rf "$work"
}
trap cleanup EXIT

# Keys and certificates of the apps are made afresh; the estate names them by path.
"$venv/bin/python" "$here/keys.py" "$work"
cp "$here/estate.toml" "$work/"
cd "$work"
"$sidekey" emulator --listen 127.0.0.1:0 --estate estate.toml --ca-out ca.pem >address 2>log &
emulator=$!
for _ in $(seq 100); do
  grep -q '127\.0\.0\.1:' address && break
  kill -0 "$emulator" 2>/dev/null || { cat log >&2; exit 1; }
  sleep 0.05
done

EMULATOR_ADDR=$(grep -oE '127\.0\.0\.1:[0-9]+' address | head -n 1)
export EMULATOR_ADDR
export EMULATOR_WORK=$work
"$venv/bin/python" -m pytest -p no:cacheprovider --strict-markers -v --show-capture=no --tb=short "$here" "$@"
