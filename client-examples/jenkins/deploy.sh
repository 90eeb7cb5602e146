#!/bin/sh
# In the place of a deployment: asks Azure with what earlier steps found, and uses the password. It traces, as scripts do that
# somebody looked for a fault in.
set -eux
./azure.sh "/subscriptions/$SUBSCRIPTION/providers/Microsoft.KeyVault/vaults?api-version=2023-07-01" >/dev/null
echo "connecting to postgres://app:$DB_PASSWORD@db.internal/shop"
