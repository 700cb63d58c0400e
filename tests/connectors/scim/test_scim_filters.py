"""Filters and paths of RFC 7644: what they choose, that they end, and that nonsense is one error."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taprail.connectors.scim.errors import ScimError
from taprail.connectors.scim.filters import Name, Path, equals, fits, parse_filter, parse_path

BJENSEN = {
    "id": "2819c223",
    "userName": "bjensen",
    "name": {"familyName": "O'Malley"},
    "title": "",
    "active": True,
    "userType": "Employee",
    "meta": {"lastModified": "2011-05-13T04:42:34Z"},
    "emails": [{"type": "work", "value": "bjensen@example.com"}, {"type": "home", "value": "b@example.org"}],
    "members": [{"value": "Abc"}],
}


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        # RFC 7644, section 3.4.2.2, figure 1 and its table
        ('userName eq "bjensen"', True),
        ('userName Eq "BJENSEN"', True),
        ('name.familyName co "O\'Malley"', True),
        ('userName sw "J"', False),
        ('urn:ietf:params:scim:schemas:core:2.0:User:userName sw "B"', True),
        ("title pr", False),
        ('meta.lastModified gt "2011-05-13T04:42:34Z"', False),
        ('meta.lastModified ge "2011-05-13T06:42:34+02:00"', True),
        ('meta.lastModified lt "2012-05-13T04:42:34Z"', True),
        ('title pr and userType eq "Employee"', False),
        ('title pr or userType eq "Intern" or userType eq "Employee"', True),
        ('userType eq "Employee" and (emails co "example.com" or emails.value co "example.net")', True),
        ('userType ne "Employee" and not (emails co "example.com")', False),
        ('emails[type eq "work" and value co "@example.com"]', True),
        ('emails[type eq "home" and value co "@example.com"]', False),
        # what providers send
        ("active eq true", True),
        ("active eq True", True),
        ('active eq "false"', False),
        ('id eq "2819C223"', False),
        ('id eq "2819c223" and members eq "Abc"', True),
        ('members[value eq "abc"]', False),
        ("manager eq null", True),
        ("userName eq null", False),
        ("not (userName pr) or userName pr and title pr", False),
        ('urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department eq "IT"', False),
        ('userName eq "a \\"quoted\\" ) name"', False),
        ('userName ew "SEN"', True),
    ],
)
def test_it_chooses_what_the_rfc_says(text: str, chosen: bool) -> None:
    assert fits(parse_filter(text), BJENSEN, frozenset({"id", "members", "members.value"})) is chosen


@pytest.mark.parametrize(
    "text",
    [
        "",
        "userName",
        "userName eq",
        'userName is "x"',
        'userName eq "x',
        "(userName pr",
        "userName pr)",
        "eq eq eq",
        "not userName pr",
        'userName eq "x" and',
        "a[b pr",
        'a..b eq "x"',
        "userName eq x",
        'active gt "x" or',
        '1 eq "x"',
        "(" * 200 + "a pr" + ")" * 200,
        "a pr or " * 2000 + "a pr",
        "userName eq {}",
        "[type pr]",
    ],
)
def test_nonsense_is_an_error_that_has_the_rfcs_name(text: str) -> None:
    with pytest.raises(ScimError) as refused:
        parse_filter(text)
    assert (refused.value.status, refused.value.scim_type) == (400, "invalidFilter")


def test_booleans_have_no_order() -> None:
    with pytest.raises(ScimError, match="boolean"):
        fits(parse_filter("active gt true"), BJENSEN)


def test_paths() -> None:
    assert parse_path("members") == Path(Name("members"))
    assert parse_path("name.familyName") == Path(Name("name", "familyname"))
    chosen = parse_path('addresses[type eq "work"].streetAddress')
    assert (chosen.name, chosen.of) == (Name("addresses", "streetaddress"), parse_filter('type eq "work"'))
    urn = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
    assert parse_path(f"{urn}:manager.value").name == Name("manager", "value", urn.lower())
    for text in ("", "members[", "members]", 'members[value eq "x"]x', 'members.value[type eq "x"]', "a b"):
        with pytest.raises(ScimError) as refused:
            parse_path(text)
        assert refused.value.scim_type == "invalidPath"


def test_an_index_is_asked_only_for_what_must_be() -> None:
    assert dict(equals(parse_filter('userName eq "a" and active eq true'))) == {Name("username"): "a"}
    assert list(equals(parse_filter('userName eq "a" or active eq true'))) == []
    assert list(equals(parse_filter('not (userName eq "a")'))) == []


TEXTS = st.text('aeqor. "\\()[]:1-é\u202e\x00$', max_size=60)
WORDS = st.sampled_from(["a", "eq", "and", "or", "not", "(", ")", "[", "]", '"x"', "pr", "true", ".", "urn:a:b", "\\"])


@given(st.one_of(TEXTS, st.lists(WORDS, max_size=20).map(" ".join)))
def test_any_text_is_a_filter_or_one_error(text: str) -> None:
    try:
        chosen: Any = fits(parse_filter(text), BJENSEN)
    except ScimError:
        return
    assert chosen in (True, False)
