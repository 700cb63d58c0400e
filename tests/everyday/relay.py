"""A relay that passes a client's connection to PostgreSQL on and keeps the SQL of every Query and Parse message."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_SSL, _GSS, _CANCEL = 80877103, 80877104, 80877102


class Relay:
    """`texts` are what was sent, in order, each with the connection's application_name."""

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.texts: list[str] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            server = socket.create_connection(self._server)
            threading.Thread(target=self._up, args=(client, server), daemon=True).start()
            threading.Thread(target=_copy, args=(server, client), daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        try:
            while True:  # SSLRequest is passed on; the server says no
                head = _exactly(client, 8)
                size, code = struct.unpack("!II", head)
                server.sendall(head + _exactly(client, size - 8))
                if code not in (_SSL, _GSS):
                    break
            while True:
                head = _exactly(client, 5)
                body = _exactly(client, struct.unpack("!I", head[1:])[0] - 4)
                server.sendall(head + body)
                if head[:1] == b"Q":
                    self.texts.append(body[:-1].decode())
                elif head[:1] == b"P":
                    self.texts.append(body.split(b"\0", 2)[1].decode())
        except (OSError, EOFError):
            server.close()


def _exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        if not (more := sock.recv(count - len(data))):
            raise EOFError
        data += more
    return data


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        pass
    target.close()


@contextmanager
def relay(host: str, port: int) -> Iterator[Relay]:
    made = Relay(host, port)
    try:
        yield made
    finally:
        made.close()
