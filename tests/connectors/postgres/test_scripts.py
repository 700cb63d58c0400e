"""Held statements of one message are one request, where the same persons decide on the same terms."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from taprail.connectors.postgres import scripts as module
from taprail.connectors.postgres.scripts import scripts, told_at_once
from taprail.schemas.guard import RETRY_SECONDS, Facts, Request, SessionContext, Verdict
from taprail.schemas.records import Person, RelationUse, Terms

SESSION = SessionContext("s", "t", "e", "m", "d", "r", Person("ann", "Ann", "person"), "none")


class Judged:
    def __init__(self, text: str, *parameters: bytes, action: Any = "hold", **changes: Any) -> None:
        self.request = Request(text, SESSION, "simple", parameters)
        made = Verdict(action, Facts("DELETE"), text, "f", "v", rule="r", reason="why", approvers=("a",))
        self.verdict = replace(made, **changes)


def test_one_statement_is_asked_for_as_it_is() -> None:
    held = Judged("DELETE FROM t")
    (script,) = scripts([Judged("SELECT 1", action="allow"), held])
    assert script.request is held.request and script.verdict is held.verdict
    assert (script.requests, script.places) == ((held.request,), (1,))


def test_several_are_asked_for_together_with_all_that_they_say() -> None:
    one = Judged("DELETE FROM t;", b"1", relations=(RelationUse("s", "t", "write"),))
    two = Judged("DELETE FROM u", b"2", relations=(RelationUse("s", "u", "write"),), rule="other", reason="because")
    (script,) = scripts([one, Judged("SELECT 1", action="allow"), two])
    assert script.request.text == "DELETE FROM t;\nDELETE FROM u"
    assert script.request.parameters == (b"1", b"2")
    assert script.places == (0, 2)
    verdict = script.verdict
    assert (verdict.statements, verdict.rule, verdict.reason) == (2, "r", "why; because")
    assert [str(use) for use in verdict.relations] == ["s.t", "s.u"]


def test_whoever_decides_on_other_terms_is_asked_for_himself() -> None:
    held = [Judged("A"), Judged("B", approvers=("b",)), Judged("C", terms=Terms(quorum=2)), Judged("D")]
    assert [script.places for script in scripts(held)] == [(0, 3), (1,), (2,)]
    assert len(scripts([Judged("A", alone=True), Judged("B"), Judged("C")])) == 2, "another person's"


def test_what_would_not_be_shown_whole_is_asked_for_apart(monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "SCRIPT_BYTES_MAX", 20)
    assert [script.places for script in scripts([Judged("A" * 9), Judged("B" * 5), Judged("C" * 9)])] == [(0, 1), (2,)]


def test_who_is_told_at_once_has_time_to_find_somebody() -> None:
    told = told_at_once(Judged("A", hold_seconds=60).verdict)
    assert (told.terms.mode, told.hold_seconds) == ("retry", RETRY_SECONDS)
    assert told_at_once(told) is told
