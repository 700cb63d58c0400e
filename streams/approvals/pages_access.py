"""The page of access for a time: what somebody holds, what waits for a review, and the form to ask."""

from __future__ import annotations

from collections.abc import Sequence

from taprail.schemas.control import Grant
from taprail.schemas.records import Person
from taprail.streams.approvals.access import words
from taprail.streams.approvals.granting import state_of
from taprail.streams.approvals.pages import escape, page
from taprail.streams.approvals.shown import clock
from taprail.streams.approvals.votes import asked_by
from taprail.streams.settings_access import AccessRule


def listing(grants: Sequence[Grant], rules: Sequence[AccessRule], person: Person, csrf: str, now_us: int) -> str:
    items = "".join(f"<li>{_grant(grant, person, csrf, now_us)}</li>" for grant in grants)
    held = f'<ul class="list">{items}</ul>' if items else '<p class="quiet">There is none.</p>'
    return page("Access for a time", held + _form(rules, csrf), person)


def _grant(grant: Grant, person: Person, csrf: str, now_us: int) -> str:
    state = state_of(grant, now_us)
    by = ", ".join(giver.name for giver in grant.granted_by) or "nobody, in an emergency"
    about = f"{grant.person.name}: {state}, until {clock(grant.until_us)}, given by {by}: {grant.reason}"
    shown = f'{escape(words(grant))}<br><span class="quiet">{escape(about)}</span>'
    if grant.review == "closed" and grant.reviewed_by is not None:
        shown += f"<br>reviewed by {escape(grant.reviewed_by.name)}: {escape(grant.findings)}"
    if state == "in force":
        shown += _action(grant, "revocation", "Take back", "no", csrf)
    if grant.review == "open" and not asked_by(grant.person, person):
        shown += _action(grant, "review", "Close the review", "yes", csrf)
    return shown


def _action(grant: Grant, what: str, label: str, style: str, csrf: str) -> str:
    return (
        f'<form method="post" action="/access/{escape(grant.grant_id)}/{what}">'
        f'<input type="hidden" name="csrf" value="{escape(csrf)}">'
        f'<p><input name="reason" required maxlength="500" placeholder="why, or what was found"> '
        f'<button class="{style}">{label}</button></form>'
    )


def _form(rules: Sequence[AccessRule], csrf: str) -> str:
    if not rules:
        return '<p class="quiet">Your groups may not ask for any.</p>'
    environments = sorted({name for rule in rules for name in rule.environments})
    roles = sorted({role for rule in rules for role in rule.roles})
    emergency = (
        '<p><label><input type="checkbox" name="emergency" value="yes"> This is an emergency: at once, and reviewed '
        "afterwards</label>"
        if any(rule.emergency for rule in rules)
        else ""
    )
    return (
        '<h2>Ask for access</h2><form method="post" action="/access">'
        f'<input type="hidden" name="csrf" value="{escape(csrf)}">'
        f"<p><label>Environment <select name=environment>{_options(environments)}</select></label>"
        '<p><label>Database <input name="database" placeholder="all of it"></label>'
        f"<p><label>Role <select name=role><option value=''>as before</option>{_options(roles)}</select></label>"
        '<p><label>Relations <input name="relations" placeholder="schema.name, ..."></label>'
        '<p><label>Seconds <input name="seconds" value="3600" inputmode="numeric"></label>'
        '<p><label>Why, in a sentence<br><textarea name="reason" rows="2" required maxlength="500"></textarea></label>'
        f'<p><label>Ticket <input name="ticket" maxlength="100"></label>{emergency}'
        '<p><button class="yes">Ask</button></form>'
    )


def _options(names: Sequence[str]) -> str:
    return "".join(f'<option value="{escape(name)}">{escape(name)}</option>' for name in names)
