"""Changes of identities on a real broker: whole or not at all, decided on what is there, never older than it."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec import json
from msgspec.structs import replace

from taprail.connectors.kafka.exclusive import FencedError
from taprail.connectors.kafka.follow import Follower
from taprail.schemas import avro
from taprail.schemas.control import GROUP_KEY, Group, Identity, SignedRecord
from taprail.schemas.endpoints import Endpoints
from taprail.schemas.errors import SettingsError, StackError
from taprail.streams import keys, settings
from taprail.streams.cli import main
from taprail.streams.identity import book as book_module
from taprail.streams.identity import publish, standing
from taprail.streams.identity.book import Book, read
from taprail.streams.identity.roster import TOPIC, Roster
from taprail.streams.settings import Loaded
from tests.fakes import sign_in


@pytest.fixture
def loaded(tmp_path: Path, stack: Endpoints, monkeypatch: pytest.MonkeyPatch) -> Loaded:
    """Its own control key, and its own transactional id: others change identities on this broker, too."""
    keys.new_pair(tmp_path / "control.pem", tmp_path / "control.pub.pem")
    (tmp_path / "agents").write_text(stack.kafka.users["agents"])
    sign_in.settings(tmp_path, stack.issuer_url)
    config = (tmp_path / "taprail.toml").read_text()
    config = config.replace('bootstrap = "127.0.0.1:9092"', f'bootstrap = "{stack.kafka.bootstrap}"')
    config = config.replace(
        "[registry]",
        f'security = "{stack.kafka.security_protocol}"\npasswords = {{ agents = "file:agents" }}\n[registry]',
    )
    config = config.replace("http://127.0.0.1:8081", stack.registry_url)
    config = config.replace("control_public = {}", 'control_public = { control-1 = "control.pub.pem" }')
    config = config.replace("[keys]", '[keys]\ncontrol_private = "file:control.pem"')
    (tmp_path / "taprail.toml").write_text(config)
    monkeypatch.setattr(book_module, "TRANSACTIONAL_ID", f"taprail-agents-test-{secrets.token_hex(4)}")
    return settings.load(tmp_path / "taprail.toml")


def someone(*groups: str) -> Identity:
    return Identity(f"test-{secrets.token_hex(4)}", "Some One", "person", groups)


def test_a_change_is_read_by_others_and_by_itself(loaded: Loaded) -> None:
    ann, book, group = someone("a"), Book(loaded), Group(secrets.token_hex(4), "a", 1)
    records = book.change(lambda _: [ann, group])
    assert {record.key for record in records} == {ann.subject, GROUP_KEY + group.group_id}
    for each in (book.roster, read(loaded)):
        assert (each.get(ann.subject), each.group(group.group_id)) == (ann, group)


def test_two_that_write_in_turns_lose_nothing(loaded: Loaded) -> None:
    """Each adds its groups to what it finds there: a lost update would lose a group."""
    ann = someone()
    Book(loaded).change(lambda _: [ann])

    def add(group: str) -> book_module.Decide:
        def decide(roster: Roster) -> list[Identity]:
            now = roster.get(ann.subject)
            assert now is not None
            return [replace(now, groups=(*now.groups, group))]

        return decide

    def write(name: str) -> None:
        book = Book(loaded)
        for number in range(5):
            book.change(add(f"{name}{number}"))

    threads = [threading.Thread(target=write, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = read(loaded).get(ann.subject)
    assert found is not None
    assert sorted(found.groups) == sorted(f"{name}{number}" for name in "ab" for number in range(5))


def test_who_was_shut_out_decides_again_on_what_is_there(loaded: Loaded) -> None:
    """An update on its way when somebody revokes by hand: it must not bring the access back."""
    ann, slow = someone("a"), Book(loaded)
    slow.change(lambda _: [ann])
    publish.revoke(loaded, ann.subject, "a stolen laptop")
    seen = []

    def decide(roster: Roster) -> list[Identity]:
        now = roster.get(ann.subject)
        assert now is not None
        seen.append(now.active)
        return [standing.restored(replace(now, groups=("b",)), "directory", "")]

    slow.change(decide)
    found = read(loaded).get(ann.subject)
    assert found is not None
    assert (seen, found.active, found.groups) == ([True, False], False, ("b",))


@pytest.mark.parametrize("written", [True, False])
def test_a_commit_whose_end_is_unknown_is_looked_up(
    loaded: Loaded, written: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written once, whether it was before the answer was lost or not."""
    ann, book, decided = someone(), Book(loaded), list[Roster]()
    commit = book._writer.commit

    def lost(topic: str, records: Sequence[tuple[str, bytes]]) -> None:
        monkeypatch.setattr(book._writer, "commit", commit)
        if written:
            commit(topic, records)
        book._writer._producer = None
        raise StackError("the answer was lost")

    def decide(roster: Roster) -> list[Identity]:
        decided.append(roster)
        return [ann]

    monkeypatch.setattr(book._writer, "commit", lost)
    assert [record.key for record in book.change(decide)] == [ann.subject]
    assert len(decided) == (1 if written else 2)
    assert read(loaded).get(ann.subject) == ann


def test_nothing_is_written_by_who_was_shut_out(loaded: Loaded) -> None:
    ann, first = someone(), Book(loaded)
    first.change(lambda _: [ann])
    Book(loaded).change(lambda _: [replace(ann, name="Other")])
    with pytest.raises(FencedError):
        first._writer.commit(TOPIC, [("x", b"x")])
    assert not first._writer.in_charge


def test_a_clock_that_is_behind_does_not_make_a_revocation_older(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, now = someone(), time.time_ns
    Book(loaded).change(lambda _: [ann])
    monkeypatch.setattr("taprail.streams.identity.book.time.time_ns", lambda: now() - 3_600_000_000_000)
    publish.revoke(loaded, ann.subject, "left")
    found = read(loaded).get(ann.subject)
    assert found is not None and not found.active


def test_what_takes_rights_away_is_written_first(loaded: Loaded) -> None:
    gains, loses, leaves = someone(), someone("a", "b"), someone("a")
    book = Book(loaded)
    book.change(lambda _: [gains, loses, leaves])
    changed = [replace(gains, groups=("b",)), replace(loses, groups=("a",)), standing.revoked(leaves, "hand", "left")]
    assert [r.key for r in book.change(lambda _: changed)] == [leaves.subject, loses.subject, gains.subject]


def test_a_follower_knows_when_it_has_read_a_topic_that_ends_with_a_commit(loaded: Loaded) -> None:
    ann = someone()
    Book(loaded).change(lambda _: [ann])
    config, found = loaded.kafka("agents").client_config("agents"), []
    with Follower(config, {TOPIC: avro.decoder(SignedRecord)}, since_us=0) as follower:
        deadline = time.monotonic() + 5
        while follower.behind():
            assert time.monotonic() < deadline
            if (followed := follower.poll(0.1)) is not None:
                found.append(followed.record.key)
    assert ann.subject in found


def test_without_the_control_key_nothing_begins(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="control_private"):
        Book(sign_in.settings(tmp_path, "http://127.0.0.1:1"))


def test_a_subject_can_not_stand_where_a_group_does(loaded: Loaded) -> None:
    with pytest.raises(SettingsError, match="no subject"):
        Book(loaded).change(lambda _: [Identity("group:1", "x", "person", ())])


def test_apply_shows_asks_writes_and_revokes_who_is_gone(loaded: Loaded, tmp_path: Path) -> None:
    one, two = (someone().subject for _ in range(2))
    file = tmp_path / "people.toml"
    file.write_text(f'[[people]]\nsubject = "{one}"\ngroups = ["a"]\n[[agents]]\nsubject = "{two}"\nowner = "{one}"\n')

    def run(*options: str, answer: str = "") -> tuple[int, str]:
        ran = CliRunner().invoke(
            main, ["identities", "apply", str(file), "--config", str(loaded.file), *options], input=answer
        )
        return ran.exit_code, ran.output

    code, shown = run("--dry-run")
    assert code == 0 and f"+  {one}  person, +a" in shown and "2 added, 0 changed" in shown
    assert read(loaded).get(one) is None
    assert run(answer="n\n")[0] == 1 and run()[0] == 1, "nobody said yes"
    assert read(loaded).get(one) is None
    assert run("--yes")[0] == 0
    found = read(loaded).get(two)
    assert found is not None and (found.kind, found.owner, found.source) == ("agent", one, "file")
    assert "0 added, 0 changed, 0 revoked, 0 removed, 2 unchanged" in run("--yes")[1]
    file.write_text(f'[[people]]\nsubject = "{one}"\ngroups = ["b"]\n')
    code, shown = run("--yes", "--json")
    lines = [json.decode(line) for line in shown.splitlines() if line.startswith("{")]
    assert {each["identity"]["subject"]: each["action"] for each in lines} == {one: "changed", two: "removed"}
    gone = read(loaded).get(two)
    assert gone is not None and (gone.active, gone.revoked_by) == (False, ("directory",))


def test_restore_says_where_the_directory_stands_against_it(loaded: Loaded) -> None:
    ann = standing.revoked(someone(), "directory", "left")
    Book(loaded).change(lambda _: [ann])
    for verb, told in (("revoke", "is revoked: why"), ("restore", "the directory has revoked the access, too")):
        arguments = ["identities", verb, ann.subject, "--reason", "why", "--config", str(loaded.file)]
        ran = CliRunner().invoke(main, arguments)
        assert ran.exit_code == 0 and told in ran.output
    found = read(loaded).get(ann.subject)
    assert found is not None and (found.active, found.revoked_by) == (False, ("directory",))


def test_the_list_says_who_is_known_and_who_has_revoked(loaded: Loaded) -> None:
    ann, bob = standing.revoked(standing.revoked(someone(), "hand", "why"), "directory", "left"), someone("a", "b")
    Book(loaded).change(lambda _: [ann, bob])
    shown = CliRunner().invoke(main, ["identities", "list", "--config", str(loaded.file)]).stdout
    assert f"{ann.subject}  revoked by directory and hand  person  Some One" in shown
    assert f"{bob.subject}  active  person  Some One  a, b" in shown
    lines = CliRunner().invoke(main, ["identities", "list", "--json", "--config", str(loaded.file)]).stdout
    assert ann in [json.decode(line, type=Identity) for line in lines.splitlines()]


def test_records_outlive_the_key_that_signed_them(loaded: Loaded) -> None:
    """Otherwise a new control key would let in everybody who was revoked."""
    ann, group = standing.revoked(someone(), "hand", "left"), Group(secrets.token_hex(4), "a", 1, deleted=True)
    Book(loaded).change(lambda _: [ann, group])
    folder = loaded.directory
    keys.new_pair(folder / "control-2.pem", folder / "control-2.pub.pem")
    config = loaded.file.read_text()
    config = config.replace('"file:control.pem"', '"file:control-2.pem"\ncontrol_id = "control-2"')
    both = config.replace(
        'control-1 = "control.pub.pem"', 'control-1 = "control.pub.pem", control-2 = "control-2.pub.pem"'
    )
    loaded.file.write_text(both)
    ran = CliRunner().invoke(main, ["identities", "renew", "--config", str(loaded.file)])
    assert ran.exit_code == 0 and "2 records are signed again" in ran.output
    loaded.file.write_text(config.replace('control-1 = "control.pub.pem"', 'control-2 = "control-2.pub.pem"'))
    roster = read(settings.load(loaded.file))
    assert (roster.get(ann.subject), roster.all_groups(), roster.groups()) == (ann, [group], [])
