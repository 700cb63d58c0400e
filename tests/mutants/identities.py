"""The defences around identities: who is revoked, whose groups count, who may change them."""

from __future__ import annotations

from tests.mutants.defences import Mutant

I = "streams/identity/"  # noqa: E741
_TESTS = "tests/streams/identity/test_"
GROUPS = (f"{_TESTS}groups_from_the_directory.py",)
SERVICE = (f"{_TESTS}scim_service.py",)
FILE = (f"{_TESTS}apply_file.py",)
REVOKED = ("tests/streams/identity/test_revocation.py::test_an_older_record_that_is_sent_again_undoes_nothing",)
APPROVERS = ("tests/streams/approvals/test_approvers_in_the_directory.py",)
PATCHES = ("tests/connectors/scim/test_scim_patch.py",)

IDENTITIES = [
    Mutant("revoked by hand stays so", "a provider that knows nothing of a theft", f"{I}standing.py",
        'return frozenset(identity.revoked_by) or frozenset({"hand"})', 'return frozenset({"directory"})',
        (*FILE, *SERVICE)),
    Mutant("each gives back its own", "a provider that knows nothing of a theft", f"{I}standing.py",
        "left = bars(identity) - {by}", "left = frozenset[RevokedBy]()", FILE),
    Mutant("revocations follow a new subject", "another name without the revocation", f"{I}scim_users.py",
        'if before is not None and "hand" in standing.bars(before):', "if False:", SERVICE),
    Mutant("a former subject is revoked", "tokens of before", f"{I}scim_users.py",
        "if before is not None and before.subject != subject:", "if False:", SERVICE),
    Mutant("active only where it is said", "who comes back by leaving it out", f"{I}scim_users.py",
        'wanted.get("active", before is None or not was)', 'wanted.get("active", True)', SERVICE),
    Mutant("groups end with the account", "rights of before", f"{I}scim_users.py",
        "groups=before.groups if before is not None else (),", "groups=base.groups,", SERVICE),
    Mutant("names of groups are unique", "a second group of that name", f"{I}scim_groups.py",
        "if other is not None and other.group_id != group_id:", "if False:", SERVICE),
    Mutant("a file's people are its own", "a provider that takes over", f"{I}scim_users.py",
        'if there is not None and there.source == "file"', 'if there is not None and there.source == "none"', SERVICE),
    Mutant("older records", "a record sent once more", f"{I}enrich.py",
        "if record.signed_us < self._signed_us.get(identity.subject, 0):", "if False:", REVOKED),
    Mutant("a record's key", "two records of one subject", f"{I}enrich.py",
        "if identity.subject != record.key:", "if False:", GROUPS),
    Mutant("whom the directory doesn't know", "anybody with a token", f"{I}groups.py",
        "            if found is None:\n                raise",
        "            if found is None:\n                return person\n            if False:\n                raise",
        GROUPS),
    Mutant("a directory that isn't read", "groups that nobody knows", f"{I}groups.py",
        "if not self._complete():", "if False:", GROUPS),
    Mutant("revoked, whatever token", "a token that still holds", f"{I}groups.py",
        "if found is not None and not found.active:", "if False:", GROUPS),
    Mutant("who acts for the revoked", "an agent of somebody who left", f"{I}groups.py",
        "found = [person.subject, person.via, person.on_behalf_of]", "found = [person.subject, person.via]", GROUPS),
    Mutant("a lost group ends the session", "rights until the token's end", f"{I}groups.py",
        "return bool((set(before.groups) - set(after.groups)) & set(person.groups))", "return False", GROUPS),
    Mutant("groups that a service speaks for", "a BI tool with an owner's rights", f"{I}speaks_for.py",
        "if own and common != person.groups:", "if False:", (*GROUPS, f"{_TESTS}speaks_for.py")),
    Mutant("approvers stand in the directory", "a decision of somebody who left", "streams/approvals/serving.py",
        "return Caller(service.standing(session.person), session)", "return Caller(session.person, session)",
        APPROVERS),
    Mutant("read-only attributes", "a group that a user gives itself", "connectors/scim/patch.py",
        'if attribute.mutability == "readOnly":\n        raise', "if False:\n        raise", PATCHES),
    Mutant("the bearer token", "anybody", f"{I}scim_web.py",
        'return scheme.lower() == "bearer" and any(found)', "return True", (f"{_TESTS}scim_tokens.py",)),
    Mutant("SCIM in the clear", "the token on the network", "streams/settings_scim.py",
        "if scim.host not in LOOPBACK and not scim.certificate and not scim.plaintext:", "if False:",
        (f"{_TESTS}scim_tokens.py",)),
]  # fmt: skip
