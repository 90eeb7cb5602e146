#!/bin/sh
# Prints a line of a password file of libpq (psql, pg_dump, and every driver that is built on it):
#   pgpass.sh HOST PORT DATABASE USER REFERENCE >>FILE
# The password's ':' and '\' are escaped, as libpq wants it. One that has a newline cannot be in such a file.
set -eu

password=$(sidekey get "$5")
case $password in
  *'
'*) echo "pgpass: $5 has several lines" >&2; exit 1 ;;
esac
printf '%s:%s:%s:%s:%s\n' "$1" "$2" "$3" "$4" "$(printf %s "$password" | sed 's/[\\:]/\\&/g')"
