"""Which database a client means, by name, address and host name."""

from __future__ import annotations

import msgspec
import pytest

from taprail.connectors.postgres.signin import Login
from taprail.schemas.errors import RefusedError, SettingsError
from taprail.streams.routing import Directory
from taprail.streams.settings import Database
from taprail.streams.settings_tap import Tap, check_tap


def database(name, environment, upstream="", aliases=(), server="main"):
    return msgspec.convert(
        {
            "name": name,
            "environment": environment,
            "server": server,
            "host": "h",
            "database": upstream,
            "aliases": list(aliases),
            "roles": [{"group": "*", "role": "r", "password": "env:X"}],
            "catalog_role": "c",
            "catalog_password": "env:X",
        },
        Database,
    )


DATABASES = (
    database("dev-shop", "dev", "shop", ["playground"]),
    database("prod-shop", "prod", "shop", server="east"),
    database("billing", "prod", server="west"),
)
TAP = msgspec.convert(
    {
        "listeners": [
            {"name": "prod", "host": "h", "port": 1, "environments": ["prod"]},
            {"name": "shops", "host": "h", "port": 2, "databases": ["dev-shop", "prod-shop"]},
        ],
        "hosts": [{"name": "*.prod.example", "environment": "prod"}, {"name": "dev.example", "environment": "dev"}],
        "certificate": "c",
        "private_key": "k",
    },
    Tap,
)


def find(name, listener="", server_name=""):
    login = Login("u", name, "", "", True, listener=listener, server_name=server_name)
    return Directory(DATABASES, TAP).find(login).name


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (("billing",), "billing"),
        (("playground",), "dev-shop"),
        (("dev/shop",), "dev-shop"),
        (("prod/shop",), "prod-shop"),
        (("prod/prod-shop",), "prod-shop"),
        (("east/shop",), "prod-shop"),
        (("dev/playground",), "dev-shop"),
        (("shop", "prod"), "prod-shop"),
        (("shop", "", "db.prod.example"), "prod-shop"),
        (("shop", "shops", "dev.example"), "dev-shop"),
        (("shop", "prod", "unheard.example"), "prod-shop"),
    ],
)
def test_a_name_is_looked_up_where_the_client_came_in(asked, found):
    assert find(*asked) == found


@pytest.mark.parametrize(
    ("asked", "text", "hint"),
    [
        (("shop",), "'shop' may be any of 2 databases here", "connect to one of: dev/shop, prod/shop"),
        (("nowhere",), "there is no database 'nowhere' behind this tap", "there are: billing, dev-shop, prod-shop"),
        (("dev-shop", "prod"), "there is no database 'dev-shop' at prod", "there are: billing, prod-shop"),
        (("dev/shop", "", "a.prod.example"), "behind a.prod.example", "there are: billing, prod-shop"),
        (("billing", "prod", "dev.example"), "there is no database", "nothing is reached there"),
        (("prod/nowhere",), "there is no database", "there are"),
    ],
)
def test_what_is_not_reached_there_is_refused_with_what_is(asked, text, hint):
    with pytest.raises(RefusedError) as raised:
        find(*asked)
    assert text in raised.value.message and hint in raised.value.hint


def test_names_that_only_the_settings_name_tells_apart():
    twins = (database("a", "prod", "shop"), database("b", "prod", "shop"))
    with pytest.raises(RefusedError) as raised:
        Directory(twins, TAP).find(Login("u", "shop", "", "", True))
    assert raised.value.hint == "connect to one of: a, b"


@pytest.mark.parametrize(
    ("tap", "text"),
    [
        ({"listeners": [{"name": "x"}]}, "tap.listeners.x listens nowhere"),
        ({"listeners": [{"name": "x", "host": "127.0.0.1"}]}, "two listen on 127.0.0.1:6432"),
        ({"listeners": [{"name": "x", "host": "h", "environments": ["qa"]}]}, "there is no environment 'qa'"),
        ({"listeners": [{"name": "x", "host": "h", "databases": ["qa"]}]}, "there is no database 'qa'"),
        ({"listeners": [{"name": "x", "host": "h", "certificate": "c"}]}, "tap.listeners.x: a certificate needs"),
        ({"hosts": [{"name": "x", "environment": "prod"}]}, "tap.hosts need TLS"),
        ({"allowed_settings": ["Role"]}, "tap.allowed_settings: Role says who acts"),
        ({"allowed_settings": ["taprail.person"]}, "tap.allowed_settings: taprail.person says who acts"),
        ({"processes": 2, "port": 0}, "several processes can't share port 0"),
        ({"unix_directory": "/s", "listeners": [{"name": "x", "unix_directory": "/s"}]}, "two listen on /s:6432"),
    ],
)
def test_addresses_that_make_no_sense(tap, text):
    with pytest.raises(SettingsError, match=text):
        check_tap(msgspec.convert(tap, Tap), {"dev", "prod"}, {"shop"})


def test_the_listeners_of_these_tests_are_fine():
    check_tap(TAP, {d.environment for d in DATABASES}, {d.name for d in DATABASES})
