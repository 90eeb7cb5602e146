#!/usr/bin/env bash
# Copies what is new in one store to another: bulk-copy.sh FROM TO, such as `s3:exports azure:archive` or the other way.
#
# One listing of what changed since the last whole copy is split into 62 partitions by the first letter or digit of the name,
# and one for all other names; WORKERS of them are copied at a time. What was done is remembered in STATE: a copy that was
# ended goes on where it was. Each attempt at a partition has the keys of that moment from sidekey: after a failure the vault
# is asked anew, so a key that was rotated in between is picked up. No key is on a command line or in a file.
#
#   WORKERS   8            partitions at a time
#   ATTEMPTS  6            at each partition, 1, 2, 4, … s apart
#   STATE     ./state      the listing and what is done; names, no keys
#   REMOTES   remotes.env  how rclone finds the stores
#   KEYS      keys.toml    which secrets are whose keys
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
export WORKERS=${WORKERS:-8} ATTEMPTS=${ATTEMPTS:-6} STATE=${STATE:-state}
export REMOTES=${REMOTES:-$here/remotes.env} KEYS=${KEYS:-$here/keys.toml}
# When an object was stored is what counts, not the time that whoever stored it gave it.
export RCLONE_CONFIG=/dev/null RCLONE_RETRIES=1 RCLONE_USE_SERVER_MODTIME=true

# rclone with the keys of now. It becomes rclone: no process in between holds them.
keyed() { sidekey exec --env-file "$REMOTES" --map "$KEYS" -- rclone "$@"; }

# Makes the sidecar ask the vault for each of the keys, whatever it holds.
ask_anew() {
  local reference
  sed -nE 's/^[^#=]*= *"([^"#]+).*/\1/p' "$KEYS" | sort -u | while read -r reference; do
    sidekey get "$reference" --no-cache >/dev/null || true # The next attempt tells.
  done
}

# attempts WHAT COMMAND…: until it succeeds.
attempts() {
  local what=$1 attempt
  shift
  for ((attempt = 1; ; attempt++)); do
    if "$@"; then return; fi
    if ((attempt >= ATTEMPTS)); then
      echo "$what: given up after $attempt attempts" >&2
      return 1
    fi
    echo "$what: attempt $attempt failed; once more with keys asked for anew" >&2
    sleep $((1 << (attempt - 1)))
    ask_anew
  done
}

list() { # FROM SINCE: one name per line, whole or not at all
  keyed lsf --recursive --files-only --fast-list ${2:+--max-age "$2"} "$1" >"$STATE/listing.new" && mv "$STATE/listing.new" "$STATE/listing"
}

# As the worker of one partition, called by the other one below.
if [[ ${1:-} == --partition ]]; then
  from=$2 to=$3 partition=$4
  # The names are told, so neither store is listed again; what is there already, with the same checksum, is passed over.
  attempts "partition $partition" keyed copy --files-from-raw "$STATE/$partition.todo" --no-traverse --checksum --log-level ERROR "$from" "$to"
  mv "$STATE/$partition.todo" "$STATE/$partition.done"
  done=("$STATE"/*.done)
  echo "$(date -u +%FT%TZ) partition $partition: $(wc -l <"$STATE/$partition.done") objects; ${#done[@]} of $(<"$STATE/partitions") partitions done"
  exit
fi

from=${1:?FROM} to=${2:?TO}
mkdir -p "$STATE"
exec 9>"$STATE/lock"
flock --nonblock 9 || { echo "another copy works on $STATE" >&2; exit 69; }

if [[ ! -e $STATE/partitions ]]; then # else an earlier copy was ended: go on with it
  date -u +%FT%TZ >"$STATE/started"
  since=
  [[ ! -e $STATE/since ]] || since=$(<"$STATE/since")
  attempts listing list "$from" "$since"
  rm -f "$STATE"/*.todo "$STATE"/*.done
  # In awk's C locale a letter is one of ASCII's. The case matters: a and A are two partitions, with two files.
  LC_ALL=C awk -v state="$STATE" '{
    first = substr($0, 1, 1)
    print >(state "/" (first ~ /^[0-9A-Za-z]$/ ? first : "other") ".todo")
  }' "$STATE/listing"
  todo=("$STATE"/*.todo)
  [[ -e ${todo[0]} ]] || todo=()
  echo "${#todo[@]}" >"$STATE/partitions.new" && mv "$STATE/partitions.new" "$STATE/partitions"
  echo "$(wc -l <"$STATE/listing") objects in ${#todo[@]} partitions, ${since:+changed since $since}"
fi

failed=0
find "$STATE" -name '*.todo' -printf '%f\0' | sed -z 's/\.todo$//' | sort -z |
  xargs -0 --no-run-if-empty -n 1 -P "$WORKERS" "$0" --partition "$from" "$to" || failed=1
if ((failed)); then
  echo "not everything is copied; the same command goes on with what is left" >&2
  exit 69
fi
# The next copy starts where this one's listing did, and a minute before: clocks differ.
date -u -d "$(<"$STATE/started") - 1 minute" +%FT%TZ >"$STATE/since.new" && mv "$STATE/since.new" "$STATE/since"
rm -f "$STATE/partitions" "$STATE"/*.done "$STATE/listing"
echo "all is copied"
