#!/usr/bin/env bash
# boto3 and rclone read an S3 that verifies signatures, on loopback, with credentials that they have from sidekey alone: over
# its address for containers, and by credential_process. A key is rotated under a running session. Ends with a line for each
# thing that was shown, and 0.
#
#   tests/aws/run.sh [SIDEKEY_BINARY]
#
# Without a binary, the debug build is made and used. AWS_CLIENTS_VENV keeps the virtual environment between runs
# (default: .venv-aws in the repository).
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
if [[ $# -gt 0 ]]; then
  sidekey=$(realpath "$1")
else
  cargo build --quiet --locked --manifest-path "$root/Cargo.toml"
  sidekey="${CARGO_TARGET_DIR:-$root/target}/debug/sidekey"
fi

venv=${AWS_CLIENTS_VENV:-$root/.venv-aws}
[[ -x $venv/bin/python ]] || python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$venv/bin/python" "$here/check.py" "$sidekey" "$work"
