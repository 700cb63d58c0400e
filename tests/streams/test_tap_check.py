"""`taprail tap check`: each thing that can be wrong is a line that names it, and nothing that is right is one."""

from __future__ import annotations

import socket

import msgspec
import psycopg
import pytest
from click.testing import CliRunner
from psycopg import sql

from taprail.connectors.kafka.authorised import lacks
from taprail.connectors.postgres.examine import Examined, RoleFacts
from taprail.streams import certificate as certificates
from taprail.streams.cli import main
from taprail.streams.settings import Database
from taprail.streams.tap_check_database import judge
from tests.fakes.certificates import certificate
from tests.fakes.running_tap import RunningTap


@pytest.fixture
def tap(tmp_path, stack, fresh_database):
    made = RunningTap(tmp_path, stack, fresh_database)
    for name in ("kafka", "mark", "data", "postgres", "service"):
        (tmp_path / name).chmod(0o600)
    return made


def check(tap, *options):
    return CliRunner().invoke(main, ["tap", "check", "--config", str(tap.config), *options])


def lines(tap, level):
    done = check(tap, "--json")
    found = [msgspec.json.decode(line) for line in done.output.splitlines()]
    assert done.exit_code == any(each["level"] == "fail" for each in found)
    return [f"{each['what']}: {each['text']}" for each in found if each["level"] == level]


def test_a_configuration_that_is_fine(tap, stack, tmp_path):
    """A role of its own, TLS, and what `init` makes: nothing is left to say."""
    certificate(tmp_path, "localhost", days=100)
    (tmp_path / "localhost.key").chmod(0o600)
    role = f"{tap.database}_app"
    (tmp_path / "app").write_text("app's word")
    text = tap.config.read_text().replace(f'= "{stack.postgres.superuser}"', f'= "{role}"')
    text = text.replace("file:postgres", "file:app")
    text = text.replace("plaintext_tokens = true", 'certificate = "localhost.pem"\nprivate_key = "localhost.key"')
    tap.config.write_text(text)
    with psycopg.connect(stack.postgres.dsn(tap.database), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'app''s word'").format(sql.Identifier(role)))
        connection.execute("CREATE FUNCTION f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'")
        connection.execute("CREATE EVENT TRIGGER taprail_ddl ON ddl_command_end EXECUTE FUNCTION f()")
        try:
            assert lines(tap, "fail") == [] and lines(tap, "warn") == []
            ok = "\n".join(lines(tap, "ok"))
        finally:
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
    for said in ("kafka: reached", "registry: reached", "identity: ", "signs in", "PostgreSQL 18", "100 days left"):
        assert said in ok


@pytest.mark.parametrize(
    ("found", "replaced", "said"),
    [
        ("[kafka]", "[kafka", "settings: "),
        ("file:service", "file:nowhere", "services[0].password: can't read"),
        ('bootstrap = "', 'bootstrap = "127.0.0.1:1,', None),
        ("file:kafka", "file:service", "kafka: Kafka doesn't answer"),
        ('\nurl = "', '\nurl = "http://127.0.0.1:1/', "registry: the schema registry"),
        ('issuer = "', 'issuer = "http://127.0.0.1:1/', "identity: the identity provider"),
        ('\npassword = "file:postgres"', '\npassword = "file:service"', "refused the tap's role"),
        ('tls = "disable"', 'tls = "require"', "doesn't speak TLS"),
        ('tls = "disable"', 'tls = "verify-full"\nca_file = "taprail.toml"', "has no CA certificates"),
        ('server = "main"', 'server = "main"\ndatabase = "nowhere"', 'database "nowhere" does not exist'),
        ('catalog_password = "file:postgres"', 'catalog_password = "file:service"', "can't read the catalog"),
        ("[tap]", '[tap]\nhost = "192.0.2.1"', "tap.port: can't listen on 192.0.2.1"),
        ("[tap]", '[tap]\nunix_directory = "/proc/1/nowhere"', "can't be written"),
        ("[tap]", '[tap]\nspool = "/proc/1/spool"', "tap.spool: /proc/1 can't be written"),
        ("[tap]", '[tap]\nspool = "' + "x" * 100 + '"', "is too long for a Unix socket"),
        ("[tap]", '[tap]\ncertificate = "control.pub.pem"\nprivate_key = "control.pem"', "tap.certificate: "),
    ],
)
def test_what_is_wrong_is_named(tap, found, replaced, said):
    tap.config.write_text(tap.config.read_text().replace(found, replaced, 1))
    if said is None:  # one broker of several is away
        assert lines(tap, "fail") == []
    else:
        assert [line for line in lines(tap, "fail") if said in line], check(tap).output


def test_a_port_that_is_taken_and_one_that_the_tap_itself_has(tap):
    with socket.create_server(("127.0.0.1", tap.port)):
        assert f"tap.port: can't listen on 127.0.0.1:{tap.port}: Address already in use" in lines(tap, "fail")
    with tap:
        assert f"tap.port: this tap listens on 127.0.0.1:{tap.port}" in lines(tap, "ok")
        done = CliRunner().invoke(main, ["tap", "status", "--config", str(tap.config)])
        assert done.exit_code == 0 and f"0 sessions on 127.0.0.1:{tap.port}" in done.output
        done = CliRunner().invoke(main, ["tap", "reload", "--config", str(tap.config)])
        assert done.exit_code == 0 and "0 sessions go on" in done.output
    done = CliRunner().invoke(main, ["tap", "reload", "--config", str(tap.config)])
    assert done.exit_code == 1 and "no tap runs" in done.output


@pytest.mark.parametrize(
    ("days", "level", "said"), [(-3, "fail", "expired 3 days ago"), (5, "warn", "expires in 5 days")]
)
def test_certificates_that_end(tap, tmp_path, days, level, said):
    certificate(tmp_path, "localhost", days=days + 0.1)
    certificates = 'certificate = "localhost.pem"\nprivate_key = "localhost.key"'
    tap.write(tap=certificates)
    assert f"tap.certificate: {said}" in lines(tap, level)


def test_keys_that_belong_to_others_and_names_that_are_not_covered(tap, tmp_path):
    for name in ("localhost", "other"):
        certificate(tmp_path, name, days=100)
        (tmp_path / f"{name}.key").chmod(0o644)
    host = '[[tap.hosts]]\nname = "db.example"\nenvironment = "dev"\n'
    tap.write(
        tap='certificate = "localhost.pem"\nprivate_key = "other.key"',
        more=host + 'certificate = "other.pem"\nprivate_key = "other.key"',
    )
    assert [line for line in lines(tap, "fail") if "the key isn't the certificate's" in line]
    assert [line for line in lines(tap, "fail") if "isn't for db.example" in line]
    assert [line for line in lines(tap, "warn") if "others may read it" in line]


def test_lines_for_people(tap):
    done = check(tap)
    assert done.exit_code == 0 and done.output.splitlines()[-1].endswith("0 failed")
    assert "ok    tap.port: " in done.output and "warn  tap.certificate: there is none" in done.output


def test_a_role_that_may_not_write_the_taps_topics(stack):
    missing = lacks(stack.kafka.client_config("viewer"), "tap")
    assert "taprail.statements: WRITE isn't allowed" in missing
    assert lacks(stack.kafka.client_config("tap"), "tap") == []


def database(feed="feed"):
    return msgspec.convert(
        {
            "name": "d",
            "environment": "dev",
            "server": "s",
            "host": "h",
            "roles": [],
            "catalog_role": "catalog",
            "catalog_password": "env:X",
            "feed_role": feed,
        },
        Database,
    )


def seen(**changes):
    facts = {"version": 160004, "encoding": "UTF8", "wal_level": "logical", "roles": (), "event_triggers": 3}
    return Examined(**{**facts, "publications": 1, "person_functions": 0, **changes})


@pytest.mark.parametrize(
    ("facts", "level", "said"),
    [
        (seen(version=130011), "fail", "PostgreSQL 13: tested are 14 to 18"),
        (seen(version=190000), "warn", "PostgreSQL 19"),
        (seen(encoding="SQL_ASCII"), "warn", "SQL_ASCII"),
        (seen(wal_level="replica"), "fail", "wal_level is replica"),
        (seen(publications=0), "fail", "no publication"),
        (seen(event_triggers=0), "warn", "event triggers"),
        (seen(roles=(RoleFacts("app", False, True, False, False),)), "warn", "app is or has BYPASSRLS"),
    ],
)
def test_what_a_server_says(facts, level, said):
    found = [each for each in judge(database(), facts) if each.level == level]
    assert [each for each in found if said in each.text]
    assert all(each.level == "ok" for each in judge(database(), seen()))


def test_a_database_without_a_feed_needs_no_publication():
    assert all(each.level == "ok" for each in judge(database(""), seen(publications=0, wal_level="replica")))


def test_a_database_that_is_told_who_acts_must_be_able_to_verify_it():
    said = [each.text for each in judge(database(), seen(), tells_person=True) if each.level == "warn"]
    assert said == ["nothing verifies who acts: taprail.person() isn't there"]
    assert all(each.level == "ok" for each in judge(database(), seen(person_functions=1), tells_person=True))


def test_names_that_a_certificate_is_for():
    both = certificates.Seen(("*.example.com", "localhost", "127.0.0.1"), 10)
    hosts = ("db.example.com", "LOCALHOST", "127.0.0.1", "example.com", "a.b.example.com")
    assert [both.covers(host) for host in hosts] == [True, True, True, False, False]
