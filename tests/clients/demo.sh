# shellcheck shell=bash
# To be sourced: a demo of its own for a script, in $work, and the means to change its Azure. Wants $sidekey, the binary.

: "${sidekey:?}"
work=$(mktemp -d)
demo_children=()

# Runs at the end, whatever the end: the children that `background` started, the youngest first, then the folder.
demo_cleanup() {
  local at
  for ((at = ${#demo_children[@]} - 1; at >= 0; at--)); do
    kill "${demo_children[at]}" 2>/dev/null || true
    wait "${demo_children[at]}" 2>/dev/null || true
  done
  rm -rf "$work"
}
trap demo_cleanup EXIT

# background LOG COMMAND…: started now, ended with the script. $! is its process.
background() {
  local log=$1
  shift
  "$@" >"$log" 2>&1 &
  demo_children+=($!)
}

# until_true SECONDS COMMAND…: waits until it succeeds.
until_true() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    if ((SECONDS > end)); then
      echo "in vain: $*" >&2
      return 1
    fi
    sleep 0.1
  done
}

# Starts `sidekey demo`. Sets SIDEKEY_ADDR (the socket), demo_tcp, demo_token, demo_emulator, demo_ca.
start_demo() {
  unset "${!SIDEKEY_@}" "${!AZURE_@}"
  mkdir -m 700 "$work/sockets"
  background "$work/demo.log" "$sidekey" demo --socket "$work/sockets/sidekey.sock"
  until_true 30 grep -qx ready "$work/demo.log"
  export SIDEKEY_ADDR=$work/sockets/sidekey.sock
  demo_token=$(sed -nE 's/.*\(cat ([^)]+)\).*/\1/p' "$work/demo.log" | head -n 1)
  demo_tcp=$(grep -oE 'http://127\.0\.0\.1:[0-9]+' "$work/demo.log" | head -n 1)
  demo_emulator=$(sed -nE 's/.*azure\.net" = "(127\.0\.0\.1:[0-9]+)".*/\1/p' "${demo_token%/*}/sidekey.toml")
  demo_ca=${demo_token%/*}/ca.pem
  export demo_tcp demo_token
}

# emulator METHOD PATH [JSON]: its control.
emulator() {
  local port=${demo_emulator##*:}
  curl --silent --show-error --fail --noproxy '*' --cacert "$demo_ca" --resolve "management.azure.com:$port:127.0.0.1" \
    --request "$1" ${3:+--data-binary "$3"} "https://management.azure.com:$port/_emulator/$2"
}

# put_secret VAULT NAME <VALUE: a new version in the vault, and the sidecar knows it when this ends.
put_secret() {
  python3 -c 'import json,sys; v,n=sys.argv[1:]; print(json.dumps({"set":{"vault":v,"secret":n,"value":sys.stdin.buffer.read().decode()}}))' \
    "$1" "$2" >"$work/change.json"
  emulator POST changes "@$work/change.json"
  "$sidekey" get "$1/$2" --no-cache --addr "$SIDEKEY_ADDR" >/dev/null
}
