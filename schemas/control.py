"""Control records: what may change what a tap does. They are signed, and a tap refuses the unsigned.

The signature is Ed25519 (RFC 8032) over `DOMAIN || kind || 0 || key || 0 || payload`; the payload's exact bytes are
kept, so no canonical form is needed.
"""

from __future__ import annotations

from typing import Literal, TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Struct, json

from taprail.schemas.errors import SignatureError
from taprail.schemas.records import Person

DOMAIN = b"taprail/control/v1\0"
ControlKind = Literal["decision", "grant", "group", "identity", "policy"]
RevokedBy = Literal["directory", "hand"]
GROUP_KEY = "group:"  # what the key of a group begins with; no subject does


class SignedRecord(Struct, frozen=True):
    """The envelope on `taprail.decisions`, `.grants`, `.identities` and `.policies`; `key` is the Kafka key."""

    kind: ControlKind
    key: str
    payload: bytes
    signed_us: int
    key_id: str
    signature: bytes


class Decision(Struct, frozen=True):
    """An approver's answer to one approval; `binding` is copied from what the approver was shown.

    remember  equal statements of the same role may pass, as long as the approval's terms say
    """

    approval_id: str
    binding: str
    decision: Literal["approve", "deny"]
    approver: Person
    reason: str
    decided_us: int
    expires_us: int
    ticket: str = ""
    remember: bool = False


class Grant(Struct, frozen=True, omit_defaults=True):
    """What may be done without asking, for a time; made of an approval, or taken in an emergency.

    statement    exactly one statement (`binding`), once, at the tap that asked; `remembered`: equal ones (`binding` is
                 what they share) of whoever uses the role
    access       whatever policies hold, where it is; only to `relations`, if any are named; with `role`, sessions may
                 use that role, and end with the grant
    break_glass  the same, and what policies deny
    approvers    groups that may take it back, and review it
    rule         the policy that it answers, '' for any
    review       of an emergency: open until somebody else has looked at it
    """

    grant_id: str
    kind: Literal["statement", "remembered", "access", "break_glass"]
    person: Person
    environment: str
    database: str
    reason: str
    from_us: int
    until_us: int
    granted_by: tuple[Person, ...] = ()
    approvers: tuple[str, ...] = ()
    role: str = ""
    relations: tuple[str, ...] = ()
    rule: str = ""
    tap: str = ""
    binding: str = ""
    ticket: str = ""
    revoked: str = ""
    revoked_by: Person | None = None
    review: Literal["", "open", "closed"] = ""
    reviewed_by: Person | None = None
    reviewed_us: int = 0
    findings: str = ""


class Email(Struct, frozen=True, omit_defaults=True):
    """An address, as RFC 7643 has it (section 4.1.2)."""

    value: str
    type: str = ""
    primary: bool = False


class Provisioned(Struct, frozen=True, omit_defaults=True):
    """What an identity provider has said of a user over SCIM, as far as it is kept (RFC 7643, sections 3.1 and 4.1)."""

    resource_id: str
    user_name: str
    created_us: int
    external_id: str = ""
    display_name: str = ""
    formatted: str = ""
    given_name: str = ""
    family_name: str = ""
    user_type: str = ""
    emails: tuple[Email, ...] = ()


class Identity(Struct, frozen=True, omit_defaults=True):
    """What the company's directory says of a person, service or agent; `active` false ends its sessions.

    revoked_by  who has taken the access away, while `active` is false: the directory, or somebody by hand. What was
                taken by hand is given back by hand, whatever the directory says. Empty in records of the first form.
    owner       subject of the person who answers for a service or an agent
    zone        time zone, as `Europe/Helsinki`; '' where nobody said
    source      who keeps this identity up to date; '' for nobody
    """

    subject: str
    name: str
    kind: Literal["person", "service", "agent"]
    groups: tuple[str, ...]
    active: bool = True
    reason: str = ""  # why it was revoked, or restored
    revoked_by: tuple[RevokedBy, ...] = ()
    email: str = ""
    owner: str = ""
    zone: str = ""
    source: Literal["", "file", "scim"] = ""
    scim: Provisioned | None = None


class Group(Struct, frozen=True, omit_defaults=True):
    """A group that an identity provider has made over SCIM. Who is in it, the identities say, by its name."""

    group_id: str
    name: str
    created_us: int
    external_id: str = ""
    deleted: bool = False


class PolicyFile(Struct, frozen=True):
    """A file of a policy folder: its path there, and its text."""

    name: str
    text: str


class PolicyRelease(Struct, frozen=True):
    """Policies put in force together; `version` is the hash of what they say."""

    version: str
    released_by: str
    reason: str
    files: tuple[PolicyFile, ...]


def message_of(kind: str, key: str, payload: bytes) -> bytes:
    """The bytes that a control record's signature covers."""
    return DOMAIN + kind.encode() + b"\0" + key.encode() + b"\0" + payload


def sign(
    kind: ControlKind,
    key: str,
    body: Decision | Grant | Group | Identity | PolicyRelease,
    *,
    private_key: Ed25519PrivateKey,
    key_id: str,
    now_us: int,
) -> SignedRecord:
    payload = json.encode(body)
    return SignedRecord(kind, key, payload, now_us, key_id, private_key.sign(message_of(kind, key, payload)))


Body = TypeVar("Body", Decision, Grant, Group, Identity, PolicyRelease)


def open_signed(record: SignedRecord, body: type[Body], *, public_keys: dict[str, Ed25519PublicKey]) -> Body:
    """Verify and decode. Raises SignatureError where the key is unknown or the signature doesn't hold."""
    public_key = public_keys.get(record.key_id)
    if public_key is None:
        raise SignatureError(
            f"control record {record.kind}/{record.key} is signed with an unknown key {record.key_id!r}",
            hint="add the key to control.public_keys, or find out who wrote the record",
        )
    try:
        public_key.verify(record.signature, message_of(record.kind, record.key, record.payload))
    except InvalidSignature:
        raise SignatureError(
            f"the signature of control record {record.kind}/{record.key} doesn't hold",
            hint="somebody wrote to the topic without the control key: find out who",
        ) from None
    return json.decode(record.payload, type=body)
