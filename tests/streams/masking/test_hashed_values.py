"""`masked = "hashed"`: personal text as a keyed hash, so that equal values can be joined, and none can be read."""

from __future__ import annotations

from taprail.connectors.postgres import messages as wire
from taprail.connectors.postgres import rows
from taprail.connectors.postgres.masks import row_actions
from taprail.schemas.envelope import Sealer
from taprail.schemas.guard import NULL, Field, Hash, MaskPlan, Replace, Request
from taprail.streams.policy.decision import RuleSettings
from taprail.streams.policy.guard import PolicyGuard
from tests.streams.policy.small_world import catalog, session

SEALER = Sealer("data-1", bytes(32))
TEXT, JSONB = 25, 3802


def plan(text: str, environment: str = "prod") -> MaskPlan:
    found = catalog({"public.customers": "id integer, email text, phone text"})
    guard = PolicyGuard(lambda _: found, RuleSettings(masked="hashed"), SEALER.mask_key)
    verdict = guard.judge(Request(text, session(environment=environment), "simple"))
    assert verdict.action == "mask" and verdict.mask is not None
    return verdict.mask


def email(of: MaskPlan, name: str = "email", type_oid: int = TEXT) -> Field:
    [(oid, attnum)] = [place for place, found in of.sensitive.items() if found == "email"]
    return Field(name, oid, attnum, type_oid, 0)


def test_a_column_of_personal_data_is_hashed_and_what_is_made_of_it_is_not() -> None:
    found = plan("SELECT email, upper(email) FROM customers")
    assert found.action(email(found)) == Hash(SEALER.mask_key("prod"))
    assert found.action(Field("upper", 0, 0, TEXT, 0)) == Replace(b"***"), "whoever chooses it could look hashes up"
    assert found.action(email(found, type_oid=JSONB)) == NULL


def test_equal_values_stay_equal_within_an_environment_only() -> None:
    def shown(value: bytes, environment: str) -> bytes:
        found = plan("SELECT email FROM customers", environment)
        field = email(found)
        description = b"\0\1email\0" + field.table_oid.to_bytes(4, "big") + field.attnum.to_bytes(2, "big")
        description += TEXT.to_bytes(4, "big") + b"\xff\xff\xff\xff\xff\xff\0\0"
        actions, masked = row_actions(found, description)
        assert masked == 1
        return rows.rewrite(wire.data_row([value]), 0, actions)[0]

    assert shown(b"ann@example.com", "prod") == shown(b"ann@example.com", "prod")
    assert shown(b"ann@example.com", "prod") != shown(b"bob@example.com", "prod")
    assert shown(b"ann@example.com", "prod") != shown(b"ann@example.com", "staging")
    assert b"ann" not in shown(b"ann@example.com", "prod")


def test_the_key_is_in_no_words_about_a_plan() -> None:
    found = plan("SELECT email FROM customers")
    assert SEALER.mask_key("prod").hex() not in repr(found) + repr(found.action(email(found)))
    assert repr(SEALER.mask_key("prod"))[2:12] not in repr(found)
