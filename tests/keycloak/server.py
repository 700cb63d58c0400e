"""A real Keycloak on the local Java, with the realm that docker-compose.yml imports, and what an administrator does."""

from __future__ import annotations

import asyncio
import html
import re
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import aiohttp
from msgspec import json

from taprail.connectors.http import answers_200, post_form, request
from taprail.connectors.local.artifacts import ensure_sets
from taprail.connectors.local.java import FAST_START, environment, java
from taprail.connectors.local.ports import LOOPBACK, choose_ports
from taprail.connectors.local.private import password
from taprail.connectors.local.process import Child

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "tests" / "data" / "keycloak.lock"
REALM = ROOT / "deploy" / "realm.json"
HEAP_MIB, BUILD_SECONDS, READY_SECONDS = 512, 120.0, 120.0
USER_PASSWORD = "a person's own password"
_OPENED = ("java.util", "java.util.concurrent", "java.security", "java.lang")  # as the distribution's kc.sh does


class Keycloak:
    """`url` is the server's, `issuer` the realm's. All it writes is under `home`."""

    def __init__(self, home: Path) -> None:
        ports = choose_ports(["http", "management"], home / "ports.json")
        self.url = f"http://{LOOPBACK}:{ports['http']}"
        self.issuer = f"{self.url}/realms/taprail"
        self._ports, self._home = ports, home / "server"
        self._log = home / "keycloak.log"
        self._server: Child | None = None
        self._admin_password = password(home / "secrets", "keycloak-admin")

    def start(self) -> None:
        """Build it for these options, which production does, too; then start it, and wait until the realm answers."""
        [folder] = (path for path in ensure_sets(["keycloak"], lock=LOCK)["keycloak"].iterdir() if path.is_dir())
        shutil.copytree(folder, self._home)
        imported = self._home / "data" / "import"
        imported.mkdir(parents=True)
        shutil.copy(REALM, imported / "taprail-realm.json")
        built = ("--db=dev-file", "--cache=local", "--health-enabled=true")
        build = self._child("build", *built)
        build.start()
        build.wait_end(BUILD_SECONDS)
        self._server = self._child(
            "start",
            "--optimized",
            "--import-realm",
            "--http-enabled=true",
            f"--http-host={LOOPBACK}",
            f"--http-port={self._ports['http']}",
            f"--http-management-port={self._ports['management']}",
            f"--hostname={self.url}",
        )
        self._server.start()
        self._server.wait_ready(lambda: answers_200(f"{self.issuer}/.well-known/openid-configuration"), READY_SECONDS)

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()

    def _child(self, verb: str, *options: str) -> Child:
        opened = (f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _OPENED)
        properties = {
            "kc.home.dir": self._home,
            "jboss.server.config.dir": self._home / "conf",
            "java.util.logging.manager": "org.jboss.logmanager.LogManager",
            "picocli.disable.closures": "true",
            "java.util.concurrent.ForkJoinPool.common.threadFactory": (
                "io.quarkus.bootstrap.forkjoin.QuarkusForkJoinWorkerThreadFactory"
            ),
        }
        command: list[str | Path] = [java(), *FAST_START, f"-Xmx{HEAP_MIB}m", *opened]
        command += [f"-D{name}={value}" for name, value in properties.items()]
        command += ["-cp", self._home / "lib" / "quarkus-run.jar", "io.quarkus.bootstrap.runner.QuarkusEntryPoint"]
        admin = {"KC_BOOTSTRAP_ADMIN_USERNAME": "admin", "KC_BOOTSTRAP_ADMIN_PASSWORD": self._admin_password}
        return Child(
            f"Keycloak {verb}", [*command, verb, *options], log=self._log, env=environment() | admin, cwd=self._home
        )

    # What an administrator does ---------------------------------------------------------------------------------------

    def admin(self, method: str, path: str, body: Any = None) -> Any:
        """The realm's admin API; the answer's JSON, or the id of what was made."""
        form = {"grant_type": "password", "client_id": "admin-cli", "username": "admin"}
        granted = post_form(
            f"{self.url}/realms/master/protocol/openid-connect/token", form | {"password": self._admin_password}
        )
        token = json.decode(granted.body)["access_token"]
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        sent = None if body is None else json.encode(body)
        answer = request(f"{self.url}/admin/realms/taprail{path}", method=method, body=sent, headers=headers)
        assert answer.status < 300, (method, path, answer)
        if answer.location:
            return answer.location.rsplit("/", 1)[1]
        return json.decode(answer.body) if answer.body else None

    def add_user(self, name: str, *groups: str) -> str:
        """The user's id, which is the `sub` of its tokens."""
        user = {
            "username": name,
            "enabled": True,
            "email": f"{name}@example.com",
            "emailVerified": True,
            "firstName": name.title(),
            "lastName": "Example",
            "groups": [f"/{group}" for group in groups],
            "credentials": [{"type": "password", "value": USER_PASSWORD, "temporary": False}],
        }
        return str(self.admin("POST", "/users", user))

    def client(self, client_id: str) -> dict[str, Any]:
        [found] = self.admin("GET", f"/clients?clientId={client_id}")
        return dict(found)

    def add_client(self, client_id: str, *, without: tuple[str, ...] = (), lifespan_s: int | None = None) -> None:
        """A client like `psql`, without the mappers of these names, or with tokens that live for so long."""
        like = self.client("psql")
        mappers = [each for each in like["protocolMappers"] if each["name"] not in without]
        attributes = like["attributes"] | ({"access.token.lifespan": str(lifespan_s)} if lifespan_s else {})
        kept = {name: value for name, value in like.items() if name != "id"}
        for mapper in mappers:
            mapper.pop("id", None)
        self.admin(
            "POST", "/clients", kept | {"clientId": client_id, "protocolMappers": mappers, "attributes": attributes}
        )

    def rotate_keys(self) -> str:
        """A new signing key that is used from now on; its component's id."""
        realm = self.admin("GET", "")
        component = {
            "name": "rotated",
            "providerId": "rsa-generated",
            "providerType": "org.keycloak.keys.KeyProvider",
            "parentId": realm["id"],
            "config": {"priority": ["1000"], "algorithm": ["RS256"], "keySize": ["2048"]},
        }
        return str(self.admin("POST", "/components", component))

    # What a person does -----------------------------------------------------------------------------------------------

    def tokens(self, name: str, client_id: str = "psql", scope: str = "openid") -> dict[str, Any]:
        """The device grant from its beginning to its end."""
        form = {"client_id": client_id, "scope": scope}
        begun = json.decode(post_form(f"{self.issuer}/protocol/openid-connect/auth/device", form).body)
        asyncio.run(allow(begun["verification_uri_complete"], name))
        grant = {"grant_type": "urn:ietf:params:oauth:grant-type:device_code", "device_code": begun["device_code"]}
        return self.token_endpoint(grant | {"client_id": client_id})

    def token_endpoint(self, form: dict[str, str]) -> dict[str, Any]:
        found: dict[str, Any] = json.decode(post_form(f"{self.issuer}/protocol/openid-connect/token", form).body)
        return found


async def allow(address: str, name: str) -> None:
    """In a browser: sign in with the password, and allow the device."""
    origin = "/".join(address.split("/")[:3])
    cookies = aiohttp.CookieJar(unsafe=True, treat_as_secure_origin=origin)  # loopback is secure to a browser
    async with aiohttp.ClientSession(cookie_jar=cookies) as browser:

        async def shown(answer: aiohttp.ClientResponse) -> str:
            text = await answer.text()
            assert answer.status == 200, text
            return text

        async def send(page: str, **fields: str) -> str:
            form = re.search(r'<form[^>]*action="([^"]+)"', page)
            assert form is not None, page
            async with browser.post(urljoin(origin, html.unescape(form[1])), data=fields) as answer:
                return await shown(answer)

        async with browser.get(address) as answer:
            page = await shown(answer)
        page = await send(page, username=name, password=USER_PASSWORD)
        code = re.search(r'name="code" value="([^"]*)"', page)
        assert code is not None, page
        await send(page, code=html.unescape(code[1]), accept="Yes")
