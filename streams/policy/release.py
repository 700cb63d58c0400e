"""A set of policies as it is sent to the taps: one signed record, so that it counts as a whole or not at all.

A tap believes a release that is signed with the control key, is newer than the one that it has, and whose version is
that of its files as this tap reads them: a tap that doesn't know a field refuses the set and goes on with the old one.
The last one that it believed lies beside its spool, for a start while Kafka is away.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import MsgspecError, json, structs, to_builtins

from taprail.connectors.kafka.exclusive import ExclusiveWriter, FencedError
from taprail.connectors.kafka.follow import Follower
from taprail.connectors.kafka.registry import Registry, frame
from taprail.schemas import avro
from taprail.schemas.control import PolicyFile, PolicyRelease, SignedRecord, open_signed, sign
from taprail.schemas.errors import PolicyError, SettingsError, SignatureError, StackError
from taprail.streams import keys
from taprail.streams.policy.load import compose, files, read
from taprail.streams.policy.packs import BASE
from taprail.streams.policy.ruling import PolicySet
from taprail.streams.policy.trial import try_all
from taprail.streams.settings import Loaded
from taprail.streams.stream import control_keys

TOPIC, KEY = "taprail.policies", "in-force"
TRANSACTIONAL_ID = "taprail-agents-policies"
BYTES_MAX = 900_000  # of a release: Kafka's messages have 1 MiB
_log = logging.getLogger("taprail.policy")
PublicKeys = Mapping[str, Ed25519PublicKey]


def release_of(folder: Path, released_by: str, reason: str) -> PolicyRelease:
    """What a folder holds, once every file is fine and every test passes. Raises PolicyError."""
    return _release(texts_of(folder), str(folder), released_by, reason)


def trial_of(folder: Path, before: Mapping[str, str], released_by: str, reason: str) -> PolicyRelease:
    """What is in force, as files' names and texts, and what is new or other in a folder as policies being tried.

    Raises PolicyError, also where there is nothing to try.
    """
    old = {policy.id: policy for policy in compose(before)}
    tried = {}
    wanted = compose(texts_of(folder))
    names = {policy.id: f"{policy.id}-trial"[:63] for policy in wanted if old.get(policy.id) != policy}
    for policy in wanted:
        if policy.id in names:
            if policy.correlation is not None:  # what it counts may be tried as well
                rules = tuple(names.get(rule, rule) for rule in policy.correlation.rules)
                policy = structs.replace(policy, correlation=structs.replace(policy.correlation, rules=rules))
            said = to_builtins(structs.replace(policy, id=names[policy.id], status="test"))
            tried[f"trial/{policy.id}.yaml"] = yaml.safe_dump(said, sort_keys=False, allow_unicode=True)
    if not tried:
        raise PolicyError("holds nothing but what is in force", file=str(folder), hint="there is nothing to try")
    return _release({**before, **tried}, str(folder), released_by, reason)


def texts_of(folder: Path) -> dict[str, str]:
    """Files' names and texts. Raises PolicyError."""
    return {str(path.relative_to(folder)): read(path) for path in files(folder)}


def _release(texts: Mapping[str, str], folder: str, released_by: str, reason: str) -> PolicyRelease:
    policies = compose(texts)
    if not policies:
        raise PolicyError("holds no policy", file=folder, hint="an empty set would allow everything")
    if wrong := next((tried for tried in try_all(policies) if tried.wrong), None):
        hint = "`taprail policy test` says all of them"
        raise PolicyError(f"a test of {wrong.policy} fails: {wrong.sql}: {wrong.wrong}", file=folder, hint=hint)
    made = PolicyRelease(
        PolicySet(policies).version, released_by, reason, tuple(PolicyFile(n, t) for n, t in sorted(texts.items()))
    )
    if (size := len(json.encode(made))) > BYTES_MAX:
        raise PolicyError(f"is {size} bytes in all; {BYTES_MAX} fit into a record", file=folder)
    return made


def policies_in(release: PolicyRelease) -> PolicySet:
    """Raises PolicyError where they aren't what the release says."""
    made = PolicySet(compose({file.name: file.text for file in release.files}))
    if made.version != release.version:
        raise PolicyError(
            f"a release says version {release.version}, and its files are {made.version} to this tap",
            hint="tap and sender may be of different versions",
        )
    return made


class Releases:
    """A tap's side. `take` may be called in any one thread; `put` is called with each set that counts from now on."""

    def __init__(self, public_keys: PublicKeys, file: Path, put: Callable[[PolicySet], None]) -> None:
        self._keys, self._file, self._put = dict(public_keys), file, put
        self._signed_us = 0
        self.complete = threading.Event()  # everything that stood in Kafka at the start has been read

    def restore(self) -> None:
        """The last one that was believed, from its file."""
        with contextlib.suppress(FileNotFoundError):
            try:
                self.take(json.decode(self._file.read_bytes(), type=SignedRecord))
            except (MsgspecError, OSError) as error:
                _log.error("%s can't be read, so the policies come from Kafka alone: %s", self._file, error)

    def take(self, record: SignedRecord) -> None:
        """Put a release in force, or say why not and go on with the one before."""
        if record.signed_us <= self._signed_us:
            return
        try:
            if record.kind != "policy" or record.key != KEY:
                raise SignatureError(f"{record.kind}/{record.key} is no release of policies")
            release = open_signed(record, PolicyRelease, public_keys=self._keys)
            policies = policies_in(release)
        except (SignatureError, PolicyError, MsgspecError) as error:
            _log.error("a release of policies is refused, and the one before stays in force: %s", error)
            return
        self._signed_us = record.signed_us
        self._keep(record)
        self._put(policies)
        by, count = release.released_by, len(policies.policies)
        _log.info("policies %s are in force: %d, by %s: %s", policies.version, count, by, release.reason)

    def _keep(self, record: SignedRecord) -> None:
        part = self._file.with_name(self._file.name + ".part")
        try:
            part.touch(0o600)
            part.write_bytes(json.encode(record))
            part.replace(self._file)
        except OSError as error:  # Kafka has it
            _log.error("the policies in force can't be written to %s: %s", self._file, error.strerror)


def publish(loaded: Loaded, release: PolicyRelease) -> SignedRecord:
    """Sign it with the control key and wait for Kafka. Raises SettingsError without the key, StackError."""
    settings = loaded.settings.keys
    if settings.control_private is None:
        raise SettingsError("keys.control_private is not set", hint="policies are signed where the agents run")
    key = keys.private_key(loaded.secret(settings.control_private), "keys.control_private")
    registry = Registry(loaded.settings.registry.url)
    head = frame(registry.register("taprail.SignedRecord", avro.schema_of(SignedRecord)))
    writer = ExclusiveWriter(loaded.kafka("agents").client_config("agents"), TRANSACTIONAL_ID)
    writer.take_over()
    before = current(loaded)
    now_us = max(time.time_ns() // 1000, (before.signed_us if before is not None else 0) + 1)
    record = sign("policy", KEY, release, private_key=key, key_id=settings.control_id, now_us=now_us)
    try:
        writer.commit(TOPIC, [(KEY, head + avro.encode(record))])
    except FencedError as error:
        raise StackError("somebody else releases policies at this moment", hint="look, and do it again") from error
    return record


def in_force(loaded: Loaded) -> dict[str, str]:
    """Files' names and texts of the newest release, or of what ships. Raises StackError."""
    record = current(loaded)
    return texts_of(BASE) if record is None else {file.name: file.text for file in opened(loaded, record).files}


def opened(loaded: Loaded, record: SignedRecord) -> PolicyRelease:
    """Raises SignatureError."""
    return open_signed(record, PolicyRelease, public_keys=control_keys(loaded))


def current(loaded: Loaded) -> SignedRecord | None:
    """The newest release that the topic has and whose signature holds, None where there is none. Raises StackError."""
    public_keys, found = control_keys(loaded), None
    config = loaded.kafka("agents").client_config("agents")
    with Follower(config, {TOPIC: avro.decoder(SignedRecord)}, since_us=0) as follower:
        while follower.behind():
            if (followed := follower.poll(0.2)) is None:
                continue
            record: SignedRecord = followed.record
            try:
                open_signed(record, PolicyRelease, public_keys=public_keys)
            except (SignatureError, MsgspecError) as error:
                _log.warning("%s", error)
                continue
            if found is None or record.signed_us > found.signed_us:
                found = record
    return found
