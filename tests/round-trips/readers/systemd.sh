#!/usr/bin/env bash
# What a service gets whose EnvironmentFile= is FILE, from a systemd that is the first process of a world of its own:
# NAME=VALUE and a NUL for each variable. Wants root.
#
#   systemd.sh FILE OUT
set -euo pipefail

# shellcheck disable=SC2016
exec unshare --pid --mount --fork --kill-child --uts --ipc --cgroup --propagation private -- bash -euc '
  mount -t proc proc /proc
  cp "$1" "$2.given"
  mount -t tmpfs tmpfs /run
  mkdir -p /run/systemd/system
  mount -t cgroup2 none /sys/fs/cgroup
  mount --make-rshared /
  cat >/run/systemd/system/reader.service <<UNIT
[Unit]
DefaultDependencies=no
SuccessAction=exit-force
FailureAction=exit-force
[Service]
Type=oneshot
EnvironmentFile=$2.given
ExecStart=/usr/bin/env -0
StandardOutput=file:$2
UNIT
  exec env -i container=other /lib/systemd/systemd --system --unit=reader.service --log-target=console --log-level=err --show-status=no
' systemd.sh "$(realpath "$1")" "$(realpath -m "$2")" >&2
