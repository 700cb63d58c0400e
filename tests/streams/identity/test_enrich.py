"""Whom the directory knows is called as it says; only signed identities are believed; the short way is the long one."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from taprail.schemas import avro
from taprail.schemas.control import Identity, SignedRecord, message_of, sign
from taprail.schemas.records import Enrichment, Person, RelationUse
from taprail.streams.identity.enrich import Directory, enrich, enrich_encoded

KEY = Ed25519PrivateKey.generate()
ANN = Identity("ann", "Ann of the directory", "person", ("owners",), active=False)
TOKEN = {"subject": "ann", "name": "Ann of the token", "kind": "person", "groups": ["engineers"]}
RECORD = {"person": TOKEN, "relations": [{"classes": ["phone", "email"]}, {"classes": ["email"]}]}


def _signed(identity: Identity, key: Ed25519PrivateKey = KEY) -> SignedRecord:
    return sign("identity", identity.subject, identity, private_key=key, key_id="control-1", now_us=1)


def _directory(*records: SignedRecord) -> Directory:
    directory = Directory({"control-1": KEY.public_key()})
    for record in records:
        directory.take(record)
    return directory


def test_whom_the_directory_knows_is_called_as_it_says() -> None:
    enrichment = enrich(RECORD, _directory(_signed(ANN)), ("rule",), 5)
    assert enrichment == Enrichment("Ann of the directory", ("owners",), False, ("email", "phone"), ("rule",), 5)


def test_whom_it_doesnt_know_keeps_what_the_token_said() -> None:
    enrichment = enrich(RECORD | {"relations": []}, _directory(), (), 5)
    assert enrichment == Enrichment("Ann of the token", ("engineers",), True, (), (), 5)


def test_a_change_in_the_directory_counts_from_the_next_record_on() -> None:
    """Also on the short way, which remembers."""
    directory = _directory(_signed(ANN))
    before = enrich_encoded(RECORD, directory, (), 5)
    directory.take(_signed(structs.replace(ANN, groups=("leavers",))))
    assert enrich(RECORD, directory, (), 5).directory_groups == ("leavers",)
    assert enrich_encoded(RECORD, directory, (), 5) != before


def test_only_signed_identities_are_believed() -> None:
    stranger = Ed25519PrivateKey.generate()
    good = _signed(ANN)
    grant = SignedRecord(
        "grant", "ann", good.payload, 1, "control-1", KEY.sign(message_of("grant", "ann", good.payload))
    )
    garbage = SignedRecord("identity", "ann", b"{", 1, "control-1", KEY.sign(message_of("identity", "ann", b"{")))
    refused = [
        _signed(ANN, stranger),
        structs.replace(good, payload=good.payload.replace(b"owners", b"admins")),
        structs.replace(good, key="bob"),
        structs.replace(good, key_id="control-2"),
        grant,
        garbage,
    ]
    directory = _directory(*refused)
    assert (directory.get("ann"), directory.refused) == (None, len(refused))


PERSONS = st.builds(avro.plain, st.builds(Person, st.sampled_from(["ann", "bob"]), st.text(), st.just("person")))
RELATIONS = st.lists(st.builds(avro.plain, st.from_type(RelationUse)), max_size=3)
TIMES = st.integers(0, 1 << 60)


@given(PERSONS, RELATIONS, st.lists(st.text(), max_size=3), TIMES)
def test_the_short_way_is_the_long_one(person: object, relations: object, detections: list[str], now_us: int) -> None:
    record, directory = {"person": person, "relations": relations}, _directory(_signed(ANN))
    whole = avro.encode(enrich(record, directory, tuple(detections), now_us))
    assert enrich_encoded(record, directory, tuple(detections), now_us) == whole
