"""One file configures every role: what loads, what is refused and why, and that no secret shows."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from taprail.schemas.errors import SettingsError
from taprail.streams import settings
from taprail.streams.commands.config import config as config_verb
from tests.fakes.vault import TOKEN, FakeVault, version_2

GOOD = """
[kafka]
bootstrap = "kafka:9092"
[kafka.passwords]
tap = "env:TAP_WORD"
stream = "file:secrets/stream"

[registry]
url = "http://registry:8080"

[identity]
issuer = "https://login.example.com"

[tap]
plaintext_tokens = true

[keys]
mark = "env:MARK"
data = "file:secrets/data"
[keys.control_public]
control-1 = "control.pub.pem"

[[databases]]
name = "prod"
environment = "prod"
server = "main"
host = "db.example.com"
catalog_role = "taprail_catalog"
catalog_password = "env:CATALOG"
[[databases.roles]]
group = "*"
role = "app"
password = "env:APP"
"""
SECOND = """
[[databases]]
name = "prod"
environment = "dev"
server = "other"
host = "db"
catalog_role = "c"
catalog_password = "env:CATALOG"
roles = [{group = "*", role = "app", password = "env:APP"}]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "taprail.toml"
    path.write_text(GOOD)
    return path


def refused(path: Path, text: str) -> str:
    """The error's text; it names the file and says what to do."""
    path.write_text(text)
    with pytest.raises(SettingsError) as error:
        settings.load(path)
    assert str(path) in error.value.message and error.value.hint
    return error.value.message


def test_a_good_file_loads_with_its_defaults(file: Path) -> None:
    loaded = settings.load(file)
    assert loaded.settings.kafka.security == "SASL_SSL"
    assert loaded.settings.tap.port == 6432
    assert loaded.settings.databases[0].tls == "verify-full"
    assert loaded.settings.databases[0].upstream == "prod"
    assert loaded.database("prod") is loaded.settings.databases[0]
    assert loaded.database("nowhere") is None


def test_paths_stand_against_the_files_own_directory(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    loaded = settings.load(file)
    assert loaded.path("spool") == file.parent / "spool"
    assert loaded.path("/var/spool") == Path("/var/spool")


def test_settings_cant_be_changed_after_they_were_read(file: Path) -> None:
    with pytest.raises(AttributeError):
        settings.load(file).settings.tap.port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("good", "bad", "named"),
    [
        ('bootstrap = "kafka:9092"\n', "", "missing required field `bootstrap` - at `$.kafka`"),
        ('issuer = "https', 'isuer = "https', "isuer"),
        ("plaintext_tokens = true", 'port = "6432"', "Expected `int`, got `str` - at `$.tap.port`"),
        ("plaintext_tokens = true", "port = 65536", "`int` <= 65535 - at `$.tap.port`"),
        ("plaintext_tokens = true", "spool_bytes_max = 1", "at `$.tap.spool_bytes_max`"),
        ("plaintext_tokens = true", 'durability = "never"', "Invalid enum value 'never' - at `$.tap.durability`"),
        ('name = "prod"', 'name = "pr od"', "at `$.databases[0].name`"),
        ('host = "db.example.com"', 'host = "db.example.com"\ntls = "prefer"', "at `$.databases[0].tls`"),
        ("[kafka]", '[kafka]\nsecurity = "PLAINTEXT"', "at `$.kafka.security`"),
        ('mark = "env:MARK"', "", "missing required field `mark` - at `$.keys`"),
        ("plaintext_tokens = true", 'certificate = "tap.crt"', "a certificate needs its private_key"),
        ("plaintext_tokens = true", 'private_key = "tap.key"', "a certificate needs its private_key"),
    ],
)
def test_what_doesnt_fit_is_named_with_its_place(file: Path, good: str, bad: str, named: str) -> None:
    assert good in GOOD
    assert named in refused(file, GOOD.replace(good, bad, 1))


@pytest.mark.parametrize("table", ["", "kafka", "registry", "identity", "tap", "keys", "policy", "approvals", "ledger"])
def test_an_unknown_key_is_refused_everywhere(file: Path, table: str) -> None:
    loose = "no_such_setting = 1\n"
    header = f"[{table}]\n"
    if not table:
        text = loose + GOOD
    elif header in GOOD:
        text = GOOD.replace(header, header + loose)
    else:
        text = GOOD + header + loose
    assert "unknown field `no_such_setting`" in refused(file, text)


def test_two_databases_of_one_name_are_refused(file: Path) -> None:
    assert "databases: 'prod' stands there twice" in refused(file, GOOD + SECOND)


def test_a_database_that_nobody_may_use_is_refused(file: Path) -> None:
    text = GOOD.replace('[[databases.roles]]\ngroup = "*"\nrole = "app"\npassword = "env:APP"\n', "roles = []\n")
    assert "databases[0].roles: nobody may use 'prod'" in refused(file, text)


def test_what_is_no_toml_is_refused_with_its_line(file: Path) -> None:
    assert "line 2" in refused(file, "\n[kafka\n")


def test_a_file_that_isnt_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"can't read .*none\.toml: No such file"):
        settings.load(tmp_path / "none.toml")


@pytest.mark.parametrize("reference", ["hunter2", "env:", "env:A B", "env:1A", "file:", "http://vault/x"])
def test_a_secret_in_the_file_itself_is_refused_and_not_repeated(file: Path, reference: str) -> None:
    message = refused(file, GOOD.replace("env:MARK", reference))
    assert "at `$.keys.mark`" in message
    assert "hunter2" not in message


@given(st.text(st.characters(exclude_characters='"\\', exclude_categories=("Cc", "Cs")), min_size=8))
def test_no_secret_value_is_ever_repeated(text: str) -> None:
    if text.startswith(("env:", "file:")):
        return
    raw = {"group": "*", "role": "app", "password": text}
    with pytest.raises(msgspec.ValidationError) as error:
        msgspec.convert(raw, settings.RoleMapping)
    assert text not in str(error.value)


def test_a_secret_comes_from_the_environment(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = settings.load(file)
    monkeypatch.setenv("MARK", "abc")
    assert loaded.secret("env:MARK") == "abc"
    monkeypatch.delenv("MARK")
    with pytest.raises(SettingsError, match=r"keys\.mark: the environment variable MARK is not set"):
        loaded.secret("env:MARK", "keys.mark")


def test_a_secret_comes_from_a_file_without_its_line_end(file: Path) -> None:
    loaded = settings.load(file)
    (file.parent / "secrets").mkdir()
    (file.parent / "secrets" / "data").write_text("abc\n")
    assert loaded.secret("file:secrets/data") == "abc"
    with pytest.raises(SettingsError, match=r"keys\.data: can't read .*secrets/other: No such file"):
        loaded.secret("file:secrets/other", "keys.data")


def test_a_process_holds_only_its_own_passwords(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAP_WORD", "of-the-tap")
    endpoint = settings.load(file).kafka("tap")
    assert dict(endpoint.users) == {"tap": "of-the-tap"}
    assert "of-the-tap" not in repr(endpoint)


def test_no_secret_shows_in_the_settings(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAP_WORD", "of-the-tap")
    loaded = settings.load(file)
    loaded.kafka("tap")
    assert "of-the-tap" not in repr(loaded)


def test_problems_lists_everything_that_would_stop_a_start(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TAP_WORD", "MARK", "CATALOG", "APP"):
        monkeypatch.delenv(name, raising=False)
    file.write_text(GOOD.replace("plaintext_tokens = true", 'id = "tap-1"'))
    found = "\n".join(settings.problems(settings.load(file)))
    named = ("kafka.passwords.tap: ", "kafka.passwords.stream: ", "keys.mark: ", "keys.data: ")
    named += ("databases[0].catalog_password: ", "databases[0].roles[0].password: ", "keys.control_public.control-1: ")
    named += ("without tap.certificate nobody can sign in",)
    assert [name for name in named if name not in found] == []


def test_a_complete_installation_has_no_problems(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TAP_WORD", "MARK", "CATALOG", "APP"):
        monkeypatch.setenv(name, "there")
    (file.parent / "secrets").mkdir()
    for name in ("secrets/stream", "secrets/data", "control.pub.pem"):
        (file.parent / name).write_text("there")
    assert settings.problems(settings.load(file)) == []


def test_the_check_verb_says_what_is_wrong_and_ends_with_one(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MARK", raising=False)
    run = CliRunner().invoke(config_verb, ["check", str(file)])
    assert run.exit_code == 1 and "keys.mark: the environment variable MARK is not set" in run.output


def test_every_setting_has_a_description_and_a_place_in_the_document() -> None:
    lines = settings.document().splitlines()
    rows = [line for line in lines if line.startswith("| `")]
    assert len(rows) > 60
    assert all(len(row.split(" | ")) >= 3 and row.rstrip(" |").endswith(".") for row in rows), rows
    for title in ("## [kafka]", "## [[databases]]", "## [[databases.roles]]", "## [alerts.slack]", "## [ledger]"):
        assert title in lines


def test_a_secret_comes_from_vault(tmp_path: Path) -> None:
    """Whatever setting names it; the token of Vault itself stands in a file that an agent renews."""
    path = tmp_path / "taprail.toml"
    with FakeVault() as server:
        server.secrets["secret/data/prod"] = version_2(catalog="from-vault")
        vault = f'[vault]\naddress = "{server.address}"\nsecret = "file:vault-token"\n'
        path.write_text(GOOD.replace('"env:CATALOG"', '"vault:secret/data/prod#catalog"') + vault)
        loaded = settings.load(path)
        (database,) = loaded.settings.databases
        with pytest.raises(SettingsError, match=r"vault\.secret: can't read"):
            loaded.secret(database.catalog_password)
        (tmp_path / "vault-token").write_text(TOKEN + "\n")
        assert loaded.secret(database.catalog_password) == "from-vault"
        assert not any("Vault" in problem for problem in settings.problems(loaded))
    path.write_text(GOOD.replace('"env:CATALOG"', '"vault:secret/data/prod#catalog"'))
    with pytest.raises(SettingsError, match=r"catalog_password is in Vault, and vault\.address is not set"):
        settings.load(path).secret(database.catalog_password, "databases.prod.catalog_password")


@pytest.mark.parametrize(
    ("vault", "says"),
    [
        ('address = "http://vault.example.com"\nsecret = "env:T"', "has no TLS"),
        ('address = "https://vault.example.com"', "vault.secret is not set"),
        ('address = "https://vault.example.com"\nmethod = "approle"\nsecret = "env:T"', "vault.role is not set"),
        ('address = "https://vault.example.com"\nsecret = "vault:a#b"', "vault.secret"),
    ],
)
def test_a_vault_that_cannot_be_asked_is_told_at_once(tmp_path: Path, vault: str, says: str) -> None:
    path = tmp_path / "taprail.toml"
    path.write_text(f"{GOOD}[vault]\n{vault}\n")
    with pytest.raises(SettingsError, match=says):
        settings.load(path)
