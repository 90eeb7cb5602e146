#!/usr/bin/env bash
# Runs the image as it will be run: root read-only, no capability, no new privileges, user 65532, 128 MB, as PID 1; reads a
# secret from it, and ends it by SIGTERM: `tests/deploy/image.sh IMAGE SIDEKEY`. IMAGE is one that podman has (`buildah bud
# --format docker --tag sidekey .`); or a file, the binary that deploy/build.sh made, which then lies in an image as the last
# stage of the Dockerfile has it. SIDEKEY is a binary with the emulator. Wants root, and tells size and time.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
image=${1:?the image, or its binary}
sidekey=$(realpath "${2:?a binary with the emulator}")

# Where cgroups are of both kinds, crun starts nothing: in mounts of our own there is one kind.
if mountpoint --quiet /sys/fs/cgroup/unified; then
    # shellcheck disable=SC2016 # for the shell in there
    exec unshare --mount --propagation private -- \
        bash -c 'umount /sys/fs/cgroup/unified && exec "$0" "$@"' "$here/image.sh" "$@"
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/sidekey-image-XXXXXX")
name=sidekey-image-$$
export BUILDAH_ISOLATION=chroot
containers() { podman --cgroup-manager cgroupfs "$@"; }
children=()
cleanup() {
    containers rm --force --time 0 "$name" &>/dev/null || true
    containers image umount "$image" &>/dev/null || true
    kill "${children[@]}" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT
fault() {
    echo "FAULT $*"
    containers logs "$name" || true
    exit 1
}

if [[ -f $image ]]; then
    mkdir -p "$work/context"
    install -D "$image" "$work/context/image/usr/bin/sidekey"
    install -D -m 0644 /etc/ssl/certs/ca-certificates.crt "$work/context/image/etc/ssl/certs/ca-certificates.crt"
    install -d -m 0750 -o 65532 -g 65532 "$work/context/image/run/sidekey"
    sed -n '/^FROM scratch/,$p' "$here/../../Dockerfile" | sed 's/^COPY --from=build /COPY /' >"$work/context/Dockerfile"
    image=localhost/sidekey-image-test
    buildah bud --quiet --format docker --tag "$image" "$work/context" >/dev/null
fi

: >"$work/emulator"
"$sidekey" emulator --listen 127.0.0.1:0 --ca-out "$work/ca.pem" >"$work/emulator" 2>&1 &
children+=($!)
until port=$(grep -oP '^listening on 127\.0\.0\.1:\K\d+' "$work/emulator"); do sleep 0.1; done
chmod 0755 "$work" && chmod 0644 "$work/ca.pem"
install -d -m 0750 -o 65532 -g 65532 "$work/run"

hard=$(ulimit -Hn)
there="127.0.0.1:$port"
run=(--pull never --no-healthcheck --read-only --read-only-tmpfs=false --cap-drop all --security-opt no-new-privileges --network host
    --memory 128m --pids-limit 64 --ulimit "nofile=$hard:$hard" --ulimit nproc=1024:1024
    --volume "$work/run:/run/sidekey" --volume "$work/ca.pem:/ca.pem:ro" --env SIDEKEY_SOURCE_CA_FILE=/ca.pem
    --env AZURE_TENANT_ID=72f988bf-0000-4000-8000-00000000c0de --env AZURE_CLIENT_ID=5ec2e7aa-0000-4000-8000-000000051de0
    --env AZURE_CLIENT_SECRET=demo-client-secret
    --env "SIDEKEY_SOURCE_RESOLVE=login.microsoftonline.com=$there,management.azure.com=$there,*.vault.azure.net=$there")

# -- what it is
told=$(containers image inspect "$image" --format '{{.Config.User}} {{.Config.Entrypoint}} {{.Config.Cmd}}')
[[ $told == "65532:65532 [/usr/bin/sidekey] [serve]" ]] || fault "it runs as $told"
told=$(containers image inspect "$image" --format '{{.HealthCheck.Test}}')
[[ $told == "[CMD /usr/bin/sidekey healthcheck]" ]] || fault "its healthcheck is $told"
bytes=$(containers image inspect "$image" --format '{{.Size}}')
if containers run --rm "${run[@]}" --entrypoint /bin/sh "$image" -c true &>"$work/shell"; then fault "it has a shell"; fi
version=$(containers run --rm "${run[@]}" "$image" --version)

# -- a secret by it, alone, as the README has it
value=$(containers run --rm "${run[@]}" "$image" get pay-prod db-password 2>"$work/get") || fault "get: $(cat "$work/get")"
[[ $value == Autumn-2026-staple ]] || fault "get told another value"

# -- what it may do, while it serves
containers run --detach --name "$name" "${run[@]}" "$image" >/dev/null
until [[ -S $work/run/sidekey.sock ]]; do
    ((SECONDS < 60)) || fault "it does not listen"
    sleep 0.01
done
containers exec "$name" /usr/bin/sidekey wait --timeout 60s >/dev/null || fault "it does not get ready"
containers exec "$name" /usr/bin/sidekey healthcheck >/dev/null || fault "its healthcheck fails"
[[ $(curl -sS --unix-socket "$work/run/sidekey.sock" http://sidekey/v1/vaults/pay-prod/secrets/db-password) == "$value" ]] ||
    fault "its socket does not tell the secret"
pid=$(containers inspect "$name" --format '{{.State.Pid}}')
status() { sed -n "s/^$1:[[:space:]]*//p" "/proc/$pid/status"; }
[[ $(status Uid) == 65532$'\t'65532$'\t'65532$'\t'65532 ]] || fault "its user is $(status Uid)"
for kind in CapInh CapPrm CapEff CapBnd CapAmb; do
    [[ $(status $kind) == 0000000000000000 ]] || fault "it has capabilities: $kind $(status $kind)"
done
[[ $(status NoNewPrivs) == 1 && $(status Seccomp) == 2 ]] || fault "it may gain privileges, or has no seccomp filter"
[[ $(status NSpid) == *$'\t'1 ]] || fault "it is not PID 1"
awk '$5 == "/" { exit $6 !~ /^ro/ }' "/proc/$pid/mountinfo" || fault "its root may be written to"
inside=$(containers exec "$name" /usr/bin/sidekey doctor 2>&1 | grep -E '^  (key of values|sandbox)') || true

# -- and its end
containers stop --time 10 "$name" >/dev/null
[[ $(containers inspect "$name" --format '{{.State.ExitCode}}') == 0 ]] || fault "it does not obey SIGTERM"
[[ ! -e $work/run/sidekey.sock ]] || fault "it leaves its socket behind"

# -- how long it takes to listen: from podman's start, and from that of the process alone
median() { sort -n | sed -n 6p; }
listening() { # SINCE FILE
    until [[ -S $work/run/sidekey.sock ]]; do ((SECONDS < 300)) || fault "it does not listen"; done
    echo $((($(date +%s%N) - $1) / 100000)) >>"$2"
}
alone() {
    setpriv --reuid 65532 --regid 65532 --clear-groups env --ignore-environment XDG_RUNTIME_DIR="$work" AZURE_TENANT_ID=t \
        AZURE_CLIENT_ID=c AZURE_CLIENT_SECRET=s "$binary" serve --socket "$work/run/sidekey.sock" 2>/dev/null
}
binary=$work/sidekey
cp "$(containers image mount "$image")/usr/bin/sidekey" "$binary"
for _ in {1..11}; do
    containers rm --force "$name" >/dev/null
    containers create --name "$name" "${run[@]}" "$image" >/dev/null
    began=$(date +%s%N)
    containers start "$name" >/dev/null &
    listening "$began" "$work/container"
    wait "$!"
    containers stop --time 10 "$name" >/dev/null
    began=$(date +%s%N)
    alone &
    listening "$began" "$work/process"
    kill "$(pgrep --parent "$!" || echo "$!")"
    wait "$!" || true
done
tenths() { echo "$(($1 / 10)).$(($1 % 10)) ms"; }
echo "$version, $bytes bytes"
echo "listens $(tenths "$(median <"$work/container")") after podman's start, $(tenths "$(median <"$work/process")") after that of the process alone (medians of 11)"
echo "$inside"
echo "read-only, no capability, no new privileges, 65532, PID 1, SIGTERM: ok"
