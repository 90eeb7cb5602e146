#!/usr/bin/env bash
# Runs docs/quick-start.md as it stands, from an empty folder, against a fake Azure: `tests/deploy/quick-start.sh SIDEKEY`.
# What stands in for `az` answers what the page asks for, keeps the secret that it is given, and gives tokens; everything
# that sidekey and curl do there is real. Then each call of `az` is held against Microsoft's own, where that is on PATH:
# not signed in, it still tells a command, a flag or a choice that it does not know.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
sidekey=$(realpath "${1:?the binary}")
page=$here/../../docs/quick-start.md
work=$(mktemp -d "${TMPDIR:-/tmp}/sidekey-quick-start-XXXXXX")
children=()
trap 'kill "${children[@]}" 2>/dev/null; rm -rf "$work"' EXIT
mkdir "$work/bin" "$work/empty" "$work/calls" "$work/az"
ln -s "$sidekey" "$work/bin/sidekey"
real=$(command -v az || true)

tenant=72f988bf-0000-4000-8000-00000000c0de client=5ec2e7aa-0000-4000-8000-000000051de0
cat >"$work/estate.toml" <<EOF
[[tenant]]
id = "$tenant"
domain = "contoso.example"

[[app]]
name = "sidekey"
tenant = "contoso.example"
id = "$client"
secret = [{ value = "quick-start" }]

[[subscription]]
id = "0b1f6471-0000-4000-8000-0000000000a1"
name = "pay"

[[grant]]
app = "sidekey"
subscriptions = ["*"]

[[grant]]
app = "sidekey"
vaults = ["*"]
rights = ["get", "list"]

[[vault]]
name = "pay-prod-1"
subscription = "pay"
EOF

: >"$work/emulator"
"$sidekey" emulator --listen 127.0.0.1:0 --estate "$work/estate.toml" --ca-out "$work/ca.pem" >"$work/emulator" 2>&1 &
children+=($!)
for _ in {1..300}; do
    port=$(sed -n 's/^listening on 127\.0\.0\.1://p' "$work/emulator")
    [[ -z $port ]] || break
    sleep 0.1
done

cat >"$work/bin/az" <<EOF
#!/usr/bin/env bash
set -euo pipefail
printf '%s\0' "\$@" >"\$(mktemp "$work/calls/XXXXXX")"
azure() { curl --silent --show-error --fail --noproxy '*' --cacert "$work/ca.pem" --connect-to "::127.0.0.1:$port" "\$@"; }
case "\$*" in
"account get-access-token"*)
    azure https://login.microsoftonline.com/$tenant/oauth2/v2.0/token --data grant_type=client_credentials \\
        --data client_id=$client --data client_secret=quick-start --data-urlencode scope=https://vault.azure.net/.default |
        jq --arg at "\$((\$(date +%s) + 3000))" '{accessToken: .access_token, expires_on: (\$at | tonumber), tenant: "$tenant", tokenType: "Bearer"}'
    ;;
"keyvault secret set"*" --file "*)
    call="\$*" && file=\${call##* --file } && value=\$(cat "\${file%% *}")
    azure https://management.azure.com/_emulator/changes --json \\
        "{\"set\": {\"vault\": \"pay-prod-1\", \"secret\": \"db-password\", \"value\": \"\$value\"}}" >/dev/null
    ;;
*"--query tenantId"*) echo $tenant ;;
*"--query appId"*) echo $client ;;
*"--query password"*) echo quick-start ;;
*--query*) echo "\$2-id" ;;
esac
EOF
chmod +x "$work/bin/az"

# The page's blocks, one after another. Of its two identities, the first is a machine's, and is undone again.
{
    echo 'set -euo pipefail'
    awk '/^```sh$/ { inside = 1; n += 1; print "echo \"-- block " n "\""; if (n == 3) print "("; next }
         /^```$/ { if (inside && n == 3) print ")"; inside = 0 }
         inside' "$page" | sed 's/^VAULT=pay-prod-.*/VAULT=pay-prod-1/'
    # shellcheck disable=SC2016 # for the shell that runs the page
    echo 'kill "$!"; wait "$!"'
} >"$work/page"
(cd "$work/empty" && env -i PATH="$work/bin:$PATH" HOME="$work" SIDEKEY_SOURCE_CA_FILE="$work/ca.pem" \
    SIDEKEY_SOURCE_RESOLVE="login.microsoftonline.com=127.0.0.1:$port,management.azure.com=127.0.0.1:$port,*.vault.azure.net=127.0.0.1:$port" \
    bash "$work/page") >"$work/told" 2>&1 || { cat "$work/told"; exit 1; }
values=$(grep -o correct-horse "$work/told" | wc -l)
[[ $values == 3 ]] || { cat "$work/told"; echo "the value was told $values times, not by three ways"; exit 1; }
[[ $(stat -c %a "$work/empty/client-secret") == 600 ]] || { echo "others may read client-secret"; exit 1; }

calls=("$work"/calls/*) faults=0
if [[ -z $real ]]; then
    echo "${#calls[@]} calls of az, by a stand-in alone"
    exit
fi
for call in "${calls[@]}"; do
    mapfile -d '' -t words <"$call"
    [[ ${words[*]} != login ]] || continue
    [[ ${words[*]} != "group delete"* ]] || words+=(--yes)
    told=$(AZURE_CONFIG_DIR="$work/az" "$real" "${words[@]}" </dev/null 2>&1) || true
    if ! grep -q "Please run 'az login'" <<<"$told"; then
        printf 'az %s\n%s\n' "${words[*]}" "$told"
        faults=$((faults + 1))
    fi
done
echo "${#calls[@]} calls of az, $faults of which Microsoft's own does not take"
((faults == 0))
