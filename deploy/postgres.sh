#!/usr/bin/env bash
# Run once by the postgres image, on an empty data directory: the registry's own database and role.
set -euo pipefail
psql --no-psqlrc --set=ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres <<'SQL'
\getenv password REGISTRY_DB_PASSWORD
CREATE ROLE registry LOGIN PASSWORD :'password';
CREATE DATABASE registry OWNER registry;
REVOKE CONNECT ON DATABASE registry FROM PUBLIC;
SQL
