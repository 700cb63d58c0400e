"""The approvals pages as HTML: pure functions, everything escaped, no script.

Who decides must see what runs: characters that hide, or that turn the direction of text, are shown as their codes
(CVE-2021-42574, "Trojan Source").
"""

from __future__ import annotations

import html
import unicodedata

from taprail.schemas.records import Approval, Person
from taprail.streams.approvals.access import words
from taprail.streams.approvals.pending import Entry
from taprail.streams.approvals.shown import History, allows, clock, expects, lately, progress, remembers

STYLE = """
:root { color-scheme: light dark; --line: #8884; --quiet: #888; --yes: #1a7f37; --no: #c0362c; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
header { display: flex; justify-content: space-between; border-bottom: 1px solid var(--line); }
pre { padding: 1rem; border: 1px solid var(--line); border-radius: 6px; overflow-x: auto; white-space: pre-wrap; }
dl { display: grid; grid-template-columns: 9rem 1fr; gap: .2rem 1rem; } dt { color: var(--quiet); } dd { margin: 0; }
ul.list { list-style: none; padding: 0; } ul.list li { border-bottom: 1px solid var(--line); padding: .7rem 0; }
.quiet { color: var(--quiet); } h2 { font-size: 1.1rem; }
textarea { width: 100%; font: inherit; box-sizing: border-box; }
button { font: inherit; padding: .4rem 1.4rem; border: 0; border-radius: 6px; color: white; margin-right: .6rem; }
button.yes { background: var(--yes); } button.no { background: var(--no); } .error { color: var(--no); }
"""

LISTED_CHARACTERS_MAX = 120
_UNSEEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def visible(text: str) -> str:
    """Every character that can't be seen, but for spaces, tabs and ends of lines, as `\\u` and its code."""
    lines = text.replace("\r\n", "\n")
    return "".join(c if c in "\n\t" or unicodedata.category(c) not in _UNSEEN else f"\\u{ord(c):04x}" for c in lines)


def escape(text: str) -> str:
    return html.escape(visible(text))


def page(title: str, body: str, person: Person | None) -> str:
    who = f"signed in as {escape(person.name)}" if person else '<a href="/sign-in">sign in</a>'
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)} · taprail</title>'
        f'<meta name="viewport" content="width=device-width"><link rel="stylesheet" href="/style.css"></head><body>'
        '<header><span><a href="/approvals">approvals</a> · <a href="/access">access</a></span>'
        f'<span class="quiet">{who}</span></header>'
        f"<h1>{escape(title)}</h1>{body}</body></html>"
    )


def listing(approvals: list[Approval], person: Person) -> str:
    items = "".join(
        f'<li><a href="/approvals/{escape(a.approval_id)}">{escape(_short(a))}</a><br>'
        f'<span class="quiet">{escape(a.person.name)} on {escape(a.database or "all databases")} '
        f"({escape(a.environment)}), until {clock(a.expires_us)}</span></li>"
        for a in approvals
    )
    empty = '<p class="quiet">Nothing waits for you.</p>'
    return page("Waiting for a decision", f'<ul class="list">{items}</ul>' if items else empty, person)


def detail(entry: Entry, text: str, person: Person, csrf: str, may: bool, found: History) -> str:
    approval = entry.approval
    facts = {
        "asked by": f"{approval.person.name} ({approval.person.kind})",
        "purpose": approval.purpose or "none stated",
        "where": f"{approval.database or 'all databases'} ({approval.environment}), as {approval.role or 'before'}",
        "touches": ", ".join(approval.relations) or "nothing by name",
        "planner expects": expects(approval),
        "held by": f"{approval.rule}: {approval.reason}",
        "ticket": approval.ticket or "none",
        "state": entry.state,
        "until": clock(approval.expires_us),
        "decided by": progress(entry),
        "approval allows": allows(approval),
        f"{approval.person.name} before": lately(found),
    }
    facts |= {f"{vote.decision} by {vote.approver.name}": vote.reason for vote in entry.votes}
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts.items())
    form = _form(approval, csrf) if may and entry.state == "requested" else ""
    title = {"statement": f"{approval.tag} held", "script": "A script is held", "access": "Access for a time"}
    shown = f"<pre>{escape(text)}</pre>" if text else ""
    return page(title[approval.kind], f"{shown}<dl>{rows}</dl>{_equal(found)}{form}", person)


def _equal(found: History) -> str:
    """Requests for the same statement, with links."""
    items = "".join(
        f'<li><a href="/approvals/{escape(before.approval_id)}">{clock(before.time_us)}</a> '
        f'<span class="quiet">{escape(before.person)}: {before.state}</span></li>'
        for before in found.statement
    )
    return f'<h2>The same statement before</h2><ul class="list">{items}</ul>' if items else ""


def message(title: str, text: str, person: Person | None) -> str:
    return page(title, f"<p>{escape(text)}</p>", person)


def _form(approval: Approval, csrf: str) -> str:
    remember = (
        f'<p><label><input type="checkbox" name="remember" value="yes"> Remember: {escape(remembers(approval))}</label>'
        if remembers(approval)
        else ""
    )
    needed = " required" if approval.terms.ticket and not approval.ticket else ""
    return (
        f'<form method="post" action="/approvals/{escape(approval.approval_id)}/decision">'
        f'<input type="hidden" name="csrf" value="{escape(csrf)}">'
        '<p><label>Why, in a sentence<br><textarea name="reason" rows="2" required maxlength="500"></textarea></label>'
        f'<p><label>Ticket <input name="ticket" maxlength="100"{needed}></label>{remember}'
        '<p><button class="yes" name="decision" value="approve">Approve</button>'
        '<button class="no" name="decision" value="deny">Deny</button></form>'
    )


def _short(approval: Approval) -> str:
    line = " ".join(approval.normalized.split()) or words(approval)
    return line if len(line) <= LISTED_CHARACTERS_MAX else f"{line[:LISTED_CHARACTERS_MAX]}…"
