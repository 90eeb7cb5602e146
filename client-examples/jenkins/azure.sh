#!/bin/sh
# What Azure's management answers: azure.sh PATH. The token goes to curl by its stdin.
set -eu
printf 'Authorization: Bearer %s' "$TOKEN" |
  curl --silent --show-error --fail --max-time 30 --header @- "https://management.azure.com$1"
