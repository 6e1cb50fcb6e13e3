"""Why a server refuses a login: its SQLSTATE, asked for by speaking the beginning of the protocol ourselves.

libpq reports a refused login only as a text in the server's language. Here the same login is tried once more, up to the
answer that has the code: https://www.postgresql.org/docs/current/protocol-flow.html
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import secrets
import socket
import ssl
import struct
from collections.abc import Mapping
from typing import Final

PATIENCE: Final = 5.0
"""Seconds for each answer."""
LONGEST: Final = 64 * 1024
"""At most so many bytes of an answer are read."""


def ask_why(parameters: Mapping[str, str]) -> str | None:
    """The SQLSTATE with which the first host that answers refuses this login; None if it does not say."""
    hosts = (parameters.get("host") or os.environ.get("PGHOST") or "localhost").split(",")
    ports = (parameters.get("port") or os.environ.get("PGPORT") or "5432").split(",")
    ports = ports * len(hosts) if len(ports) == 1 else ports
    for host, port in zip(hosts, ports, strict=False):
        try:
            with _connected(host or "localhost", int(port or 5432), parameters) as door:
                if state := _log_in(door, parameters):
                    return state
        except (OSError, ValueError, struct.error, IndexError, EOFError):
            continue
    return None


def _connected(host: str, port: int, parameters: Mapping[str, str]) -> socket.socket:
    if host.startswith("/"):
        door = socket.socket(socket.AF_UNIX)
        door.settimeout(PATIENCE)
        door.connect(f"{host}/.s.PGSQL.{port}")
        return door
    door = socket.create_connection((host, port), PATIENCE)
    mode = parameters.get("sslmode") or os.environ.get("PGSSLMODE") or "prefer"
    if mode in ("disable", "allow"):
        return door
    door.sendall(struct.pack("!ii", 8, 80877103))
    if door.recv(1) != b"S":
        return door
    return _context(mode, parameters).wrap_socket(door, server_hostname=host)


def _context(mode: str, parameters: Mapping[str, str]) -> ssl.SSLContext:
    """A context that verifies as much as libpq just did."""
    root = parameters.get("sslrootcert") or os.environ.get("PGSSLROOTCERT")
    context = ssl.create_default_context(cafile=None if root in (None, "", "system") else root)
    context.check_hostname = mode == "verify-full"
    if not mode.startswith("verify-"):
        context.verify_mode = ssl.CERT_NONE
    return context


def _log_in(door: socket.socket, parameters: Mapping[str, str]) -> str | None:
    user = parameters.get("user") or os.environ.get("PGUSER") or ""
    password = parameters.get("password") or os.environ.get("PGPASSWORD") or ""
    said = {"user": user, "database": parameters.get("dbname") or os.environ.get("PGDATABASE") or user}
    if options := parameters.get("options") or os.environ.get("PGOPTIONS"):
        said["options"] = options
    text = b"".join(f"{name}\0{value}\0".encode() for name, value in said.items()) + b"\0"
    door.sendall(struct.pack("!ii", len(text) + 8, 196608) + text)
    scram: _Scram | None = None
    while True:
        kind, body = _answer(door)
        if kind == b"E":
            fields = re.findall(rb"([A-Za-z])([^\0]*)\0", body)
            return next((value.decode("ascii") for name, value in fields if name == b"C"), None)
        if kind == b"Z":
            return None  # it lets us in after all
        if kind != b"R":
            continue
        asked = struct.unpack("!i", body[:4])[0]
        if asked == 10 and b"SCRAM-SHA-256\0" in body:
            scram = _Scram(password)
            first = scram.first()
            _say(door, b"SCRAM-SHA-256\0" + struct.pack("!i", len(first)) + first)
        elif asked == 11 and scram:
            _say(door, scram.proof(body[4:]))
        elif asked == 5:
            inner = hashlib.md5((password + user).encode(), usedforsecurity=False).hexdigest()
            outer = hashlib.md5(inner.encode() + body[4:8], usedforsecurity=False).hexdigest()
            _say(door, f"md5{outer}\0".encode())
        elif asked not in (0, 12):
            return None  # a password in clear text, Kerberos and the like: not worth a second try


def _answer(door: socket.socket) -> tuple[bytes, bytes]:
    head = _exactly(door, 5)
    size = struct.unpack("!i", head[1:])[0] - 4
    if not 0 <= size <= LONGEST:
        raise ValueError("no PostgreSQL")
    return head[:1], _exactly(door, size)


def _exactly(door: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        piece = door.recv(size - len(found))
        if not piece:
            raise EOFError
        found += piece
    return found


def _say(door: socket.socket, text: bytes) -> None:
    door.sendall(b"p" + struct.pack("!i", len(text) + 4) + text)


class _Scram:
    """One login by SCRAM-SHA-256 (RFC 5802, 7677), without channel binding: the password itself is never sent."""

    def __init__(self, password: str) -> None:
        self._password = password.encode()
        self._bare = f"n=,r={secrets.token_urlsafe(18)}"

    def first(self) -> bytes:
        return f"n,,{self._bare}".encode()

    def proof(self, challenge: bytes) -> bytes:
        given = dict(each.split("=", 1) for each in challenge.decode("ascii").split(","))
        salted = hashlib.pbkdf2_hmac(
            "sha256", self._password, base64.b64decode(given["s"]), min(int(given["i"]), 1_000_000)
        )
        key = hmac.digest(salted, b"Client Key", "sha256")
        without = f"c=biws,r={given['r']}"
        message = f"{self._bare},{challenge.decode('ascii')},{without}".encode()
        signature = hmac.digest(hashlib.sha256(key).digest(), message, "sha256")
        proof = bytes(one ^ other for one, other in zip(key, signature, strict=True))
        return f"{without},p={base64.b64encode(proof).decode()}".encode()
