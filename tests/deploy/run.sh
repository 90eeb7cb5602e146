#!/usr/bin/env bash
# Holds all that is shipped beside the binary against those who will read it: linters, schemas, systemd, Prometheus, and
# sidekey itself. `tests/deploy/run.sh SIDEKEY_BINARY [TOOLS]`; TOOLS is what tests/deploy/install.sh made, and what is on
# PATH will do as well. The binary must have the emulator. Each failure is told, and what was left out, and why.
set -uo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
sidekey=$(realpath "${1:?the binary}")
if [[ -n ${2:-} ]]; then
    tools=$(realpath "$2")
    PATH=$tools/venv/bin:$tools/bin:$tools/node_modules/.bin:$tools/debian/shellcheck/usr/bin:$tools/debian/prometheus/usr/bin:$PATH
fi
cd "$root" || exit 1
work=$(mktemp -d "${TMPDIR:-/tmp}/sidekey-deploy-XXXXXX")
trap 'rm -rf "$work"' EXIT

checked=0 failed=() left_out=()
check() { # WHAT COMMAND…
    local what=$1
    shift
    checked=$((checked + 1))
    if "$@" >"$work/log" 2>&1; then
        echo "ok    $what"
    else
        echo "FAIL  $what"
        sed 's/^/      /' "$work/log"
        failed+=("$what")
    fi
}
have() { # PROGRAM WHAT
    command -v "$1" >/dev/null && return
    left_out+=("$2: no $1 here")
    return 1
}
into() { # FILE COMMAND…
    local file=$1
    shift
    "$@" >"$file"
}
kustomize() {
    if command -v kubectl >/dev/null; then kubectl kustomize "$1"; else command kustomize build "$1"; fi
}

# -- the image
have hadolint "the Dockerfile's lint" && check "hadolint Dockerfile" hadolint Dockerfile
same_toolchain() {
    local pinned
    pinned=$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
    grep -q "^ENV RUSTUP_TOOLCHAIN=$pinned\$" Dockerfile && grep -q "rust:${pinned%.*}-" Dockerfile
}
check "the Dockerfile's compiler is that of rust-toolchain.toml" same_toolchain
versions() {
    local version
    version=$(sed -n '0,/^version/s/^version = "\(.*\)"/\1/p' Cargo.toml)
    grep -qx "ARG VERSION=$version" Dockerfile && grep -qx "appVersion: $version" deploy/helm/sidekey/Chart.yaml &&
        grep -qF "default \"$version\"" deploy/helm/sidekey/templates/_sidecar.tpl &&
        grep -qx "    newTag: $version" deploy/kubernetes/overlays/production/kustomization.yaml deploy/kubernetes/node/kustomization.yaml
}
check "images and charts have Cargo.toml's version" versions
targets() {
    [[ $(deploy/target.sh amd64) == x86_64-unknown-linux-musl && $(deploy/target.sh arm64) == aarch64-unknown-linux-musl ]] &&
        [[ $(deploy/target.sh "") == "$(uname -m)-unknown-linux-musl" ]] && ! deploy/target.sh riscv64
}
check "two processors are built for, and no other" targets

# -- scripts
scripts() { git ls-files -z | xargs -0 grep -lIE --null '^#!.*\b(ba|da)?sh\b' --; }
linted() { scripts | xargs -0 shellcheck --external-sources; }
have shellcheck "the scripts' lint" && check "shellcheck of every script" linted

# -- Kubernetes: the oldest release with native sidecars, and the newest that the checker knows
if command -v kubectl >/dev/null || have kustomize "kustomize"; then
    for folder in base overlays/production node; do
        check "kustomize $folder" into "$work/$(basename "$folder").yaml" kustomize "deploy/kubernetes/$folder"
    done
fi
if have helm "the chart"; then
    check "helm lint" helm lint --quiet --strict --kube-version 1.29.0 deploy/helm/sidekey
    template() { helm template --kube-version 1.29.0 "$@"; }
    check "helm template, as it stands" into "$work/chart.yaml" template sidekey deploy/helm/sidekey --namespace sidekey
    cp -r deploy/helm "$work/helm"
    check "the app's chart finds sidekey's" helm dependency update --skip-refresh "$work/helm/example"
    check "helm template of an app with the sidecar" into "$work/app.yaml" template orders "$work/helm/example" --namespace orders
    refused() { ! template sidekey deploy/helm/sidekey --set imgae.tag=1; }
    check "a misspelt value is refused" refused
fi
for file in "$work"/*.yaml; do
    [[ -s $file ]] || continue
    name=$(basename "$file" .yaml)
    for version in 1.29 1.37; do
        have kubernetes-validate "Kubernetes' schemas" &&
            check "Kubernetes $version takes $name" kubernetes-validate --strict --quiet -k "$version" "$file"
    done
    check "pods of $name are restricted, and their sidekeys' configurations good" python "$here/pods.py" "$sidekey" "$file"
done

# -- compose
have check-jsonschema "compose's schema" &&
    check "compose's schema" check-jsonschema --builtin-schema vendor.compose-spec deploy/compose/compose.yaml
have dclint "compose's lint" && check "dclint" dclint --max-warnings 0 deploy/compose
if docker compose version >/dev/null 2>&1; then
    check "docker compose config" env AZURE_TENANT_ID=t AZURE_CLIENT_ID=c docker compose --file deploy/compose/compose.yaml config --quiet
else
    left_out+=("docker compose config: no such plugin here")
fi

# -- systemd: as installed, with the binary at hand in its place
if have systemd-analyze "the units"; then
    mkdir "$work/units"
    sed "s#^ExecStart=sidekey#ExecStart=$sidekey#" deploy/sidekey.service >"$work/units/sidekey.service"
    cp deploy/sidekey.socket "$work/units/"
    silent() { "$@" 2>&1 | tee /dev/stderr | { ! grep -q .; }; }
    check "systemd-analyze verify has nothing to say" \
        silent env SYSTEMD_UNIT_PATH="$work/units:" systemd-analyze verify "$work/units/sidekey.service" "$work/units/sidekey.socket"
    exposed() {
        systemd-analyze security --offline=true --threshold=15 "$work/units/sidekey.service" | tail -n 1
        return "${PIPESTATUS[0]}"
    }
    check "systemd-analyze security: an exposure of 1.5 at most" exposed
fi
accounts() {
    mkdir -p "$work/tree/etc"
    printf 'root:x:0:0::/root:/bin/sh\n' >"$work/tree/etc/passwd"
    printf 'root:x:0:\n' >"$work/tree/etc/group"
    systemd-sysusers --root="$work/tree" "$root/deploy/sidekey.sysusers.conf" &&
        systemd-tmpfiles --root="$work/tree" --create "$root/deploy/sidekey.tmpfiles.conf" &&
        [[ $(stat -c %a "$work/tree/run/sidekey") == 750 ]] && grep -q ^sidekey: "$work/tree/etc/passwd"
}
if ! command -v systemd-sysusers >/dev/null || ((EUID)); then
    left_out+=("sysusers and tmpfiles: no systemd-sysusers, or not root")
else
    check "sysusers and tmpfiles make the user and its folders" accounts
fi

# -- Prometheus and Grafana
if have promtool "alerts and queries"; then
    check "promtool check rules" promtool check rules --lint-fatal deploy/prometheus/sidekey.rules.yaml
    check "promtool test rules: each alert fires when it shall, and else none" promtool test rules deploy/prometheus/sidekey.test.yaml
    check "the dashboard's queries" into "$work/queries.yml" python "$here/metrics.py" --as-rules deploy/grafana/sidekey.json
    check "every one of them is PromQL" promtool check rules "$work/queries.yml"
fi
check "alerts and dashboard ask for what sidekey exports, and the dashboard shows all of it" python "$here/metrics.py" "$sidekey"
runbook() {
    local alert
    while read -r alert; do
        grep -q "^| \`$alert\`" docs/operations.md || { echo "docs/operations.md does not tell of $alert"; return 1; }
    done < <(sed -n 's/^ *- alert: //p' deploy/prometheus/sidekey.rules.yaml)
}
check "each alert has its row in docs/operations.md" runbook

# -- Azure
check "Bicep parses, and its resources are as Azure's own models have them" python "$here/bicep.py"
left_out+=("Bicep's compiler, for its expressions: it is in none of the registries that are asked")
check "cloud-init is good, and the configurations for Azure" python "$here/cloud_init.py" "$sidekey"

# -- configurations that stand alone
configuration() {
    env -i PATH="$PATH" AZURE_TENANT_ID=t AZURE_CLIENT_ID=c SIDEKEY_SOURCE_CLIENT_SECRET_FILE=/etc/hostname \
        "$sidekey" check --config "$1"
}
check "sidekey check deploy/sidekey.toml" configuration deploy/sidekey.toml
check "sidekey check deploy/compose/sidekey.toml" configuration deploy/compose/sidekey.toml
misspelt() {
    sed 's/^read = /raed = /' deploy/compose/sidekey.toml >"$work/misspelt.toml"
    ! configuration "$work/misspelt.toml"
}
check "and a misspelt one is not good" misspelt

# -- words
have jq "the quick start" &&
    check "docs/quick-start.md, run as it stands from an empty folder" "$here/quick-start.sh" "$sidekey"
have az "the quick start's calls of az, held against Microsoft's own" || true
links() { python "$here/links.py" README.md deploy/*.md docs/*.md client-examples/*.md client-examples/*/*.md; }
check "links in README, deploy/, docs/ and client-examples/ lead somewhere" links

echo
echo "$checked checks, ${#failed[@]} failed"
for what in "${left_out[@]}"; do echo "left out: $what"; done
((${#failed[@]} == 0))
