#!/usr/bin/env bash
# Every client example that this machine can run, against `sidekey demo`: over the socket and over TCP, byte for byte, with
# failures, a rotation, a server that hangs and one that is not there. Tells what is left out and why; fails if anything does.
#
#   tests/clients/run.sh [SIDEKEY_BINARY] [EXAMPLE…]
#
# Without a binary, the debug build is made and used. CLIENTS_TOOLS keeps what npm and pip bring between runs
# (default: target/clients). CLIENTS_ALL=1: what cannot be run for want of a program is a failure.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
if [[ $# -gt 0 ]]; then
  sidekey=$(realpath "$1")
  shift
else
  cargo build --quiet --locked --manifest-path "$root/Cargo.toml"
  sidekey="${CARGO_TARGET_DIR:-$root/target}/debug/sidekey"
fi
wanted=("$@")
examples=$root/client-examples
tools=${CLIENTS_TOOLS:-$root/target/clients}
mkdir -p "$tools"
# shellcheck source=tests/clients/dotnet.sh
source "$here/dotnet.sh"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

left_out=()
programs=()

# example NAME PROGRAM BUILD-FUNCTION COMMAND…: what is built and run, if PROGRAM is here.
example() {
  local name=$1 program=$2 build=$3
  shift 3
  if [[ ${#wanted[@]} -gt 0 && " ${wanted[*]} " != *" $name "* ]]; then return; fi
  if ! command -v "$program" >/dev/null; then
    left_out+=("$name: there is no $program")
    return
  fi
  if ! "$build"; then
    echo "$name: cannot be built" >&2
    exit 1
  fi
  programs+=("$name" "$*" --)
}

# What is to be copied stays small: under 40 lines, but for comments and imports.
for file in "$examples"/*/[sS]ecret.{sh,py,mjs,ts,go,java,cs,rs,php,rb}; do
  [[ -e $file ]] || continue
  lines=$(sed '/^import ($/,/^)$/d' "$file" | grep -cvE '^\s*($|//|#|/\*|\*|""")|^(import|from|using|use|require|package) ')
  if ((lines >= 40)); then
    echo "$file: $lines lines of code" >&2
    exit 1
  fi
done

nothing() { :; }
typescript() {
  cp "$examples"/typescript/* "$tools/" && (cd "$tools" && npm install --silent --no-audit --no-fund && npm run --silent build -- --outDir "$work/typescript") &&
    printf '{"type":"module"}' >"$work/typescript/package.json"
}
go_build() { (cd "$examples/go" && test -z "$(gofmt -l .)" && go vet . && go build -o "$work/go-secret" .); }
java_build() { javac -Xlint:all -Werror --release 17 -d "$work/java" "$examples"/java/*.java; }
rust_build() { rustc --edition 2024 -D warnings -o "$work/rust-secret" "$examples/rust/main.rs"; }
csharp_build() { dotnet_build "$examples/csharp" "$work/csharp"; }
php_build() { php -r 'exit(extension_loaded("curl") ? 0 : 1);' && php -l "$examples/php/secret.php" >/dev/null; }
ruby_build() { ruby -wc "$examples/ruby/secret.rb" >/dev/null; }

example sh curl nothing "$examples/sh/secret.sh"
example python python3 nothing "$examples/python/secret.py"
example node node nothing "$examples/node/secret.mjs"
example typescript npm typescript node "$work/typescript/secret.js"
example go go go_build "$work/go-secret"
example java javac java_build java -XX:TieredStopAtLevel=1 -cp "$work/java" Main
example csharp "$(dotnet_by)" csharp_build "$work/csharp/secret"
example rust rustc rust_build "$work/rust-secret"
example php php php_build "$examples/php/secret.php"
example ruby ruby ruby_build "$examples/ruby/secret.rb"

for reason in "${left_out[@]}"; do echo "left out: $reason"; done
if [[ -n ${CLIENTS_ALL:-} && ${#left_out[@]} -gt 0 ]]; then exit 1; fi
python3 "$here/drive.py" "$sidekey" "$work" "${programs[@]}"
