#!/usr/bin/env bash
# client-examples/scale-set/ from an instance's first boot to its end: a real systemd, on an overlay of this machine's root and a
# network of its own, does what the cloud-init file says, to the letter, with a Debian package that it downloads. The emulator has
# Azure's names and port 443, the metadata service its own address, and a load balancer sends orders all the while. What the instance
# wrote is the overlay, which is looked through for values and tokens while it lives and at its end.
#
#   tests/clients/scale-set.sh [SIDEKEY_BINARY]     (default: the debug build, which must be there)
#
# It wants root, systemd, dpkg, iproute2, and a kernel that lets root make namespaces and overlays; what is missing it says, and
# ends with 0, but with CLIENTS_ALL=1 with 1. CLIENTS_TOOLS keeps what pip brings between runs (default: target/clients).
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
example=$root/client-examples/scale-set/cloud-init.yaml
tools=${CLIENTS_TOOLS:-$root/target/clients}
systemd=/lib/systemd/systemd

left_out() {
  echo "left out: scale-set: $*"
  exit "${CLIENTS_ALL:-0}"
}
if [[ ${1:-} != --apart ]]; then
  sidekey=$(realpath "${1:-${CARGO_TARGET_DIR:-$root/target}/debug/sidekey}")
  [[ $(id -u) = 0 ]] || left_out "only root can make the namespaces that it takes"
  [[ -x $systemd ]] || left_out "there is no systemd"
  for program in dpkg-deb ip useradd runuser; do command -v "$program" >/dev/null || left_out "there is no $program"; done
  # shellcheck disable=SC2016
  unshare --mount --net --propagation private sh -c 'mount -t tmpfs tmpfs /mnt && mkdir /mnt/upper /mnt/work &&
    mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /mnt && unshare --pid --mount --fork --cgroup sh -c "
      mount -t proc proc /proc && mount -t cgroup2 cgroup2 /sys/fs/cgroup"' 2>/dev/null ||
    left_out "namespaces, or overlays in them, are forbidden here"
  [[ -x $tools/venv/bin/python ]] || python3 -m venv "$tools/venv"
  "$tools/venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
  exec unshare --mount --net --propagation private "$0" --apart "$sidekey"
fi
sidekey=$2
# shellcheck source=tests/clients/demo.sh
source "$here/demo.sh"
cleanup() {
  local child
  for child in "${demo_children[@]}"; do
    kill -KILL "$child" 2>/dev/null || true
    wait "$child" 2>/dev/null || true
  done
  demo_children=()
  # What is mounted there is this machine's own root: without that, nothing is removed.
  if ! mountpoint --quiet "$work/machine" || umount --recursive --lazy "$work/machine"; then demo_cleanup; fi
}
trap cleanup EXIT
fail() {
  echo "scale-set: $*" >&2
  tail -n 40 "$work/machine/root/var/log/instance.log" "$work/edge.log" "$work/emulator.log" >&2 || true
  exit 1
}

# What installs sidekey is what deploy/ has.
installs() { sed -n '/install-sidekey$/,/runuser/p' "$1"; }
[[ -n $(installs "$example") ]] || fail "nothing installs sidekey"
diff <(installs "$root/deploy/azure/cloud-init.yaml") <(installs "$example") >&2 || fail "deploy/azure/cloud-init.yaml installs it in another way"

# --- Azure
ip link set lo up
ip address add 169.254.169.254/32 dev lo
canary=canary-of-a-signing-key-of-$$
name=workers_0
mkdir "$work/edge" "$work/package" "$work/machine"
cd "$work"
background emulator.log "$sidekey" emulator --listen 127.0.0.1:443 --ca-out ca.pem
until_true 30 test -s ca.pem
until_true 30 curl --silent --fail --noproxy '*' "http://127.0.0.1:443/_emulator/changes" --data-binary \
  "{\"set\": {\"vault\": \"pay-prod\", \"secret\": \"orders-signing-key\", \"value\": \"$canary\"}}"
background edge.log python3 "$here/azure_edge.py" 443 "$name" "$canary" edge

# The package: what Cargo.toml lists for it, with the binary at hand.
python3 - "$root" "$sidekey" package/tree <<'PYTHON'
import pathlib, shutil, sys, tomllib
root, binary, tree = map(pathlib.Path, sys.argv[1:])
deb = tomllib.loads((root / "Cargo.toml").read_text())["package"]["metadata"]["deb"]
for source, target, mode in deb["assets"]:
    target = tree / target
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(binary if source == "target/dist/sidekey" else root / source, target)
    target.chmod(int(mode, 8))
shutil.copytree(root / deb["maintainer-scripts"], tree / "DEBIAN")
(tree / "DEBIAN/conffiles").write_text("".join(f"{file}\n" for file in deb["conf-files"]))
PYTHON
printf '%s\n' 'Package: sidekey' 'Version: 0' "Architecture: $(dpkg --print-architecture)" 'Maintainer: nobody <nobody@example.com>' \
  'Description: sidekey' >package/tree/DEBIAN/control
chmod 755 package/tree/DEBIAN package/tree/DEBIAN/{postinst,prerm,postrm}
dpkg-deb --root-owner-group -Znone --build package/tree package/sidekey.deb >/dev/null
rm -r package/tree
background package.log python3 -m http.server --bind 127.0.0.1 --directory package 8081
until_true 10 curl --silent --fail --noproxy '*' --head http://127.0.0.1:8081/sidekey.deb

# --- the machine: a disk that begins as this machine's root, memory, and a systemd that starts what it is told and no more
mount -t tmpfs tmpfs machine
mkdir machine/{disk,overlay,root}
mount -t overlay overlay -o "lowerdir=/,upperdir=machine/disk,workdir=machine/overlay" machine/root
machine=$work/machine/root
mount -t tmpfs -o mode=755 tmpfs "$machine/run"
mount -t tmpfs -o mode=1777 tmpfs "$machine/tmp"
rm -rf "$machine"/{usr/lib,etc}/systemd/system/*.wants "$machine"/usr/lib/systemd/system-generators "$machine"/etc/fstab
printf '127.0.0.1 %s\n' localhost login.microsoftonline.com management.azure.com pay-prod.vault.azure.net >"$machine/etc/hosts"
cat ca.pem >>"$machine/etc/ssl/certs/ca-certificates.crt"
mkdir -p "$machine/etc/systemd/system/service.d" "$machine/etc/systemd/system/orders.service.d"
printf '[Service]\nStandardOutput=append:/var/log/instance.log\nStandardError=inherit\n' >"$machine/etc/systemd/system/service.d/log.conf"
# The load balancer of this test is faster than Azure's.
printf '[Service]\nEnvironment=DRAIN_SECONDS=2\n' >"$machine/etc/systemd/system/orders.service.d/faster.conf"
"$tools/venv/bin/python" "$here/machine.py" "$machine" "$example" PACKAGE_URL=http://127.0.0.1:8081/sidekey.deb \
  "PACKAGE_SHA256=$(sha256sum <package/sidekey.deb | cut -d ' ' -f 1)" CLIENT_ID=5ec2e7aa-0000-4000-8000-000000051de0
printf '[Service]\nType=oneshot\nExecStart=/runcmd\n' >"$machine/etc/systemd/system/boot.service"
printf '[Unit]\nWants=boot.service\n' >"$machine/etc/systemd/system/boot.target"
cat >boot.sh <<'BOOT'
#!/bin/sh
set -e
cd "$1"
mount --rbind /dev dev
mount -t tmpfs tmpfs dev/shm
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mkdir run/old
pivot_root . run/old
umount --lazy /run/old
rmdir /run/old
mount --make-rshared /
hostname workers-0
exec env -i container=lab PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  /lib/systemd/systemd --system --unit=boot.target --log-target=null --show-status=false
BOOT
background machine.log unshare --pid --mount --uts --ipc --cgroup --fork --kill-child --propagation private sh boot.sh "$machine"

# traces: whether a value or a token is anywhere on its disk or in the files of its memory.
traces() {
  local sought
  for sought in "$canary" "$(printf %s "$canary" | base64 -w 0)" "$(<edge/token)"; do
    if grep -rqF --devices=skip -e "$sought" machine/disk "$machine/run" "$machine/tmp"; then return 0; fi
  done
  return 1
}
until_true 90 test -e edge/served || fail "no order was served"
until_true 30 test -s "$machine/var/lib/sidekey/snapshot" || fail "no snapshot"
[[ -s $machine/run/sidekey/snapshot-key && -S $machine/run/sidekey/sidekey.sock && -s edge/token ]] || fail "the machine is not as it should be"
if traces; then fail "a value or a token is in a file of the living machine"; fi
printf 'control: %s' "$canary" >"$machine/var/control"
traces || fail "a value on the disk is not found: the test proves nothing"
rm "$machine/var/control"
echo "boot to first secret: package installed, signed in by managed identity, orders are signed; no value in a file"
[[ ! -e edge/approved ]] || fail "it went at another one's end"

touch edge/terminate
until_true 60 test -e edge/approved || fail "the end was not agreed to"
[[ $(<edge/approved) == '{"StartRequests": [{"EventId": "602d9444-d2cd-49c7-8624-8643e7171297"}]}' ]] || fail "agreed to: $(<edge/approved)"
[[ -e edge/summary ]] || fail "it agreed before it was out of the load balancer"
read -r orders failed <edge/summary
[[ $failed -eq 0 && $orders -gt 20 ]] || fail "$failed of $orders orders failed"
echo "terminate notice: out of the load balancer, $orders orders, none failed; then agreed to its end"

for left in run/sidekey var/lib/sidekey; do [[ ! -e $machine/$left ]] || fail "/$left was left"; done
if curl --silent --noproxy '*' http://127.0.0.1:9733/livez >/dev/null; then fail "sidekey still runs"; fi
if traces; then fail "a value or a token was left"; fi
grep -q '"caller":"orders".*"operation":"read".*orders-signing-key' "$machine/var/log/instance.log" || fail "no line of audit"
echo "left behind: no snapshot, no key, no socket, no sidekey; no value and no token in any file"
