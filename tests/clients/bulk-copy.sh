#!/usr/bin/env bash
# client-examples/bulk-copy/ from S3 to Azure Blob and back, between a `moto_server` and an `azurite` that check signatures. The
# copy is ended in its middle and goes on; both keys are rotated in its middle while the sidecar still holds the old ones;
# afterwards every object's hash is compared, and every trace is searched for keys.
#
#   tests/clients/bulk-copy.sh [SIDEKEY_BINARY]     (default: the debug build, which must be there)
#
# CLIENTS_TOOLS keeps what pip and npm bring between runs (default: target/clients).
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
sidekey=$(realpath "${1:-${CARGO_TARGET_DIR:-$root/target}/debug/sidekey}")
tools=${CLIENTS_TOOLS:-$root/target/clients}
mkdir -p "$tools/azurite"
[[ -x $tools/venv/bin/python ]] || python3 -m venv "$tools/venv"
"$tools/venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
azurite=$tools/azurite/node_modules/.bin/azurite-blob
[[ -x $azurite ]] || npm install --prefix "$tools/azurite" --silent --no-audit --no-fund azurite@3.37.0

# shellcheck source=tests/clients/demo.sh
source "$here/demo.sh"
start_demo
mkdir "$work/bin"
ln -s "$sidekey" "$work/bin/sidekey"
ln -s "$tools/venv/bin/rclone" "$work/bin/rclone"
export PATH=$work/bin:$PATH no_proxy='*'

fail() {
  echo "bulk-copy: $*" >&2
  if [[ -e $work/log ]]; then tail -n 20 "$work/log" >&2; fi
  exit 1
}
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
stores() { "$tools/venv/bin/python" "$here/stores.py" "$s3_port" "$@"; }
listens() { (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# --- the two ends
s3_port=$(free_port)
azure_port=$(free_port)
INITIAL_NO_AUTH_ACTION_COUNT=3 background "$work/moto.log" "$tools/venv/bin/moto_server" --host 127.0.0.1 --port "$s3_port"
start_azurite() {
  AZURITE_ACCOUNTS="archive:$1" background "$work/azurite.log" "$azurite" --blobHost 127.0.0.1 --blobPort "$azure_port" \
    --location "$work/azurite" --skipApiVersionCheck --disableTelemetry --silent
  azurite_process=$!
  until_true 120 listens "$azure_port"
}
azure_key() { head -c 48 /dev/urandom | base64 -w 0; }
key=$(azure_key)
start_azurite "$key"
until_true 120 listens "$s3_port"
stores begin >"$work/keys.json"
admin() { python3 -c 'import json,sys; print(json.dumps(json.load(open(sys.argv[1]))["admin"]))' "$work/keys.json"; }
python3 -c 'import json,sys; print(json.dumps(json.load(open(sys.argv[1]))["copy"]), end="")' "$work/keys.json" |
  tee "$work/s3-copy" | put_secret orders-prod s3-copy
printf %s "$key" | put_secret orders-prod azure-archive-key

sed 's/data-prod/orders-prod/' "$root/client-examples/bulk-copy/keys.toml" >"$work/keys.toml"
cat >"$work/remotes.env" <<END
RCLONE_CONFIG_S3_TYPE=s3
RCLONE_CONFIG_S3_PROVIDER=Other
RCLONE_CONFIG_S3_REGION=eu-central-1
RCLONE_CONFIG_S3_ENDPOINT=http://127.0.0.1:$s3_port
RCLONE_CONFIG_S3_FORCE_PATH_STYLE=true
RCLONE_CONFIG_S3_NO_CHECK_BUCKET=true
RCLONE_CONFIG_S3_STORAGE_CLASS=STANDARD
RCLONE_CONFIG_AZURE_TYPE=azureblob
RCLONE_CONFIG_AZURE_ACCOUNT=archive
RCLONE_CONFIG_AZURE_NO_CHECK_CONTAINER=true
RCLONE_CONFIG_AZURE_ENDPOINT=http://127.0.0.1:$azure_port/archive
END
export REMOTES=$work/remotes.env KEYS=$work/keys.toml STATE=$work/state WORKERS=4
# `RCLONE_CONFIG_AZURE_KEY` and the rest come from sidekey alone.
unset "${!RCLONE_@}" "${!AWS_@}"
rclone_keyed() { RCLONE_CONFIG=/dev/null sidekey exec --env-file "$REMOTES" --map "$KEYS" -- rclone "$@"; }
copy() { "$root/client-examples/bulk-copy/bulk-copy.sh" "$@" >>"$work/log" 2>&1; }

# Both ends refuse wrong keys: else nothing below means anything.
for end in s3:exports azure:archive; do
  if RCLONE_CONFIG=/dev/null sidekey exec --env-file "$REMOTES" -- env RCLONE_CONFIG_S3_ACCESS_KEY_ID=AKIAWRONG \
    RCLONE_CONFIG_S3_SECRET_ACCESS_KEY=wrong RCLONE_CONFIG_AZURE_KEY="$(azure_key)" \
    rclone lsf --retries 1 "$end" >/dev/null 2>"$work/wrong.log"; then
    fail "$end lets everybody in"
  fi
  grep -qE '403|Forbidden|AccessDenied|InvalidAccessKeyId|AuthorizationFailure|AuthenticationFailed' "$work/wrong.log" || { cat "$work/wrong.log" >&2; fail "$end refused for another reason"; }
done
rclone_keyed mkdir --azureblob-no-check-container=false azure:archive

# Every command line of the machine, again and again: what keys may be in it is looked at in the end.
sample() {
  while sleep 0.2; do
    cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' ' ' || true
  done
}
background "$work/cmdlines" sample
sampler=$!

done_count() { find "$STATE" -name '*.done' 2>/dev/null | wc -l; }
at_least() { (($(done_count) >= $1)); }
compare() { # WHAT BUCKET CONTAINER
  rclone_keyed hashsum sha256 --download "azure:$3" | LC_ALL=C sort >"$work/azure.sums"
  admin | stores hashes "$2" | LC_ALL=C sort >"$work/s3.sums"
  cmp "$work/s3.sums" "$work/azure.sums" || { diff "$work/s3.sums" "$work/azure.sums" | head >&2; fail "$1: the stores differ"; }
  echo "$1: $(wc -l <"$work/s3.sums") objects, 0 differences"
}

# --- there: ended in its middle, gone on with, rotated in its middle
admin | stores fill 1 4 1 >"$work/count"
# All of it at once, as when the machine goes; it is a process group of its own.
background "$work/log" setsid "$root/client-examples/bulk-copy/bulk-copy.sh" s3:exports azure:archive
first=$!
until_true 60 at_least 8 || fail "the first copy does not get on"
kill -KILL -- "-$first"
wait "$first" || true
before=$(done_count)
((before < 63)) || fail "it was over before it could be ended"
cp "$work/log" "$work/log.first"

: >"$work/log"
background "$work/log" setsid "$root/client-examples/bulk-copy/bulk-copy.sh" s3:exports azure:archive
second=$!
until_true 60 at_least $((before + 8)) || fail "the second copy does not get on"
# Both keys at once. The vault has the new ones, the sidecar still holds the old ones.
admin | stores rotate >"$work/s3-copy.2"
value() { python3 -c 'import json,sys; print(json.dumps({"set":{"vault":"orders-prod","secret":sys.argv[1],"value":sys.stdin.read().strip()}}))' "$1"; }
value s3-copy <"$work/s3-copy.2" | emulator POST changes @-
kill "$azurite_process"
wait "$azurite_process" || true
key2=$(azure_key)
value azure-archive-key <<<"$key2" | emulator POST changes @-
start_azurite "$key2"
rotated_at=$(done_count)
wait "$second" || fail "the copy did not live through the rotation"
refused=$(grep -c 'once more with keys asked for anew' "$work/log" || true)
((refused > 0)) || fail "nobody met the rotated keys: it proves nothing"
grep -q 'all is copied' "$work/log" || fail "it does not say that all is copied"
# What the first one had done was not done again.
while read -r partition; do
  grep -q "partition $partition:" "$work/log" && fail "partition $partition was copied twice"
done < <(sed -nE 's/.* (partition [^ :]+):.*partitions done/\1/p' "$work/log.first" | cut -d' ' -f2)
echo "ended after $before partitions; keys rotated after $rotated_at; $refused attempts met the old keys"
compare "S3 to Azure" exports archive
(($(wc -l <"$work/s3.sums") == $(<"$work/count"))) || fail "objects are missing at both ends"

# --- only what is new. The minute before the last listing has nearly all of this test in it: without it.
later() { (($(date -u +%s) > now)); }
now=$(date -u +%s)
until_true 5 later
date -u -d "@$now" +%FT%TZ >"$STATE/since"
admin | stores fill 2 1 9 >"$work/count"
: >"$work/log"
copy s3:exports azure:archive || fail "the incremental copy"
listed=$(sed -nE 's/^([0-9]+) objects in .*/\1/p' "$work/log")
((listed == $(<"$work/count"))) || fail "$listed objects were listed, and $(<"$work/count") are new"
compare "incremental, $listed new" exports archive

# --- and back
STATE=$work/back copy azure:archive s3:returned || fail "the copy back"
compare "Azure to S3" returned archive
admin | stores hashes exports | LC_ALL=C sort | cmp - "$work/s3.sums" || fail "what came back is not what went"

# What was stored just now, and was given an old time, is new.
printf late >"$work/late"
touch -d 2020-02-02 "$work/late"
rclone_keyed copyto "$work/late" azure:archive/late
date -u -d '1 minute ago' +%FT%TZ >"$work/back/since"
STATE=$work/back copy azure:archive s3:returned || fail "the incremental copy back"
compare "incremental back" returned archive

# --- no traces
kill "$sampler"
wait "$sampler" || true
for file in s3-copy s3-copy.2; do
  python3 -c 'import json,sys; print(json.load(open(sys.argv[1]))["secret_access_key"])' "$work/$file"
done >"$work/canaries"
printf '%s\n' "$key" "$key2" >>"$work/canaries"
grep -rqF bulk-copy.sh "$work/cmdlines" || fail "the command lines were not looked at"
if grep -rlFf "$work/canaries" "$work/cmdlines" "$work/log" "$work/log.first" "$STATE" "$work/back" "$work/demo.log"; then
  fail "a key is where none may be"
fi
echo "no key on a command line, in the state or in a log"
