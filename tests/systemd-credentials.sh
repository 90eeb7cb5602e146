#!/usr/bin/env bash
# A real systemd, as PID 1 of namespaces of its own, runs a sidecar as a service and starts units whose credentials come
# from it: LoadCredential=ID:/run/sidekey/credentials.sock. Ends with a line for each thing that was shown, and 0.
#
#   tests/systemd-credentials.sh [SIDEKEY_BINARY]
#
# Without a binary, the debug build is made and used. It wants root, systemd 250 or newer, and a kernel that lets root make
# namespaces and mount cgroup2; where one of these is missing it says so and ends with 0, but with 1 if SYSTEMD_REQUIRED=1.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
if [[ $# -gt 0 ]]; then
  sidekey=$(realpath "$1")
else
  cargo build --quiet --locked --manifest-path "$root/Cargo.toml"
  sidekey="${CARGO_TARGET_DIR:-$root/target}/debug/sidekey"
fi

left_out() {
  echo "left out: $*" >&2
  exit "${SYSTEMD_REQUIRED:-0}"
}
[[ $(id -u) = 0 ]] || left_out "only root can make the namespaces that it takes"
systemd=
for place in /lib/systemd/systemd /usr/lib/systemd/systemd; do [[ -x $place ]] && systemd=$place; done
[[ -n $systemd ]] || left_out "there is no systemd"
apart=(unshare --pid --mount --fork --kill-child --uts --ipc --cgroup --propagation private)
# shellcheck disable=SC2016
"${apart[@]}" sh -c 'mount -t proc proc /proc && mount -t tmpfs tmpfs /run && mount -t cgroup2 cgroup2 /sys/fs/cgroup' \
  2>/dev/null || left_out "namespaces, or mounting in them, are forbidden here"

work=$(mktemp -d)
emulator=
cleanup() {
  [[ -z $emulator ]] || kill "$emulator" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT
chmod 755 "$work"
mkdir -m 777 "$work/out"
# Where it was built may be closed to the user that it is to run as.
install -m 755 "$sidekey" "$work/sidekey"
cd "$work"

"$sidekey" emulator --listen 127.0.0.1:0 --ca-out ca.pem >address 2>emulator.log &
emulator=$!
for _ in $(seq 100); do
  grep -q '127\.0\.0\.1:' address && break
  kill -0 "$emulator" 2>/dev/null || { cat emulator.log >&2; exit 1; }
  sleep 0.05
done
azure=$(grep -oE '127\.0\.0\.1:[0-9]+' address | head -n 1)
value=$'canary-of-the-credential\nits second line: $HOME `x` "quoted" ü '
# Written and read as bytes, so that not one is added.
printf '%s' "$value" >out/expected
python3 - "$azure" out/expected <<'PYTHON'
import json, sys, urllib.request
value = open(sys.argv[2], encoding="utf-8", newline="").read()
change = {"set": {"vault": "pay-prod", "secret": "for-units", "value": value}}
request = urllib.request.Request(f"http://{sys.argv[1]}/_emulator/changes", json.dumps(change).encode(), method="POST")
urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request).read()
PYTHON

printf demo-client-secret >client-secret
cat >sidekey.toml <<TOML
[listen]
socket = "/run/sidekey/sidekey.sock"
credentials = "/run/sidekey/credentials.sock"
[[credential]]
unit = "given.service"
id = "db-password"
ref = "secret://pay-prod/for-units"
[[credential]]
unit = "many@*.service"
id = "db-password"
ref = "secret://pay-prod/for-units"
[[credential]]
unit = "absent.service"
id = "db-password"
ref = "secret://pay-prod/there-is-no-such-thing"
[[credential]]
unit = "optional.service"
id = "db-password"
ref = "secret://pay-prod/there-is-no-such-thing"
required = false
[sandbox]
mode = "required"
[audit]
file = "audit/audit.log"
[[source]]
tenant_id = "72f988bf-0000-4000-8000-00000000c0de"
client_id = "5ec2e7aa-0000-4000-8000-000000051de0"
client_secret_file = "client-secret"
ca_file = "ca.pem"
include = ["pay-prod"]
resolve = { "login.microsoftonline.com" = "$azure", "management.azure.com" = "$azure", "*.vault.azure.net" = "$azure" }
TOML
chmod 644 ca.pem sidekey.toml
chown daemon client-secret
chmod 400 client-secret
install -d -o daemon -m 700 audit

cat >inside.sh <<'INSIDE'
#!/usr/bin/env bash
set -euo pipefail
work=$1 systemd=$2
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
# systemd gives credentials in mounts of its own, which it must be able to pass on.
mount --make-rshared /
units=/run/systemd/system
mkdir -p "$units"
# Not as root, and shut in by itself: what systemd asks of it must be let through.
cat >"$units/sidekey.service" <<UNIT
[Unit]
DefaultDependencies=no
[Service]
Type=notify
User=daemon
RuntimeDirectory=sidekey
ExecStart=$work/sidekey serve --config $work/sidekey.toml
StandardError=file:$work/out/sidekey.log
UNIT
wants=()
app() {
  wants+=("$1")
  cat >"$units/${1/@*./@.}" <<UNIT
[Unit]
DefaultDependencies=no
Requires=sidekey.service
After=sidekey.service
[Service]
Type=oneshot
User=nobody
LoadCredential=$2:/run/sidekey/credentials.sock
ExecStart=/bin/sh -c 'cat "\$CREDENTIALS_DIRECTORY/$2" >$work/out/%n && stat -c %%a "\$CREDENTIALS_DIRECTORY/$2" >$work/out/%n.mode'
UNIT
}
app given.service db-password
app many@7.service db-password
app absent.service db-password
app optional.service db-password
app stranger.service db-password
cat >"$units/end.service" <<UNIT
[Unit]
DefaultDependencies=no
After=${wants[*]}
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'for unit in ${wants[*]}; do echo \$unit \$(systemctl show --value -p Result,ExecMainStatus \$unit); done >$work/out/results'
# Who connects from such an address, and is not root.
ExecStart=setpriv --reuid 1001 --regid 1001 --clear-groups python3 $work/liar.py
ExecStart=/bin/sh -c 'systemctl stop sidekey.service; touch $work/out/ended'
ExecStart=systemctl --force --force poweroff
UNIT
cat >"$units/all.target" <<UNIT
[Unit]
DefaultDependencies=no
Wants=${wants[*]} end.service
UNIT
cd /
exec "$systemd" --system --unit=all.target --log-target=null --show-status=false
INSIDE
cat >liar.py <<LIAR
import socket
liar = socket.socket(socket.AF_UNIX)
liar.bind("\0abc0/unit/given.service/db-password")
try:
    liar.connect("/run/sidekey/credentials.sock")
    told = liar.recv(100)
except PermissionError:
    told = b"refused"
open("$work/out/liar", "wb").write(told)
LIAR
chmod 755 inside.sh
timeout 120 "${apart[@]}" "$work/inside.sh" "$work" "$systemd" >systemd.log 2>&1 || true

fail() {
  echo "FAILED: $*" >&2
  tail -n 30 out/sidekey.log out/results systemd.log >&2 || true
  exit 1
}
show() { echo "ok  $*"; }
[[ -e out/ended ]] || fail "systemd did not come to the end"
result() { grep -F "$1 " out/results; }
for unit in given.service many@7.service; do
  cmp -s out/expected "out/$unit" || fail "$unit: another credential than the secret"
  [[ $(cat "out/$unit.mode") = 400 && $(result "$unit") = "$unit success 0" ]] || fail "$unit: $(result "$unit")"
  show "$unit is started with its credential, byte for byte"
done
for unit in absent.service stranger.service; do
  [[ ! -e out/$unit && $(result "$unit") = "$unit exit-code 243" ]] || fail "$unit is started: $(result "$unit")"
  show "$unit, which gets none, is not started (243/CREDENTIALS)"
done
[[ -e out/optional.service && ! -s out/optional.service ]] || fail "optional.service: $(result optional.service)"
show "optional.service is started with an empty one, as it is configured"
[[ $(cat out/liar) = refused ]] || fail "who only says that it is systemd is let in: $(cat out/liar)"
show "who only says that it is systemd does not reach the socket (0600)"
grep -q '"caller":"systemd:given.service".*"operation":"credential".*"outcome":"ok"' audit/audit.log || fail "no line"
grep -q '"caller":"systemd:stranger.service".*"outcome":"forbidden"' audit/audit.log || fail "no line of the refusal"
grep -q 'no \[\[credential\]\] is for this unit.*stranger.service' out/sidekey.log || fail "the log does not say why"
show "the audit and the log tell who asked, and why not"
! grep -q 'canary-of-the-credential' out/sidekey.log audit/audit.log systemd.log || fail "the value is in a log"
show "the value is in no log"
