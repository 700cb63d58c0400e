"""OAUTHBEARER's messages: what RFC 7628 allows is read, anything else is a protocol error that repeats no token."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taprail.connectors.postgres.oauth import Offer, bearer_token, refusal
from taprail.schemas.errors import ProtocolError

GOOD = b"n,,\x01auth=Bearer a.good-token_~+/==\x01\x01"


@pytest.mark.parametrize(
    ("response", "token"),
    [
        (GOOD, "a.good-token_~+/=="),
        (b"y,,\x01auth=bearer x\x01\x01", "x"),
        (b"n,,\x01auth=BEARER    x\x01\x01", "x"),
        (b"n,,\x01host=db\x01port=6432\x01auth=Bearer x\x01\x01", "x"),
        (b"n,,\x01auth=Bearer x\x01anything=\x01\x01", "x"),
        (b"n,,\x01auth=\x01\x01", ""),
    ],
)
def test_what_the_rfc_allows(response: bytes, token: str) -> None:
    assert bearer_token(response) == token


@pytest.mark.parametrize(
    "response",
    [
        b"",
        b"n",
        b"n,",
        b"n,,",
        b"n,,\x01",
        b"n,,\x01\x01",
        b"n,,\x01\x01\x01",
        b"n,,auth=Bearer secret\x01\x01",
        b"n,,\x01auth=Bearer secret",
        b"n,,\x01auth=Bearer secret\x01",
        b"n,,\x01auth=Bearer secret\x01\x01more",
        b"n,,\x01auth=Bearer secret\x01\x01\x01",
        b"n,,\x01auth=Bearer secret\x01auth=Bearer secret\x01\x01",
        b"n,,\x01auth=\x01auth=Bearer secret\x01\x01",
        b"n,a=root,\x01auth=Bearer secret\x01\x01",
        b"p=tls-unique,,\x01auth=Bearer secret\x01\x01",
        b"x,,\x01auth=Bearer secret\x01\x01",
        b",,\x01auth=Bearer secret\x01\x01",
        b"n,,\x01auth=Basic secret\x01\x01",
        b"n,,\x01auth=Bearersecret\x01\x01",
        b"n,,\x01auth=Bearer\x01\x01",
        b"n,,\x01auth=Bearer \x01\x01",
        b"n,,\x01auth=Bearer sec ret\x01\x01",
        b"n,,\x01auth=Bearer se=cret\x01\x01",
        b"n,,\x01auth=Bearer s\xc3\xa9cret\x01\x01",
        b"n,,\x01auth=Bearer secret\0\x01\x01",
        b"n,,\x01auth=Bearer secret\n\x01\x01",
        b"n,,\x01AUTH=Bearer secret\x01\x01",
        b"n,,\x01auth2=x\x01auth=Bearer secret\x01\x01",
        b"n,,\x01=x\x01auth=Bearer secret\x01\x01",
        b"n,,\x01noequals\x01auth=Bearer secret\x01\x01",
    ],
)
def test_anything_else_is_an_error_without_the_token(response: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        bearer_token(response)
    assert "secret" not in str(caught.value) and "root" not in str(caught.value)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_answer_or_a_protocol_error(response: bytes) -> None:
    try:
        bearer_token(response)
    except ProtocolError:
        return
    assert response[:3] in (b"n,,", b"y,,")


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_a_changed_byte_never_makes_two_tokens_or_none(at: int, byte: int) -> None:
    changed = GOOD[:at] + bytes([byte]) + GOOD[at + 1 :]
    try:
        token = bearer_token(changed)
    except ProtocolError:
        return
    assert token.isascii() and len(token) in (17, 18)


def test_a_refusal_says_where_to_get_a_token() -> None:
    where = "https://idp.example/.well-known/openid-configuration"
    assert json.loads(refusal(Offer(where, 'openid "x"'))) == {
        "status": "invalid_token",
        "openid-configuration": where,
        "scope": 'openid "x"',
    }
