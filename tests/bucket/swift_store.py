"""OpenStack Swift with its S3 API, in one process on 127.0.0.1: objects in memory, strict about order and pages.

As a program it prints its endpoint and serves until its standard input is closed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ACCESS_KEY = "test:tester"
SECRET_KEY = "testing"
REGION = "us-east-1"
HOST = "127.0.0.1"


@contextmanager
def swift_store() -> Iterator[str]:
    """The endpoint of a server that lives as long as the block."""
    with (
        tempfile.TemporaryDirectory(prefix="fleetfuel-swift-") as folder,
        (Path(folder) / "log").open("wb") as log,
        subprocess.Popen(
            [sys.executable, __file__, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
        ) as process,
    ):
        assert process.stdin
        assert process.stdout
        try:
            endpoint = process.stdout.readline().decode().strip()
            assert endpoint, (Path(folder) / "log").read_text()[-2000:]
            yield endpoint
        finally:
            process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


class Memory:
    """What Swift wants of memcached, for one process."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}

    def get(self, key: str, **_: Any) -> Any:
        return self._values.get(key)

    def set(self, key: str, value: Any, **_: Any) -> None:
        self._values[key] = value

    def delete(self, key: str, **_: Any) -> None:
        self._values.pop(key, None)

    def incr(self, key: str, delta: int = 1, **_: Any) -> int:
        self._values[key] = int(self._values.get(key, 0)) + delta
        return int(self._values[key])

    def decr(self, key: str, delta: int = 1, **_: Any) -> int:
        return self.incr(key, -delta)

    def set_multi(self, mapping: dict[str, Any], *_: Any, **__: Any) -> None:
        self._values.update(mapping)

    def get_multi(self, keys: list[str], *_: Any, **__: Any) -> list[Any]:
        return [self._values.get(key) for key in keys]


def serve(folder: Path) -> None:
    import eventlet

    eventlet.monkey_patch()
    from eventlet import wsgi
    from swift.common import constraints, storage_policy, utils

    (folder / "swift.conf").write_text(
        "[swift-hash]\nswift_hash_path_suffix = tests\n[storage-policy:0]\nname = default\ndefault = yes\n"
    )
    utils.set_swift_dir(str(folder))
    constraints.reload_constraints()
    storage_policy.reload_storage_policies()
    utils.validate_hash_conf()

    (folder / "devices" / "disk").mkdir(parents=True)
    sockets = {name: eventlet.listen((HOST, 0)) for name in ("account", "container", "object", "proxy")}
    ports = {name: socket.getsockname()[1] for name, socket in sockets.items()}
    for name in ("account", "container", "object"):
        write_ring(folder, name, ports[name])
    conf = {
        "swift_dir": str(folder),
        "devices": str(folder / "devices"),
        "mount_check": "false",
        "log_level": "ERROR",
        "account_autocreate": "true",
        "allow_account_management": "true",
        "user_test_tester": f"{SECRET_KEY} .admin",
        "storage_url_scheme": "http",
        "location": REGION,
        "s3_acl": "false",
        "check_bucket_owner": "false",
        "fallocate_reserve": "0",
        "auto_create_account_prefix": ".",
    }
    for name, application in applications(conf).items():
        eventlet.spawn(wsgi.server, sockets[name], application, log_output=False, keepalive=True)
    print(f"http://{HOST}:{ports['proxy']}", flush=True)
    eventlet.tpool.execute(sys.stdin.read)


def write_ring(folder: Path, name: str, port: int) -> None:
    from swift.common.ring import RingBuilder

    builder = RingBuilder(4, 1, 0)
    builder.add_dev({"region": 1, "zone": 1, "ip": HOST, "port": port, "device": "disk", "weight": 1.0})
    builder.rebalance()
    builder.get_ring().save(str(folder / f"{name}.ring.gz"))


def applications(conf: dict[str, str]) -> dict[str, Any]:
    from swift.account.server import AccountController
    from swift.common.middleware import bulk, copy, gatekeeper, listing_formats, slo, tempauth
    from swift.common.middleware.s3api import s3api
    from swift.container.server import ContainerController
    from swift.obj.mem_server import ObjectController
    from swift.proxy.server import Application

    memory = Memory()
    pipeline: Any = Application(conf)
    for middleware in (slo, bulk, copy, tempauth, s3api, listing_formats, gatekeeper):
        pipeline = middleware.filter_factory(conf)(pipeline)

    def remembering(environ: dict[str, Any], start_response: Any) -> Any:
        environ["swift.cache"] = memory
        return pipeline(environ, start_response)

    return {
        "account": AccountController(conf),
        "container": ContainerController(conf),
        "object": ObjectController(conf),
        "proxy": remembering,
    }


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
