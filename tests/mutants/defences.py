"""The defences of the tap, each with the change that switches it off and the tests that must turn red without it."""

from __future__ import annotations

from typing import NamedTuple


class Mutant(NamedTuple):
    """`source` stands exactly once in the file at `path`; `why` says what comes in without it."""

    name: str
    why: str
    path: str
    source: str
    replacement: str
    tests: tuple[str, ...]


_TESTS = "tests/connectors/postgres/test_"
OFFLINE = (f"{_TESTS}session_without_sockets.py",)
BYPASSES = (f"{_TESTS}bypasses.py",)
WIRE = (f"{_TESTS}tap_at_the_wire.py",)
DECISIONS = (f"{_TESTS}tap_decisions.py",)
CACHE = ("tests/streams/policy/test_verdict_cache.py",)
FOLLOWS = ("tests/streams/policy/test_verdicts_follow_the_session.py",)
TOKENS = ("tests/connectors/oidc/test_tokens_attacked.py",)
LARGE = ("tests/streams/policy/test_large_texts.py",)
STARTUP = (f"{_TESTS}startup_options.py", f"{_TESTS}tap_at_the_wire.py")
SPOOL = ("tests/connectors/spool/test_spool.py",)
SHAPES = ("tests/streams/policy/test_shapes.py",)

P = "connectors/postgres/"
MUTANTS = [
    Mutant("lengths above the largest", "a 4 GiB message", f"{P}messages.py",
        "if not 4 <= length <= largest:", "if not 4 <= length:", BYPASSES),
    Mutant("lengths below four", "a message read twice", f"{P}messages.py",
        "if not 4 <= length <= largest:", "if length > largest:", BYPASSES),
    Mutant("the end of Bind", "bytes that nobody has read", f"{P}messages.py",
        "if at + 2 + 2 * results != len(body):", "if False:",
        BYPASSES),
    Mutant("zero bytes in Query", "the server stops reading where the parser doesn't", f"{P}messages.py",
        'if not body or body.find(b"\\0") != len(body) - 1:', "if not body:", WIRE),
    Mutant("messages inside COPY", "the tap counts what the server skips", f"{P}requests.py",
        "if state.copy_in and kind not in _IN_COPY:", "if False:", BYPASSES),
    Mutant("unknown messages", "what isn't understood can't be judged", f"{P}requests.py",
        "        else:\n            raise _unknown(kind)", "        else:\n            self._flush(frame)", OFFLINE),
    Mutant("half sent CopyData ends", "a value read as messages by the server", f"{P}requests.py",
        "if not self._dropping:  # what was begun", "if not self._state.skipping:  # what was begun",
        (f"{_TESTS}bypasses.py::test_a_statement_smuggled_behind_a_failed_copy_does_not_run",)),
    Mutant("refused text stays here", "a denied statement runs", f"{P}requests.py",
        "refusal=error), wire.query(REFUSED_TEXT))", "refusal=error), wire.query(b'drop table t'))", BYPASSES),
    Mutant("a refusal skips to Sync", "what follows a denial runs", f"{P}requests.py",
        "wire.parse(REFUSED_NAME, REFUSED_TEXT))\n        state.skipping = True",
        "wire.parse(REFUSED_NAME, REFUSED_TEXT))\n        state.skipping = False", OFFLINE),
    Mutant("function calls", "a function without a statement", f"{P}requests.py",
        "self._function_call(frame)", "self._flush(frame)", WIRE),
    Mutant("UTF-8 of Query", "a backslash inside a character", f"{P}requests.py",
        "text = body.decode()", 'text = body.decode(errors="replace")', BYPASSES),
    Mutant("UTF-8 of Parse", "a backslash inside a character", f"{P}requests.py",
        "text = parsed.text.decode()", 'text = parsed.text.decode(errors="replace")', BYPASSES),
    Mutant("the tap's own names", "a client's text under the tap's mark", f"{P}requests.py",
        "elif name.startswith(OWN_PREFIX):", "elif False:", WIRE),
    Mutant("names have a bound", "memory", f"{P}requests.py",
        "if len(state.statements) >= self._names:", "if False:", OFFLINE),
    Mutant("a taken name is doomed", "another text under a judged name", f"{P}requests.py",
        "send = self._send_doomed if taken else self._send_parse", "send = self._send_parse", BYPASSES),
    Mutant("search_path of a portal", "names resolved elsewhere than judged", f"{P}requests.py",
        "if portal.path != (outlook", "if False and portal.path != (outlook", BYPASSES),
    Mutant("DISCARD forgets names", "a dropped name is run as what it was", f"{P}requests.py",
        "if forgets_all(facts):\n            state.statements.clear()", "if False:\n            pass", BYPASSES),
    Mutant("SQL PREPARE takes a name", "SQL's text under a judged name", f"{P}requests.py",
        "        if facts.prepares:  # where", "        if False:  # where", BYPASSES),
    Mutant("descriptions are asked for", "rows whose columns nobody knows", f"{P}requests.py",
        "if run.plan is not None and not portal.described:", "if False:", OFFLINE),
    Mutant("must fail", "a name that means something else than the tap knows", f"{P}answers.py",
        "or answer.refusal or answer.must_fail:", "or answer.refusal:", BYPASSES),
    Mutant("pinned settings are watched", "text read otherwise than judged", f"{P}answers.py",
        "if name in PINNED_SETTINGS and not same_as_pinned(name, value):", "if False:", OFFLINE),
    Mutant("rows need a description", "unmasked rows", f"{P}answers.py",
        "        if description is None:\n            self._actions = None",
        "        if description is None:\n            self._actions = ()", OFFLINE),
    Mutant("masks are applied", "unmasked rows", f"{P}answers.py",
        "self._actions, run.masked = row_actions(run.plan, description)", "self._actions = ()", OFFLINE),
    Mutant("masked COPY", "a COPY of a masked table", f"{P}answers.py",
        "if self._run.plan is not None:\n            raise", "if False:\n            raise", BYPASSES),
    Mutant("errors are scrubbed", "values in messages", f"{P}answers.py",
        "        if scrub:\n            fields = scrubbed(fields)\n        elif",
        "        if False:\n            fields = scrubbed(fields)\n        elif", DECISIONS),
    Mutant("notices are scrubbed", "values in messages", f"{P}answers.py",
        "head, scrub = self._next(), self._scrubs()", "head, scrub = self._next(), False", DECISIONS),
    Mutant("answers nobody asked for", "rows of somebody's other statement", f"{P}answers.py",
        "        if answer is None and not self.fatal:", "        if False:", BYPASSES),
    Mutant("a fatal error is no refusal", "a refusal for one that never ran", f"{P}answers.py",
        "if answer is None or self.fatal:", "if answer is None:", OFFLINE),
    Mutant("names of unanswered groups", "a guess what a name means", f"{P}names.py",
        "self._flying.get(name, 0) > answered:\n            raise Unsettled",
        "self._flying.get(name, 0) > answered:\n            pass", BYPASSES),
    Mutant("the outlook waits", "text judged by settings that changed", f"{P}state.py",
        "if self.changed_group > self.answered or self.path_pending:", "if False:", BYPASSES),
    Mutant("unpinned", "client_encoding and backslashes", f"{P}outlook.py",
        "        if name.lower() in PINNED_SETTINGS and not same", "        if False and not same", BYPASSES),
    Mutant("unreadable", "text behind what may change its reading", f"{P}outlook.py",
        'return not outlook.text_certain and ("\\\\" in text or not text.isascii())', "return False", BYPASSES),
    Mutant("one denial denies all", "a denied statement beside an allowed one", f"{P}admission.py",
        'denied = denied or action == "deny"', "denied = False", BYPASSES),
    Mutant("a spool that is full", "statements without a record", f"{P}admission.py",
        "    self._abandon(runs)\n            return _spool_refusal(error)\n        return runs",
        "    from taprail.schemas.guard import Ticket\n"
        "            return [Run(c.request, c.verdict, Ticket(0, 0, '', 0)) for c in candidates]\n        return runs",
        DECISIONS),
    Mutant("holds wait", "statements without their approval", f"{P}admission.py",
        '(runs and action == "hold")', "False", OFFLINE),
    Mutant("nothing is sent while it waits", "locks of a held statement", f"{P}session.py",
        "if self._admission.wait is not None or not self._state.to_server:", "if not self._state.to_server:",
        (f"{_TESTS}durable_sessions.py", *DECISIONS)),
    Mutant("cancel keys", "anybody cancels anything", f"{P}cancel.py",
        "if hmac.compare_digest(known, secret):", "if True:", BYPASSES),
    Mutant("cancel requests are few", "keys are guessed", f"{P}cancel.py",
        "if not self._allowed() or ", "if ",
        (f"{_TESTS}tap_limits.py::test_guessing_keys_is_slow",)),
    Mutant("replication", "a change feed of everything", f"{P}startup.py",
        "if value.lower() not in _FALSE:", "if False:", WIRE),
    Mutant("start-up settings", "role and what is loaded", f"{P}startup.py",
        "elif name in ALLOWED_SETTINGS or (name in also_allowed and name not in NEVER_ALLOWED):", "elif True:", WIRE),
    Mutant("pinned at start-up", "SJIS from the beginning", f"{P}startup.py",
        "        if not same_as_pinned(name, value):\n            raise RefusedError(",
        "        if False:\n            raise RefusedError(", WIRE),
    Mutant("switches in options", "the server's command line", f"{P}startup.py",
        "if not equals or not _SETTING.match(name):", "if False:", STARTUP),
    Mutant("GSSENC is declined", "a client that begins GSSAPI", f"{P}signin.py",
        'channel.write(b"N")', 'channel.write(b"G")', WIRE),
    Mutant("early bytes before TLS", "bytes that somebody injected (CVE-2021-23214)", f"{P}channel.py",
        '        if self._early:\n            raise ProtocolError("bytes in the clear',
        '        if False:\n            raise ProtocolError("bytes in the clear',
        (f"{_TESTS}tap_listeners.py::test_bytes_in_the_clear_after_the_servers_answer_are_refused",)),
    Mutant("tokens need TLS", "a token in the clear", f"{P}signin.py",
        "if not (channel.encrypted or login.unix or plaintext_tokens):", "if False:", WIRE),
    Mutant("audience", "a token for somebody else", "connectors/oidc/tokens.py",
        "                audience=self.rules.audience,\n", '                audience=None,\n', TOKENS),
    Mutant("issuer", "a token of another provider", "connectors/oidc/tokens.py",
        "                issuer=self.rules.issuer,\n", "", TOKENS),
    Mutant("type of a token", "an ID token", "connectors/oidc/tokens.py",
        "if self.rules.require_at_jwt and kind not in ACCESS_TOKEN_TYPES:", "if False:", TOKENS),
    Mutant("claims that must be there", "a token without an end", "connectors/oidc/tokens.py",
        '"require": ["iss", "exp", "aud", "sub", "iat", "jti"]', '"require": []', TOKENS),
    Mutant("the spool's bound", "a disk that fills", "connectors/spool/spool.py",
        "if self._bytes + len(data) > (self._bytes_max if kind == \"outcome\" else self._room):", "if False:", SPOOL),
    Mutant("shapes are proven", "a text judged as another", "streams/policy/shape.py",
        "or not _by_constants_alone(data.strip(), normalised.encode()):", "or False:", SHAPES),
    Mutant("a shape's tokens", "a text judged as another", "streams/policy/shape.py",
        "return _SMALL if small else _LARGE", "return _SMALL", SHAPES),
    *(Mutant(f"verdicts by {field}", "a verdict under other circumstances", "streams/policy/guard.py",
        f"            and self._{field} == session.{field}\n", "", FOLLOWS)
        for field in ("search_path", "purpose", "reshaped", "role", "database", "environment")),
    Mutant("verdicts by epoch", "a verdict on an older catalog", "streams/policy/guard.py",
        "if shelf.epoch != catalog.epoch:", "if False:", CACHE),
    Mutant("verdicts by exact text", "SET ROLE of anybody", "streams/policy/guard.py",
        "if facts.utility or facts.settings:\n            shelf", "if False:\n            shelf", CACHE),
    Mutant("a catalog that is behind", "a verdict on tables that changed", "streams/policy/guard.py",
        "        if not catalog.current:", "        if False:", CACHE),
    Mutant("roles by set_config", "somebody else's rights", "streams/policy/safeguards/session_identity.py",
        'by_function = "set_config" in {f.rpartition(".")[2] for f in case.facts.functions}', "by_function = False",
        ("tests/streams/policy/test_rules.py",)),
    Mutant("roles by SET", "somebody else's rights", "streams/policy/safeguards/session_identity.py",
        '_ROLES = frozenset({"role", "session_authorization"})', "_ROLES: frozenset[str] = frozenset()",
        ("tests/streams/policy/test_rules.py",)),
    Mutant("large texts have verdicts of their own", "what stands behind an equal beginning", "streams/policy/guard.py",
        "if len(request.text) > LONG_CHARACTERS:", "if False:", LARGE),
    Mutant("tokens are counted", "the tap's memory, for one text", "streams/policy/sizes.py",
        "            if count > TOKENS_MAX:", "            if False:", LARGE),
    Mutant("nobody approves what he can't see", "the end of a long text", "streams/policy/guard.py",
        "len(text.encode()) > TEXT_BYTES_KEPT:", "False:", LARGE),
    Mutant("functions called by number", "any function without a statement", f"{P}large_objects.py",
        "    if oid not in _FUNCTIONS:", "    if False:", (f"{_TESTS}tap_at_the_wire.py",)),
    Mutant("results of calls are masked", "a large object's bytes", f"{P}answers.py",
        "masked_result(run.plan, answer.calls) if run.plan is not None else None", "None",
        (f"{_TESTS}large_objects.py",)),
]  # fmt: skip
