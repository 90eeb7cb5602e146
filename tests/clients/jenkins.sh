#!/usr/bin/env bash
# client-examples/jenkins/ from its first step to its last, against a demo's Entra, Resource Manager and vaults under their real
# names: by the Groovy that Jenkins has in it, through tests/clients/jenkins.groovy. Every value must be masked in the log, and
# nothing may be left on the machine. The same pipeline without its mask must be found out.
#
#   tests/clients/jenkins.sh [SIDEKEY_BINARY]     (default: the debug build, which must be there)
#
# CLIENTS_TOOLS keeps what Maven brings between runs (default: target/clients). CLIENTS_ALL=1: to be left out is a failure.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
sidekey=$(realpath "${1:-${CARGO_TARGET_DIR:-$root/target}/debug/sidekey}")
tools=${CLIENTS_TOOLS:-$root/target/clients}
groovy=$tools/groovy/groovy-all-2.4.21.jar
if [[ ! -e $groovy ]]; then
  if ! command -v mvn >/dev/null; then
    echo "left out: jenkins: there is no mvn"
    exit "${CLIENTS_ALL:-0}"
  fi
  mvn --quiet --batch-mode -Dstyle.color=never org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy \
    -Dartifact=org.codehaus.groovy:groovy-all:2.4.21 "-DoutputDirectory=${groovy%/*}" >&2
fi
if [[ $(stat -f -c %T /dev/shm) != tmpfs ]]; then
  echo "left out: jenkins: /dev/shm is not in memory"
  exit "${CLIENTS_ALL:-0}"
fi

# shellcheck source=tests/clients/demo.sh
source "$here/demo.sh"
start_demo
tag=jenkins-shop-${work##*.}
trap 'rm -rf "/dev/shm/$tag"; demo_cleanup' EXIT
mkdir "$work/bin" "$work/home" "$work/values"
ln -s "$sidekey" "$work/bin/sidekey"
# The demo stands in for Azure under Azure's own names. What the steps ask for is not changed.
for name in login.microsoftonline.com management.azure.com; do
  echo "connect-to = \"$name:443:$demo_emulator\""
done >"$work/home/.curlrc"
printf '%s\n' "cacert = \"$demo_ca\"" 'noproxy = "*"' >>"$work/home/.curlrc"
export PATH=$work/bin:$PATH CURL_HOME=$work/home

fail() {
  echo "jenkins: $*" >&2
  if [[ -e $work/log ]]; then cat "$work/log" >&2; fi
  exit 1
}
# The values that no trace may have, a file each; the demo's client secret is one that signs in.
cp "${demo_token%/*}/client-secret" "$work/values/client-secret"
# shellcheck disable=SC2016
printf '%s' 'canary o'\''f "the" $db 100%' >"$work/values/db-password"
put_secret pay-prod deploy-client-secret <"$work/values/client-secret"
put_secret pay-prod db-password <"$work/values/db-password"

# leaks FILE…: whether a value is in one of them, or a token of Azure's, also as others write it. The values that are
# looked for are written by this script's own means, not by the example's.
leaks() {
  python3 - "$work/values" "$@" <<'PYTHON'
import base64, json, pathlib, sys, urllib.parse
values, *files = map(pathlib.Path, sys.argv[1:])
found = False
for value in values.iterdir():
    value = value.read_text()
    shapes = [value, base64.b64encode(value.encode()).decode(), json.dumps(value)[1:-1],
              urllib.parse.quote(value, safe=""), urllib.parse.quote_plus(value),
              value.replace("'", "'\\''"), "'" + value.replace("'", "'\"'\"'") + "'"]
    shapes += [line for line in value.splitlines() if len(line) > 3]
    for file in files:
        if any(shape.encode() in file.read_bytes() for shape in shapes):
            found = True
            print("a value is in", file, file=sys.stderr)
sys.exit(not found)
PYTHON
}
# Runs the pipeline on a copy of the example, which the function MEND may change first. The log goes to $work/log.
pipeline() {
  rm -rf "$work/job"
  mkdir "$work/job"
  cp -r "$root/client-examples/jenkins" "$work/job/workspace"
  (cd "$work/job/workspace" && "$1")
  java -XX:TieredStopAtLevel=1 -cp "$groovy" groovy.ui.GroovyMain "$here/jenkins.groovy" "$work/job/workspace/Jenkinsfile" \
    "$work/job/workspace" "$tag" >"$work/log" 2>&1
}
nothing_left() {
  [[ ! -e /dev/shm/$tag ]] || fail "/dev/shm/$tag was left"
  diff -r "$root/client-examples/jenkins" "$work/job/workspace" >/dev/null || fail "the workspace was written to"
}
as_it_is() { :; }

pipeline as_it_is || fail "the pipeline failed"
nothing_left
if leaks "$work/log"; then fail "in the log"; fi
grep -qxF 'connecting to postgres://app:****@db.internal/shop' "$work/log" || fail "the deployment did not get the password"
grep -qE "^\+ ./azure.sh '?/subscriptions/[0-9a-f-]{36}/providers/" "$work/log" || fail "no subscription was handed on"
[[ $(tail -n 1 "$work/log") == "Finished: SUCCESS" ]] || fail "no success"
echo "a pipeline of four stages: what each needs was handed on, and no value is in the log"

# As careless as can be.
careless() {
  cat >deploy.sh <<'CARELESS'
#!/bin/sh
set -x
env
: "$DB_PASSWORD" "$TOKEN"
echo "$DB_PASSWORD" >&2
printf %s "$DB_PASSWORD" | base64 -w 0
echo
python3 -c 'import json,os,urllib.parse as u; v = os.environ["DB_PASSWORD"]; print(json.dumps([v]), u.quote(v, safe=""), u.quote_plus(v))'
bash -xc ': "$DB_PASSWORD"'
printf %s "$TOKEN"
exit 7
CARELESS
}
keep_token() { # Before the step that drops it: the token is a value that is looked for too.
  careless
  sed -i "3i printf %s \"\$TOKEN\" >'$work/values/token'" deploy.sh
}
if pipeline keep_token; then fail "a step that failed did not fail the pipeline"; fi
[[ ! -e /dev/shm/$tag ]] || fail "/dev/shm/$tag was left by a pipeline that failed"
[[ $(wc -c <"$work/values/token") -gt 20 ]] || fail "there was no token"
if leaks "$work/log"; then fail "in the log of a careless step"; fi
grep -qx 'DB_PASSWORD=\*\*\*\*' "$work/log" || fail "the careless step did not run"
grep -q 'returned exit code 7' "$work/log" || fail "the step's exit code was lost"
echo "a step that prints its environment, in seven ways of writing, and fails: masked, its exit code kept, nothing left"

# A value that begins as another one does hides no part of it less.
head -c 6 "$work/values/db-password" | put_secret pay-prod shorter
# shellcheck disable=SC2016
masked=$(STEP_OUTPUTS=/dev/shm/$tag "$root/client-examples/jenkins/step" --set SHORTER=secret://pay-prod/shorter \
  --set DB_PASSWORD=secret://pay-prod/db-password -- sh -c 'echo "$DB_PASSWORD, $SHORTER"')
[[ $masked == '****, ****' ]] || fail "a value and its beginning: $masked"

# Several lines, as keys have them.
printf '%s\n' '-----BEGIN KEY-----' 'canary/MIIB+x' '  last "line"' '-----END KEY-----' >"$work/values/db-password"
put_secret pay-prod db-password <"$work/values/db-password"
if pipeline careless; then fail "it did not fail"; fi
if leaks "$work/log"; then fail "in the log: a value of several lines"; fi
echo "a value of several lines: masked"

# What can be missing is missing before a command starts.
no_such_secret() { sed -i 's#secret://pay-prod/db-password#secret://pay-prod/no-such-secret#' Jenkinsfile; }
no_such_pointer() { sed -i 's#/access_token|#/acces_token|#' Jenkinsfile; }
if pipeline no_such_secret; then fail "a missing secret did not fail the pipeline"; fi
if ! grep -q 'DB_PASSWORD.*no-such-secret' "$work/log" || grep -q connecting "$work/log"; then fail "a missing secret"; fi
if pipeline no_such_pointer; then fail "a missing pointer did not fail the pipeline"; fi
grep -q 'nothing at /acces_token for TOKEN' "$work/log" || fail "a missing pointer is not told"
if leaks "$work/log"; then fail "what a step printed is in the log"; fi
[[ ! -e /dev/shm/$tag ]] || fail "/dev/shm/$tag was left"
echo "a missing secret, a missing pointer: told by name, and the pipeline ends"

# The same without the mask: this script must see it.
unmasked() { sed -i "s#./step \\(--set DB_PASSWORD=[^ ]*\\) -- ./deploy.sh#sidekey exec \\1 -- sh -c \"env; exit 1\"#" Jenkinsfile; }
if pipeline unmasked; then fail "it did not fail"; fi
leaks "$work/log" 2>/dev/null || fail "a value in the log is not found: the test proves nothing"
if leaks "$work/demo.log"; then fail "in the sidecar's log"; fi
echo "without the mask, the value in the log is found"
