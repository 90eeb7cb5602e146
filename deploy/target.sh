#!/bin/sh
# Rust's name of what runs on a processor that images call amd64 or arm64: `deploy/target.sh [ARCHITECTURE]`; without one,
# this machine's. With --packages before it: what Debian's packages are called that this machine needs to build for it.
set -eu

packages=no
if [ "${1:-}" = --packages ]; then
    packages=yes
    shift
fi
here=$(uname -m)
case "${1:-$here}" in
amd64 | x86_64) there=x86_64 ;;
arm64 | aarch64) there=aarch64 ;;
*)
    echo "no build for ${1:-$here}: amd64 and arm64 are known" >&2
    exit 64
    ;;
esac

if [ "$packages" = no ]; then
    echo "$there-unknown-linux-musl"
elif [ "$there" = "$here" ]; then
    echo musl-tools
else
    echo "gcc-$(echo "$there" | tr _ -)-linux-gnu libc6-dev-$(echo "$there" | sed 's/x86_64/amd64/; s/aarch64/arm64/')-cross"
fi
