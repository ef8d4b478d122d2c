#!/bin/sh
# The database as one file, of one moment, while everything runs: dump.sh FILE
# pg_dump must be of the server's version or newer. docs/backup.md says what to keep beside it.
set -eu
: "${DATABASE_URL:?is not set: the direct connection or the session pooler, as role postgres}"
file=${1:?usage: dump.sh FILE}
umask 077

# People's sessions, codes and logs stay behind: who is in the file signs in again.
exec pg_dump --dbname="$DATABASE_URL" --file="$file" --format=custom --no-owner \
  --schema=public --schema=app_private --schema=entropy_partitions --schema=pgboss --schema=supabase_migrations \
  --schema=auth \
  --exclude-table-data='auth.*session*' --exclude-table-data='auth.*token*' --exclude-table-data='auth.*code*' \
  --exclude-table-data='auth.*challenge*' --exclude-table-data='auth.*claim*' --exclude-table-data='auth.*state*' \
  --exclude-table-data='auth.audit*' --exclude-table-data='auth.schema_migrations'
