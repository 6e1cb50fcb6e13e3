import os
import random
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import botocore.exceptions
import psutil
import pytest

from fleetfuel.errors import EmbeddedUnavailable
from fleetfuel.sandbox import store as store_room
from fleetfuel.sandbox.process import Guard, alive, free_ports
from fleetfuel.sandbox.store import GRPC, SERVICES, ObjectStore, object_store

from .conftest import Program, listening_addresses, wait_for

PROGRAM = """
import json, time
from fleetfuel.sandbox.store import object_store
with object_store() as store:
    print(json.dumps(dict(pid=store.pid, data=str(store.data), endpoint=store.endpoint)), flush=True)
    time.sleep(600)
"""


def client(store: ObjectStore) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=store.endpoint,
        aws_access_key_id=store.access_key,
        aws_secret_access_key=store.secret_key,
        region_name=store.region,
    )


def sockets_of(pid: int) -> list[Path]:
    """The Unix sockets a process and its kind make by name."""
    return [Path(each.laddr) for each in psutil.Process(pid).net_connections("unix") if each.laddr]


def test_objects_are_kept_as_they_are_written_and_nothing_is_left_behind(scratch: Path) -> None:
    with object_store() as store:
        s3 = client(store)
        s3.create_bucket(Bucket="fuel")
        s3.put_object(Bucket="fuel", Key="fuel_records/ä b.json", Body=b'{"records": []}')
        assert s3.get_object(Bucket="fuel", Key="fuel_records/ä b.json")["Body"].read() == b'{"records": []}'
        process, sockets = psutil.Process(store.pid), sockets_of(store.pid)
        assert sockets
        assert all(each.exists() for each in sockets)
        assert list(scratch.iterdir()) == [store.data]
    assert not process.is_running()
    assert not any(each.exists() for each in sockets)
    assert list(scratch.iterdir()) == []


def test_only_loopback_is_listened_on_and_only_the_keys_let_in() -> None:
    with object_store() as store:
        assert listening_addresses(store.pid) == {"127.0.0.1"}
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(store.endpoint)
        for wrong in (replace(store, secret_key="guess"), replace(store, access_key="guess")):
            for call in (client(wrong).list_buckets, lambda wrong=wrong: client(wrong).create_bucket(Bucket="fuel")):
                with pytest.raises(botocore.exceptions.ClientError) as refused:
                    call()
                assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
        assert client(store).list_buckets()["Buckets"] == []
        assert store.secret_key not in repr(store)
        assert store.secret_key not in " ".join(psutil.Process(store.pid).cmdline())
        keys = store.data / "s3.json"
        assert keys.stat().st_mode & 0o777 == 0o600


def test_a_kept_folder_survives_a_killed_server_and_takes_new_keys(folder: Path) -> None:
    with object_store(folder) as first:
        client(first).create_bucket(Bucket="fuel")
        client(first).put_object(Bucket="fuel", Key="before", Body=b"1" * 5_000_000)
        os.kill(first.pid, signal.SIGKILL)
    with object_store(folder) as second:
        client(second).put_object(Bucket="fuel", Key="after", Body=b"2")
    with object_store(folder) as third:
        assert client(third).get_object(Bucket="fuel", Key="before")["Body"].read() == b"1" * 5_000_000
        assert [each["Key"] for each in client(third).list_objects_v2(Bucket="fuel")["Contents"]] == ["after", "before"]
        with pytest.raises(botocore.exceptions.ClientError, match=r"403|InvalidAccessKeyId"):
            client(replace(third, access_key=first.access_key, secret_key=first.secret_key)).list_buckets()


def test_a_port_taken_meanwhile_is_given_up_but_not_for_ever(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        good, bad = (free_ports(len(SERVICES), twin=GRPC) for _ in range(2))
        bad[SERVICES.index("s3")] = port
        choices = iter([bad, good])
        monkeypatch.setattr(store_room, "free_ports", lambda count, **_: next(choices))
        with object_store() as store:
            assert store.endpoint == f"http://127.0.0.1:{good[SERVICES.index('s3')]}"
            assert client(store).list_buckets()["Buckets"] == []
        monkeypatch.setattr(store_room, "free_ports", lambda count, **_: bad)
        with pytest.raises(EmbeddedUnavailable, match=f"port {port} for S3 .* is not available"):
            object_store().__enter__()
    assert list(scratch.iterdir()) == []


def test_a_port_whose_socket_lies_there_already_is_not_taken(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ports = free_ports(2 * len(SERVICES), twin=GRPC)
    stale = Path(store_room.SOCKET.format(service="filer", port=ports[0] + GRPC))
    stale.mkdir()  # nobody can remove it as a file
    try:
        monkeypatch.setattr(random, "sample", lambda *_: ports)
        with object_store() as store:
            assert client(store).list_buckets()["Buckets"] == []
            sockets = sockets_of(store.pid)
            assert not any(str(ports[0] + GRPC) in each.name for each in sockets)
        assert not any(each.exists() for each in sockets)
    finally:
        stale.rmdir()


@pytest.mark.parametrize("killed", [False, True])
def test_what_cannot_be_removed_keeps_nothing_else_from_being_removed(scratch: Path, killed: bool) -> None:
    litter = [scratch / f"{number}.sock" for number in range(8)]
    for number, path in enumerate(litter):
        path.mkdir() if number % 2 else path.touch()
        path.chmod(0o777)
    with Guard("fleetfuel-test", None) as guard:
        pid = guard.start(["sleep", "600"], guard.scratch / "log", signal.SIGKILL, litter=list(map(str, litter)))
        if killed:
            os.kill(psutil.Process(pid).ppid(), signal.SIGKILL)
    wait_for(lambda: not alive(pid))
    assert sorted(scratch.iterdir()) == [path for number, path in enumerate(litter) if number % 2]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_program_that_ends_by_a_signal_takes_its_server_along(
    start: Callable[[str], Program], scratch: Path, how: signal.Signals
) -> None:
    program = start(PROGRAM)
    sockets = sockets_of(program.reported["pid"])
    assert sockets
    os.killpg(program.process.pid, how)
    program.process.wait()
    program.assert_nothing_is_left()
    assert not any(each.exists() for each in sockets)
    assert list(scratch.iterdir()) == []
