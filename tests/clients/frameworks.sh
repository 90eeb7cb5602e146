#!/usr/bin/env bash
# The frameworks' own ways of client-examples/, each through its real consumer as far as this machine has it.
#
#   tests/clients/frameworks.sh [SIDEKEY_BINARY]     (default: the debug build, which must be there)
#
# CLIENTS_TOOLS keeps what is built between runs (default: target/clients). CLIENTS_ALL=1: what cannot be run is a failure.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
examples=$root/client-examples
sidekey=$(realpath "${1:-${CARGO_TARGET_DIR:-$root/target}/debug/sidekey}")
tools=${CLIENTS_TOOLS:-$root/target/clients}
mkdir -p "$tools"
# shellcheck source=tests/clients/dotnet.sh
source "$here/dotnet.sh"
# shellcheck source=tests/clients/demo.sh
source "$here/demo.sh"
start_demo
mkdir "$work/bin"
ln -s "$sidekey" "$work/bin/sidekey"
export PATH=$work/bin:$PATH

failed=0
left_out=0
same() { # same WHAT FILE FILE
  if cmp -s "$2" "$3"; then
    echo "$1: the same"
  else
    echo "$1: differs" >&2
    failed=1
  fi
}
left_out() {
  echo "left out: $*"
  left_out=1
}
here_is() { command -v "$1" >/dev/null; }

# A folder in memory, as --as-files wants it, or the flag that does without.
if [[ $(stat -f -c %T /dev/shm) == tmpfs ]]; then
  memory=$(mktemp -d -p /dev/shm)
  trap 'rm -rf "$memory"; demo_cleanup' EXIT
  as_files=(--as-files "$memory/payments")
else
  memory=$work
  as_files=(--as-files "$work/payments" --allow-disk)
fi

# shellcheck disable=SC2016
printf '%s' 'p:a\s:s w"o'\''r#d $HOME %s Grüße' | tee "$work/password" | put_secret pay-prod db-password
# shellcheck disable=SC2016
printf '%s\n' '-----BEGIN KEY-----' 'MIIB $x #y' '  last' '-----END KEY-----' | tee "$work/key" | put_secret pay-prod card-vault-hmac
{ cat "$work/password"; printf '|'; cat "$work/key"; } >"$work/both"

if here_is mvn; then
  mkdir -p "$tools/spring"
  cp -r "$examples/spring-configtree/." "$tools/spring/"
  (cd "$tools/spring" && mvn --quiet --batch-mode -Dstyle.color=never package >&2)
  (cd "$work" && SECRETS=$memory/ sidekey exec --map "$examples/spring-configtree/secrets.toml" "${as_files[@]}" -- \
    java -Dfile.encoding=UTF-8 -jar "$tools/spring/target/app.jar" --spring.main.banner-mode=off \
    --logging.level.root=error) >"$work/spring"
  same spring-configtree "$work/both" "$work/spring"
else
  left_out "spring-configtree: there is no mvn"
fi

if here_is "$(dotnet_by)"; then
  dotnet_build "$examples/dotnet-key-per-file" "$work/dotnet-app"
  SECRETS=$memory/payments sidekey exec --map "$examples/dotnet-key-per-file/secrets.toml" "${as_files[@]}" -- \
    "$work/dotnet-app/app" >"$work/dotnet"
  same dotnet-key-per-file "$work/password" "$work/dotnet"
else
  left_out "dotnet-key-per-file: there is no $(dotnet_by)"
fi

if here_is node; then
  # What no .env file can carry is refused by env; exec hands over everything.
  sidekey exec --map "$examples/node-env-file/secrets.toml" -- node "$examples/node-env-file/app.mjs" >"$work/node"
  same "node under exec" "$work/both" "$work/node"
  if sidekey env --no-environment --map "$examples/node-env-file/secrets.toml" --out "$work/env" 2>"$work/refused"; then
    echo "node-env-file: a value that .env readers disagree about was written" >&2
    failed=1
  fi
  printf '%s' "one \"two\": #1 = a\$b Grüße" | tee "$work/plain" | put_secret pay-prod db-password
  sidekey env --no-environment --map "$examples/node-env-file/secrets.toml" --out "$work/env"
  env -i PATH="$PATH" node --env-file="$work/env" "$examples/node-env-file/app.mjs" >"$work/node"
  { cat "$work/plain"; printf '|'; cat "$work/key"; } >"$work/both"
  same node-env-file "$work/both" "$work/node"
  put_secret pay-prod db-password <"$work/password"
else
  left_out "node-env-file: there is no node"
fi

# PostgreSQL: made with a password that came as a file, as its image does it; then entered by .pgpass and by PGPASSWORD.
initdb=$(find /usr/lib/postgresql -name initdb 2>/dev/null | sort -V | tail -n 1)
initdb=${initdb:-$(command -v initdb || true)}
if [[ -n $initdb ]] && here_is psql && { [[ $(id -u) -ne 0 ]] || here_is setpriv; }; then
  as=()
  data=$work/postgres
  mkdir "$data"
  if [[ $(id -u) -eq 0 ]]; then # It refuses to run as root.
    as=(setpriv --reuid 65534 --regid 65534 --clear-groups --)
    chown 65534:65534 "$data"
    chmod 711 "$work"
  fi
  printf 'before:it\\was rotated' | put_secret pay-prod db-password
  # The file is its owner's alone: root hands a copy over.
  # shellcheck disable=SC2016
  POSTGRES_PASSWORD_FILE=secret://pay-prod/db-password sidekey exec "${as_files[@]}" -- sh -c '
    initdb=$1 data=$2; shift 2
    cp "$POSTGRES_PASSWORD_FILE" "$data/password"
    [ $# -eq 0 ] || chown 65534 "$data/password"
    "$@" "$initdb" --pgdata "$data/db" --username app --auth scram-sha-256 --pwfile "$data/password" --no-sync
  ' sh "$initdb" "$data" "${as[@]}" >"$work/initdb.log" 2>&1 || { cat "$work/initdb.log" >&2; exit 1; }
  background "$work/postgres.log" "${as[@]}" "${initdb%initdb}postgres" -D "$data/db" -k "$data" -c listen_addresses= -p 5432 -F
  until_true 30 "${initdb%initdb}pg_isready" -h "$data"
  query() { psql --no-password -h "$data" -U app -Atqc 'select 1' postgres; }
  pass() {
    (umask 077 && "$examples/pgpass/pgpass.sh" '*' 5432 postgres app pay-prod/db-password >"$work/pgpass")
    PGPASSFILE=$work/pgpass query
  }
  if [[ $(pass) != 1 ]]; then failed=1; fi
  printf "alter role app password 'af:ter \\\\it'" | PGPASSFILE=$work/pgpass psql -h "$data" -U app -Atq postgres
  if PGPASSFILE=$work/pgpass query 2>/dev/null; then
    echo "pgpass: the old password is still good" >&2
    failed=1
  fi
  printf 'af:ter \\it' | put_secret pay-prod db-password
  if [[ $(pass) != 1 || $(sidekey exec --set PGPASSWORD=secret://pay-prod/db-password -- \
    psql --no-password -h "$data" -U app -Atqc 'select 1' postgres) != 1 ]]; then
    failed=1
  fi
  if PGPASSFILE=/dev/null query 2>/dev/null; then
    echo "pgpass: the server asks for no password" >&2
    failed=1
  fi
  echo "docker-secrets, pgpass: $("${initdb%initdb}postgres" --version) let in by them, before and after a rotation"
else
  left_out "docker-secrets, pgpass: there is no PostgreSQL"
fi

if here_is git; then
  printf 'ghp_to:ken=1' | put_secret pay-prod git-token
  git init --quiet --bare "$work/www/app.git"
  tree=$(git -C "$work/www/app.git" mktree </dev/null)
  commit=$(git -C "$work/www/app.git" -c user.name=a -c user.email=a@example commit-tree -m first "$tree")
  git -C "$work/www/app.git" update-ref HEAD "$commit"
  git -C "$work/www/app.git" update-server-info
  background "$work/www.log" python3 "$here/private_www.py" "$work/www" "$work/www.port" "$work/www.password"
  printf 'deploy:ghp_to:ken=1' >"$work/www.password"
  until_true 10 test -s "$work/www.port"
  export GIT_CONFIG_GLOBAL=$work/gitconfig GIT_CONFIG_NOSYSTEM=1 GIT_TERMINAL_PROMPT=0 GIT_ASKPASS=false no_proxy='*'
  url=http://127.0.0.1:$(<"$work/www.port")
  git config --file "$work/gitconfig" "credential.$url.helper" "$examples/git-credential/git-credential-sidekey deploy pay-prod/git-token"
  reads() { [[ $(git ls-remote "$url/app.git" HEAD 2>"$work/git.log") == "$commit"* ]]; }
  if ! reads; then
    cat "$work/git.log" >&2
    failed=1
  fi
  printf 'deploy:rotated' >"$work/www.password"
  if reads; then failed=1; fi
  printf 'rotated' | put_secret pay-prod git-token
  if ! reads; then failed=1; fi
  if printf 'protocol=http\nhost=elsewhere.example\n\n' | git credential fill >/dev/null 2>&1; then
    echo "git-credential: another host got the password" >&2
    failed=1
  fi
  printf 'a\nhost=elsewhere.example' | put_secret pay-prod git-token
  if "$examples/git-credential/git-credential-sidekey" deploy pay-prod/git-token get 2>/dev/null; then failed=1; fi
  echo "git-credential: $(git --version) let in by it, before and after a rotation"
else
  left_out "git-credential: there is no git"
fi

if [[ -n ${CLIENTS_ALL:-} && $left_out -ne 0 ]]; then failed=1; fi
if [[ $failed -ne 0 ]]; then echo "failed" >&2; fi
exit "$failed"
