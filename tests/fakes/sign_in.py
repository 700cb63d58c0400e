"""A tap's settings for tests of its sign-in: one provider, one database, and whatever a test adds."""

from __future__ import annotations

from pathlib import Path

from taprail.streams.settings import Loaded, load

BASE = """
[kafka]
bootstrap = "127.0.0.1:9092"
[registry]
url = "http://127.0.0.1:8081"
[identity]
issuer = "{issuer}"
{identity}
[tap]
plaintext_tokens = true
{tap}
[keys]
mark = "file:mark"
data = "file:data"
control_public = {{}}
{keys}
[[databases]]
name = "postgres"
environment = "test"
server = "main"
host = "127.0.0.1"
tls = "disable"
catalog_role = "catalog"
catalog_password = "file:password"
[[databases.roles]]
group = "analysts"
role = "analyst"
password = "file:password"
[[databases.roles]]
group = "*"
role = "app"
password = "file:password"
{more}
"""


def settings(folder: Path, issuer: str, *, identity: str = "", tap: str = "", keys: str = "", more: str = "") -> Loaded:
    """Settings as read from a file in `folder`, where the secrets are files as well."""
    (folder / "password").write_text("a password")
    (folder / "taprail.toml").write_text(BASE.format(issuer=issuer, identity=identity, tap=tap, keys=keys, more=more))
    return load(folder / "taprail.toml")
