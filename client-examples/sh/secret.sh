#!/bin/sh
# Reads secrets from sidekey: secret.sh VAULT/NAME|NAME…, or without arguments one for each line of stdin.
# Needs curl alone. No temporary file, and nothing secret on a command line: curl is told the token on its stdin.
set -u

ask() {
  case ${SIDEKEY_ADDR:=/run/sidekey/sidekey.sock} in
    http://*) set -- "$@" "$SIDEKEY_ADDR$path" ;;
    *) set -- "$@" --unix-socket "$SIDEKEY_ADDR" "http://sidekey$path" ;;
  esac
  { [ -z "${SIDEKEY_TOKEN_FILE:-}" ] || printf 'Authorization: Bearer %s' "$(cat "$SIDEKEY_TOKEN_FILE")"; } |
    curl --silent --noproxy '*' --max-time "${SIDEKEY_TIMEOUT:-20}" --header @- "$@"
}

secret() { # the value to stdout, byte for byte, asked for anew at each use; what went wrong to stderr
  case $1 in
    *[!A-Za-z0-9:/-]*) echo "sidekey: $1: neither VAULT/NAME nor NAME" >&2; return 64 ;;
    */*) path=/v1/vaults/${1%%/*}/secrets/${1#*/} ;;
    *) path=/v1/secrets/$1 ;;
  esac
  # An answer without a length was cut off in its head.
  { status=$(ask --fail --write-out '%{stderr}%{http_code} %header{content-length}' 2>&1 >&3); } 3>&1 &&
    [ "${status#* }" ] && return
  status=${status%% *}
  case $status in
    000 | 2*) echo "sidekey: no whole answer from $SIDEKEY_ADDR" >&2; return 69 ;;
  esac
  printf 'sidekey: %s: %s ' "$1" "$status" >&2
  ask >&2 # the problem, as JSON; after a 409 with the candidates to choose from
  case $status in
    404 | 409) return 1 ;;
    400) return 64 ;;
    401 | 403 | 410 | 502) return 77 ;;
    *) return 69 ;;
  esac
}

if [ $# -eq 0 ]; then
  while read -r reference; do secret "$reference" </dev/null || exit; done
else
  for reference; do secret "$reference" || exit; done
fi
