"""The .avsc files are the contract: they match the types, and every record survives the trip."""

import json

import pytest
from avro import schema as apache
from hypothesis import given, settings
from hypothesis import strategies as st

from taprail.schemas import avro, records
from taprail.schemas.errors import RecordError

st.register_type_strategy(int, st.integers(-(2**63), 2**63 - 1))  # Avro's long has 64 bits


@pytest.mark.parametrize("name", sorted(avro.files()))
def test_the_files_match_the_types_and_are_valid_for_the_reference_implementation(name: str) -> None:
    text = (avro.FOLDER / name).read_text()
    assert text == avro.files()[name], "run `python -m taprail.schemas.avro`"
    assert apache.parse(text).fullname == "taprail." + json.loads(text)["name"]


@pytest.mark.parametrize("record", avro.RECORDS, ids=lambda r: r.__name__)
def test_every_record_survives_the_trip(record: type) -> None:
    @settings(max_examples=10, deadline=None)
    @given(st.from_type(record))
    def trip(value: object) -> None:
        assert avro.decoder(record)(avro.encode(value)) == value

    trip()


@settings(max_examples=10, deadline=None)
@given(st.from_type(records.Statement), st.from_type(records.Enrichment))
def test_a_body_followed_by_an_encoded_suffix_is_the_enriched_record(
    statement: records.Statement, enrichment: records.Enrichment
) -> None:
    body = avro.encode(statement) + avro.encode_suffix(enrichment)
    assert avro.decode_enriched(records.Statement, body) == (statement, enrichment)


def test_bytes_that_are_no_record_are_refused() -> None:
    with pytest.raises(RecordError, match="are not a Statement"):
        avro.decoder(records.Statement)(b"\x08abc")
