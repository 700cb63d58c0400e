"""A webhook's receiver, as a company would have one: it believes what is signed, and answers 204."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from msgspec import MsgspecError, Struct, json

from taprail.connectors.webhook import key_of, verify
from taprail.schemas.errors import SignatureError
from taprail.schemas.records import Alert


class Message(Struct, frozen=True):
    type: str
    data: Alert


class Receiver:
    """Listens on loopback while it is entered. `secret` is set when it is known, before the first alert."""

    def __init__(self) -> None:
        self.secret = ""
        self._alerts: dict[str, Alert] = {}
        self._came = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/alerts"

    def wait_for(self, alert_id: str, seconds_max: float) -> Alert | None:
        """The alert with this id; None where it doesn't come in time."""
        with self._came:
            self._came.wait_for(lambda: alert_id in self._alerts, seconds_max)
            return self._alerts.get(alert_id)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def take(self, headers: dict[str, str], body: bytes) -> int:
        try:
            verify(key_of(self.secret), headers, body, time.time())
            alert = json.decode(body, type=Message).data
        except (SignatureError, MsgspecError):
            return 400
        with self._came:
            self._alerts[alert.alert_id] = alert
            self._came.notify_all()
        return 204


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.send_response(receiver.take(headers, body))
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing: the demo tells the story."""

    return Handler
