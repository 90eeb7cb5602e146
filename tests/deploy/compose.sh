#!/usr/bin/env bash
# Starts deploy/compose by podman-compose, with a fake Azure: `tests/deploy/compose.sh IMAGE SIDEKEY`. IMAGE is sidekey's, as
# podman has it; SIDEKEY is a binary with the emulator. The app is sidekey's own command in the place of curl, so that no
# image is fetched; its user, its group and its folder are those of compose.yaml. Wants root.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
image=${1:?the image}
sidekey=$(realpath "${2:?a binary with the emulator}")

# Where cgroups are of both kinds, crun starts nothing: in mounts of our own there is one kind.
if mountpoint --quiet /sys/fs/cgroup/unified; then
    # shellcheck disable=SC2016 # for the shell in there
    exec unshare --mount --propagation private -- \
        bash -c 'umount /sys/fs/cgroup/unified && exec "$0" "$@"' "$here/compose.sh" "$@"
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/sidekey-compose-XXXXXX")
children=()
compose() { podman-compose --file compose.yaml --file test.yaml "$@" 2>&1; }
cleanup() {
    compose down --volumes &>/dev/null || true
    kill "${children[@]}" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT
cp -r "$here/../../deploy/compose/." "$work"
cd "$work"
chmod 0755 .

# What root may not raise here, nobody in a container may.
cat >containers.conf <<EOF
[containers]
default_ulimits = ["nofile=1024:$(ulimit -Hn)", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
EOF
export CONTAINERS_CONF=$work/containers.conf

: >emulator.log
"$sidekey" emulator --listen 127.0.0.1:0 --ca-out ca.pem >emulator.log 2>&1 &
children+=($!)
until there=$(grep -oP '^listening on \K127\.0\.0\.1:\d+' emulator.log); do sleep 0.1; done
chmod 0644 ca.pem
printf demo-client-secret >client-secret
chown 65532 client-secret && chmod 0400 client-secret
cat >test.yaml <<EOF
services:
  sidekey:
    image: $image
    network_mode: host
    volumes: ["./ca.pem:/ca.pem:ro"]
    environment:
      SIDEKEY_SOURCE_CA_FILE: /ca.pem
      SIDEKEY_SOURCE_RESOLVE: "login.microsoftonline.com=$there,management.azure.com=$there,*.vault.azure.net=$there"
  app:
    image: $image
    network_mode: host
    entrypoint: [/usr/bin/sidekey]
    command: [wait, --for, pay-prod/db-password, --addr, /run/sidekey/sidekey.sock, --timeout, 60s]
EOF

export AZURE_TENANT_ID=72f988bf-0000-4000-8000-00000000c0de AZURE_CLIENT_ID=5ec2e7aa-0000-4000-8000-000000051de0
timeout 120 podman-compose --file compose.yaml --file test.yaml up --no-build --exit-code-from app >told 2>&1 || { cat told; exit 1; }
if ! grep -q '"caller":"app","by":"peer","uid":1001,"gid":1001,"operation":"read","vault":"pay-prod"' told || grep -q 'may be read' told; then
    cat told
    exit 1
fi
echo "compose: the app reads by its user, over a volume in memory; the secret's file is sidekey's alone: ok"
