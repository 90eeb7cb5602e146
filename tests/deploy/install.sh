#!/usr/bin/env bash
# Puts the programs that tests/deploy/run.sh checks with into a folder, at fixed versions: `tests/deploy/install.sh FOLDER`.
# From PyPI, npm and the Go module proxy; shellcheck and promtool from Debian, where there is apt-get. What cannot be had
# is told and left out, as run.sh tells.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
tools=${1:?the folder for the programs}
mkdir -p "$tools"
tools=$(cd "$tools" && pwd)

[[ -x $tools/venv/bin/python ]] || python3 -m venv "$tools/venv"
"$tools/venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"

if command -v npm >/dev/null; then
    npm install --silent --no-audit --no-fund --prefix "$tools" dclint@3.1.0
else
    echo "no npm: dclint is left out" >&2
fi

if command -v go >/dev/null; then
    mkdir -p "$tools/bin"
    [[ -x $tools/bin/helm ]] || GOBIN=$tools/bin go install helm.sh/helm/v3/cmd/helm@v3.22.0
    command -v kubectl >/dev/null || [[ -x $tools/bin/kustomize ]] ||
        GOBIN=$tools/bin go install sigs.k8s.io/kustomize/kustomize/v5@v5.5.0
else
    echo "no go: helm is left out" >&2
fi

# Unpacked, not installed: of Prometheus we want promtool, and no service.
for package in shellcheck prometheus; do
    [[ ! -e $tools/debian/$package ]] || continue
    if command -v apt-get >/dev/null && (cd "$tools" && apt-get download --quiet "$package" &>/dev/null); then
        mkdir -p "$tools/debian/$package"
        dpkg-deb --extract "$tools/$package"_*.deb "$tools/debian/$package"
        rm -f "$tools/$package"_*.deb
    else
        echo "no package $package: what it checks is left out" >&2
    fi
done
