"""Who may speak SCIM to us: bearer tokens, and settings under which they stay secret."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from taprail.schemas.errors import SettingsError
from taprail.streams.identity.scim_web import Tokens
from taprail.streams.settings import problems
from tests.fakes import sign_in

TOKEN, BEFORE = secrets.token_urlsafe(32), secrets.token_urlsafe(32)


def test_either_token_holds_and_nothing_else_does() -> None:
    tokens = Tokens([TOKEN, BEFORE])
    assert tokens.hold(f"Bearer {TOKEN}") and tokens.hold(f"bearer {BEFORE}")
    for wrong in ("", "Bearer", "Bearer ", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN} {BEFORE}"):
        assert not tokens.hold(wrong)
    assert not tokens.hold("Bearer \udce9") and not tokens.hold(f"Bearer {TOKEN.swapcase()}")


def test_a_token_that_can_be_guessed_is_refused() -> None:
    with pytest.raises(SettingsError, match="31 characters"):
        Tokens([TOKEN, "x" * 31])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "scim.subject"),
        ('subject = "userName"\nhost = "0.0.0.0"', "in the clear"),
        ('subject = "userName"\nhost = "::"', "in the clear"),
        ('subject = "userName"\ncertificate = "x"', "go together"),
        ('subject = "emails"', "subject"),
    ],
)
def test_settings_that_would_be_dangerous(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        sign_in.settings(tmp_path, "https://idp.example", more=f'[scim]\ntoken = "file:scim"\n{text}\n')


def test_a_directory_that_nobody_can_believe_is_told_before_the_start(tmp_path: Path) -> None:
    loaded = sign_in.settings(tmp_path, "https://idp.example", identity='groups_from = "identities"')
    assert any("no identity is believed" in problem for problem in problems(loaded))
    assert not any(
        "no identity is believed" in each for each in problems(sign_in.settings(tmp_path, "https://idp.example"))
    )


def test_a_proxy_may_end_tls(tmp_path: Path) -> None:
    more = '[scim]\ntoken = "file:scim"\nsubject = "userName"\nhost = "0.0.0.0"\nplaintext = true\n'
    assert sign_in.settings(tmp_path, "https://idp.example", more=more).settings.scim.plaintext
