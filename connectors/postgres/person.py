"""`taprail.person()` in a database: who acts, as the tap says it and the database has verified it.

For row-level security, column defaults and triggers:

    CREATE POLICY own ON notes USING (author = (SELECT taprail.person()));

taprail.person() gives text, the person's subject; taprail.claims() gives jsonb, everything that the tap said. Both are
NULL where the session didn't come through a tap, so a policy that compares with them shows nothing; both raise an error
where `taprail.person` is set to something that isn't the tap's word for this very connection. Written as a sub-select
it is verified once for a statement, not for each row.

What holds it together:
- The setting is text that anybody could set. It counts only with an HMAC-SHA256 (RFC 2104) over it. PostgreSQL has
  SHA-256 built in; the key's two pads are stored ready-made, because SQL can't XOR bytea.
- The pads lie in a large object, which its owner alone reads; the functions read it with their owner's rights (SECURITY
  DEFINER), with a search_path that nobody else can put anything into. In a table they would be in the change feed: a
  publication FOR ALL TABLES publishes whatever is a table, and large objects aren't. So the table has their OIDs only.
- A value names the TCP port that the tap connects from and when it did, and is refused on any other connection.
  Without a port (a proxy between the tap and the server changes it) the time alone must fit.

Needs no extension. PostgreSQL 14 or newer. Run as a superuser, or as a role with pg_read_all_stats: the age of the
connection is looked up.
"""

from __future__ import annotations

from typing import NamedTuple

SCHEMA = "taprail"
SKEW_SECONDS = 60  # how far the tap's clock and the server's may be apart
BLOCK_BYTES = 64  # of SHA-256: RFC 2104, section 2


class Statement(NamedTuple):
    """One statement, and why it is there. `done` is an SQL condition that holds where it isn't needed any more."""

    sql: str
    reason: str
    done: str = ""


# PL/pgSQL rather than SQL: an error must name what is wrong. PARALLEL RESTRICTED: settings and the connection are the
# leader's. Comparing hashes of MACs, not MACs: how long it takes says nothing then.
_CLAIMS = f"""
DECLARE
  said text := pg_catalog.current_setting('taprail.person', true);
  text_ text;
  claims jsonb;
  started timestamptz;
  said_at timestamptz;
BEGIN
  IF said IS NULL OR said = '' THEN
    RETURN NULL;
  END IF;
  text_ := pg_catalog.substr(said, 66);
  IF NOT EXISTS (
    SELECT FROM {SCHEMA}.person_keys AS k
    WHERE pg_catalog.sha256(pg_catalog.convert_to(pg_catalog.substr(said, 1, 65), 'UTF8')) =
      pg_catalog.sha256(pg_catalog.convert_to(pg_catalog.encode(pg_catalog.sha256(
        pg_catalog.lo_get(k.pads, {BLOCK_BYTES}, {BLOCK_BYTES}) || pg_catalog.sha256(
          pg_catalog.lo_get(k.pads, 0, {BLOCK_BYTES}) || pg_catalog.convert_to(text_, 'UTF8'))), 'hex') || ' ', 'UTF8'))
  ) THEN
    RAISE EXCEPTION 'taprail.person was not set by a tap of this database' USING ERRCODE = '42501';
  END IF;
  claims := text_::jsonb;
  SELECT a.backend_start INTO started FROM pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid()) AS a;
  said_at := pg_catalog.to_timestamp((claims ->> 'time')::numeric::float8 / 1000000);
  IF ((claims ? 'port') AND (claims ->> 'port')::int IS DISTINCT FROM pg_catalog.inet_client_port())
    OR started IS NULL OR said_at < started - interval '{SKEW_SECONDS} seconds'
    OR (NOT (claims ? 'port') AND said_at > started + interval '{SKEW_SECONDS} seconds')
  THEN
    RAISE EXCEPTION 'taprail.person was set for another connection' USING ERRCODE = '42501';
  END IF;
  RETURN claims;
END"""


def install(key: bytes) -> list[Statement]:
    """The statements that put the functions into a database, to be run again with another key at any time.

    `key` is `streams.identity.passed_on.key_of`'s. The statements hold what follows from it, so they are a secret and
    must not go into a log; an older key is believed until `forget_keys` or the next but one.
    """
    table = f"{SCHEMA}.person_keys"
    definer = "STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp"
    there = f"pg_catalog.to_regclass('{table}') IS NOT NULL"
    public = "grantee = 0 AND privilege_type"
    of_schema = f"SELECT FROM pg_catalog.pg_namespace, pg_catalog.aclexplode(nspacl) WHERE nspname = '{SCHEMA}'"
    of_table = f"SELECT FROM pg_catalog.pg_class AS c, pg_catalog.aclexplode(relacl) WHERE c.oid = '{table}'::regclass"
    same, others = _SAME.replace("{pads}", _pads(key)), f"SELECT count(*) FROM {table} AS k WHERE NOT"
    return [
        Statement(
            f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}",
            "a place for the tap's functions",
            f"pg_catalog.to_regnamespace('{SCHEMA}') IS NOT NULL",
        ),
        Statement(
            f"GRANT USAGE ON SCHEMA {SCHEMA} TO PUBLIC",
            "everybody may ask who acts; nobody may create in it",
            f"EXISTS ({of_schema} AND {public} = 'USAGE')",
        ),
        Statement(
            f"CREATE TABLE IF NOT EXISTS {table} "
            "(id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, pads oid NOT NULL UNIQUE)",
            "where the keys are that the tap's word is verified with",
            there,
        ),
        Statement(
            f"REVOKE ALL ON {table} FROM PUBLIC",
            "no ordinary role needs to know",
            f"{there} AND NOT EXISTS ({of_table} AND grantee = 0)",
        ),
        Statement(
            _block(_NO_COMPAT),
            "with lo_compat_privileges everybody could read the keys",
            "NOT pg_catalog.current_setting('lo_compat_privileges')::boolean",
        ),
        Statement(
            _block(_ADD, key),
            "this tap's key for this database",
            f"{there} AND EXISTS (SELECT FROM {table} AS k WHERE {same})",
        ),
        Statement(
            _block(_FORGET, key, "LIMIT 1"),
            "of older keys one is believed, for the sessions that are open while the key changes",
            f"{there} AND ({others} {same}) <= 1",
        ),
        Statement(
            f"CREATE OR REPLACE FUNCTION {SCHEMA}.claims() RETURNS jsonb LANGUAGE plpgsql {definer} "
            f"AS $claims${_CLAIMS}$claims$",
            "everything that the tap says of who acts, verified",
            _is_there("claims", f"prosecdef AND prosrc = $claims${_CLAIMS}$claims$"),
        ),
        Statement(
            f"CREATE OR REPLACE FUNCTION {SCHEMA}.person() RETURNS text LANGUAGE sql STABLE PARALLEL RESTRICTED "
            f"SET search_path = pg_catalog, pg_temp AS $person$ SELECT {SCHEMA}.claims() ->> 'person' $person$",
            "who acts, verified",
            _is_there("person", f"prosrc = $person$ SELECT {SCHEMA}.claims() ->> 'person' $person$"),
        ),
        Statement(
            f"GRANT EXECUTE ON FUNCTION {SCHEMA}.claims(), {SCHEMA}.person() TO PUBLIC",
            "policies call them",
            " AND ".join(_is_there(name, _PUBLIC_MAY) for name in ("claims", "person")),
        ),
    ]


def forget_keys(key: bytes) -> list[Statement]:
    """Believe this key only, from now on: sessions that were opened with another one lose their person."""
    return [Statement(_block(_FORGET, key, "LIMIT 0"), "older keys aren't believed")]


def remove() -> list[Statement]:
    """Take it back. Fails while a policy or a default still calls the functions, and says which."""
    return [
        Statement(
            f"DROP FUNCTION IF EXISTS {SCHEMA}.person()",
            "who acts isn't told any more",
            f"NOT {_is_there('person', 'true')}",
        ),
        Statement(
            f"DROP FUNCTION IF EXISTS {SCHEMA}.claims()",
            "nor what else the tap said",
            f"NOT {_is_there('claims', 'true')}",
        ),
        Statement(_block(_EMPTY), "nor are its keys kept", f"pg_catalog.to_regclass('{SCHEMA}.person_keys') IS NULL"),
        Statement(
            f"DROP TABLE IF EXISTS {SCHEMA}.person_keys",
            "nor where they were",
            f"pg_catalog.to_regclass('{SCHEMA}.person_keys') IS NULL",
        ),
    ]


_PUBLIC_MAY = (
    "EXISTS (SELECT FROM pg_catalog.aclexplode(coalesce(proacl, pg_catalog.acldefault('f', proowner))) "
    "WHERE grantee = 0 AND privilege_type = 'EXECUTE')"
)


def _is_there(function: str, condition: str) -> str:
    place = f"pronamespace = pg_catalog.to_regnamespace('{SCHEMA}') AND pronargs = 0"
    return f"EXISTS (SELECT FROM pg_catalog.pg_proc WHERE proname = '{function}' AND {place} AND {condition})"


# The newest row is the key in force. `{pads}` is both pads in hex, `{spare}` how many others stay.
_NO_COMPAT = """
BEGIN
  IF pg_catalog.current_setting('lo_compat_privileges')::boolean THEN
    RAISE EXCEPTION 'lo_compat_privileges is on: every role could read the keys' USING HINT = 'switch it off first';
  END IF;
END"""
_SAME = "pg_catalog.lo_get(k.pads) = '\\x{pads}'"
_ADD = f"""
BEGIN
  IF NOT EXISTS (SELECT FROM {SCHEMA}.person_keys AS k WHERE {_SAME}) THEN
    INSERT INTO {SCHEMA}.person_keys (pads) VALUES (pg_catalog.lo_from_bytea(0, '\\x{{pads}}'));
  END IF;
END"""
_FORGET = f"""
DECLARE old record;
BEGIN
  FOR old IN
    SELECT k.id, k.pads FROM {SCHEMA}.person_keys AS k WHERE NOT {_SAME} AND k.id NOT IN
      (SELECT k.id FROM {SCHEMA}.person_keys AS k WHERE NOT {_SAME} ORDER BY k.id DESC {{spare}})
  LOOP
    DELETE FROM {SCHEMA}.person_keys WHERE id = old.id;
    PERFORM pg_catalog.lo_unlink(old.pads);
  END LOOP;
END"""
_EMPTY = f"""
BEGIN
  IF pg_catalog.to_regclass('{SCHEMA}.person_keys') IS NOT NULL THEN
    PERFORM pg_catalog.lo_unlink(k.pads) FROM {SCHEMA}.person_keys AS k;
  END IF;
END"""


def _block(body: str, key: bytes | None = None, spare: str = "") -> str:
    pads = "" if key is None else _pads(key)
    return f"DO $block${body.replace('{pads}', pads).replace('{spare}', spare)}$block$"


def _pads(key: bytes) -> str:
    return (_pad(key, 0x36) + _pad(key, 0x5C)).hex()


def _pad(key: bytes, byte: int) -> bytes:
    """The key XOR ipad or opad: RFC 2104, section 2. `key` isn't longer than a block."""
    if not 32 <= len(key) <= BLOCK_BYTES:
        raise ValueError(f"a key of {len(key)} bytes")
    return bytes(each ^ byte for each in key.ljust(BLOCK_BYTES, b"\0"))
