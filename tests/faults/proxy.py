"""A TCP proxy before PostgreSQL that can cut a connection at a chosen message, or lose the answer to it."""

from __future__ import annotations

import contextlib
import socket
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

Cut = Literal["before", "answer", "silence", "freeze"]
"""before: the message does not get through. answer: it does, and its answer is lost. silence: it does not get through,
and the server does not learn that the client is gone. freeze: nothing gets through any more, and nobody hears of it."""


class Proxy:
    """Passes bytes on between a client and the server, until a statement holds `needle`."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.needle = b""
        self.cut: Cut = "before"
        self.refuses = False
        """Whether new connections are refused from the cut on."""
        self.cuts = 0
        self.frozen = threading.Event()
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def uri(self, direct: str) -> str:
        """The server's URI, by way of the proxy."""
        parts = urllib.parse.urlsplit(direct)
        login = parts.netloc.rpartition("@")[0]
        return urllib.parse.urlunsplit(parts._replace(netloc=f"{login}@127.0.0.1:{self.port}"))

    def close(self) -> None:
        self.frozen.set()
        for each in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self.cut == "freeze" and self.cuts:
                    self._sockets.append(client)
                    continue
                if self.refuses and self.cuts:
                    client.close()
                    continue
                try:
                    server = socket.create_connection(self._target)
                except OSError:
                    client.close()
                    continue
                self._sockets += [client, server]
                threading.Thread(target=self._forth, args=(client, server), daemon=True).start()
                threading.Thread(target=self._pass_back, args=(server, client), daemon=True).start()

    def _forth(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65_536):
                if self.needle and self.needle in data and not self.cuts:
                    self.cuts += 1
                    self._cut(client, server, data)
                    return
                server.sendall(data)
        self._end(client, server)

    def _cut(self, client: socket.socket, server: socket.socket, data: bytes) -> None:
        if self.cut == "answer":
            _end(client)
            server.sendall(data)
            with contextlib.suppress(OSError):  # the server answers to nobody
                server.recv(65_536)
            _end(server)
        elif self.cut == "silence":
            _end(client)
        elif self.cut == "freeze":
            self.frozen.wait()
        else:
            _end(client)
            _end(server)

    def _pass_back(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65_536):
                client.sendall(data)
        if self.cut not in ("silence", "freeze") or not self.cuts:
            self._end(client, server)

    def _end(self, *ends: socket.socket) -> None:
        for each in ends:
            _end(each)


def _end(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxy(host: str, port: int) -> Iterator[Proxy]:
    running = Proxy(host, port)
    try:
        yield running
    finally:
        running.close()
