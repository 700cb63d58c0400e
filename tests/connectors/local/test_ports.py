"""Ports: never one that somebody listens on, and the same one again where it is free."""

from __future__ import annotations

import socket
from pathlib import Path

from taprail.connectors.local.ports import LOOPBACK, choose_ports, is_free


def listen(host: str, port: int = 0) -> socket.socket:
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((host, port))
    server.listen()
    return server


def test_a_choice_is_kept(tmp_path: Path) -> None:
    first = choose_ports(["a", "b"], tmp_path / "ports.json")
    assert choose_ports(["a", "b"], tmp_path / "ports.json") == first
    assert len(set(first.values())) == 2


def test_an_occupied_port_is_left_alone(tmp_path: Path) -> None:
    first = choose_ports(["a", "b"], tmp_path / "ports.json")
    with listen(LOOPBACK, first["a"]):
        second = choose_ports(["a", "b"], tmp_path / "ports.json")
    assert second["a"] not in first.values()
    assert second["b"] == first["b"]


def test_a_listener_on_every_address_occupies_loopback_too() -> None:
    with listen("0.0.0.0") as server:
        assert not is_free(server.getsockname()[1])
