#!/bin/sh
# A token for Azure's management, as JSON. The secret goes to curl by its stdin.
set -eu
printf %s "$CLIENT_SECRET" |
  curl --silent --show-error --fail --max-time 30 --data-urlencode client_secret@- --data-urlencode "client_id=$CLIENT_ID" \
    --data grant_type=client_credentials --data-urlencode scope=https://management.azure.com/.default \
    "https://login.microsoftonline.com/$TENANT/oauth2/v2.0/token"
