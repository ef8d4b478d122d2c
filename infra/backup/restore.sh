#!/usr/bin/env bash
# A dump into a new, empty Supabase project, all of it or nothing: restore.sh FILE
# Afterwards `coherence migrate`, then `coherence doctor`.
set -euo pipefail
: "${DATABASE_URL:?is not set: the new project, by its direct connection or the session pooler, as role postgres}"
file=${1:?usage: restore.sh FILE}
list=$(mktemp)
trap 'rm -f "$list"' EXIT

# Of schema auth, which the new project has, people alone and our trigger; of default rights our own, not the platform's.
pg_restore --list "$file" | awk '
  / TABLE DATA auth (users|identities|mfa_factors) / || / TRIGGER auth users on_auth_user_created / { print; next }
  / (SCHEMA|COMMENT) - (SCHEMA )?(public|auth) / || / ACL - SCHEMA auth / { next }
  / DEFAULT ACL / && $NF != "postgres" { next }
  /^[0-9]+; [0-9]+ [0-9]+ [A-Z ]+ auth / { next }
  { print }' > "$list"

prepare() {
  cat << 'SQL'
begin;
do $$
begin
  if to_regclass('public.profiles') is not null or to_regnamespace('app_private') is not null then
    raise exception 'this database is not empty: it has tables of CoherenceLab';
  end if;
  -- Roles are in no dump, and without this one its rights are lost.
  if not exists (select from pg_roles where rolname = 'device') then
    create role device nologin noinherit;
    execute format('grant device to authenticator, %I', current_user);
  end if;
end
$$;
-- Or every table and function would be open to everybody, whatever rights it had. The dump ends with these, as they were.
alter default privileges for role postgres in schema public revoke all on tables from anon, authenticated, service_role;
alter default privileges for role postgres in schema public revoke all on sequences from anon, authenticated, service_role;
alter default privileges for role postgres in schema public revoke all on functions from anon, authenticated, service_role;
SQL
}

# Without the last word nothing is kept.
{
  prepare
  pg_restore --file=- --use-list="$list" --no-owner "$file"
  echo 'commit;'
} | psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --dbname="$DATABASE_URL" > /dev/null
