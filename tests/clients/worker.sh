#!/usr/bin/env bash
# client-examples/worker/ through rotations, an outage of the vault, both at once, and its own end in the middle of a job. Every
# job must be done, and the trouble must have been met.
#
#   tests/clients/worker.sh [SIDEKEY_BINARY]     (default: the debug build, which must be there)
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
sidekey=$(realpath "${1:-${CARGO_TARGET_DIR:-$root/target}/debug/sidekey}")
# shellcheck source=tests/clients/demo.sh
source "$here/demo.sh"
start_demo
export no_proxy='*'

fail() {
  echo "worker: $*" >&2
  cat "$work/worker.log" >&2
  exit 1
}
set_secret() { emulator POST changes "{\"set\": {\"vault\": \"pay-prod\", \"secret\": \"broker-token\", \"value\": \"$1\"}}"; }
# jobs N: so many more, each a file that is there whole or not at all.
made=0
jobs() {
  local number
  for ((number = 0; number < $1; number++)); do
    made=$((made + 1))
    printf 'job-%04d' "$made" >"$work/job"
    mv "$work/job" "$work/queue/new/$(printf '%04d' "$made")"
  done
}
all_done() { [[ $(find "$work/queue/done" -type f | wc -l) -eq $made ]]; }
refusals() { grep -c '^refused' "$work/record" || true; }
start_worker() {
  background "$work/worker.log" python3 "$root/client-examples/worker/worker.py" "$work/queue" pay-prod/broker-token
  worker=$!
}

mkdir -p "$work/queue/new" "$work/queue/done"
printf token-1 >"$work/tokens"
printf token-1 | put_secret pay-prod broker-token
touch "$work/record"
background "$work/server.log" python3 "$here/worker_server.py" "$work/port" "$work/tokens" "$work/record"
until_true 10 test -s "$work/port"
SERVER=http://127.0.0.1:$(<"$work/port")/
export SERVER

start_worker
jobs 20
until_true 30 all_done || fail "the first jobs"
[[ $(refusals) -eq 0 ]] || fail "refused with the right secret"
echo "20 jobs"

# Rotated, and the old one is refused at once; the sidecar still holds it.
set_secret token-2
printf token-2 >"$work/tokens"
jobs 20
until_true 30 all_done || fail "a rotation"
[[ $(refusals) -ge 1 ]] || fail "nobody met the rotation: it proves nothing"
echo "a rotation: $(refusals) refused, all done"

# The vault is away: what is held does.
before=$(refusals)
emulator POST faults '{"vault": "pay-prod", "effect": "reset"}' >/dev/null
if "$sidekey" get pay-prod/stripe-api-key --no-cache >/dev/null 2>&1; then fail "the vault is not away"; fi
jobs 20
until_true 30 all_done || fail "an outage"
[[ $(refusals) -eq $before ]] || fail "refused in an outage"
echo "an outage: all done with what is held"

# Rotated in the outage, and the worker is ended over it: the jobs wait, and the next worker takes them up.
printf token-3 >"$work/tokens"
set_secret token-3
jobs 5
until_true 30 grep -q '^refused job-006' "$work/record" || fail "a rotation in an outage was not met"
kill "$worker"
wait "$worker" || fail "the worker did not end in order"
[[ $(find "$work/queue/work" -type f | wc -l) -eq 1 ]] || fail "the job under way is gone"
start_worker
emulator DELETE faults >/dev/null
until_true 60 all_done || fail "after the outage"
echo "a rotation in an outage, and another worker: all done when the vault was back"

for ((number = 1; number <= made; number++)); do
  grep -qx "done $(printf 'job-%04d' "$number")" "$work/record" || fail "job $number was lost"
done
if grep -qE 'token-[123]' "$work/worker.log" "$work/demo.log"; then fail "the secret is in a log"; fi
echo "$made jobs, none lost or failed"
