#!/bin/sh
# In the place of a test of what was deployed.
set -eu
[ -n "$DB_PASSWORD" ]
