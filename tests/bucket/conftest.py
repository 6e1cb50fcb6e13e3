"""Three stores that disagree with each other, one feed in each, and a proxy that misbehaves before one of them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fleetfuel.feed import bucket
from fleetfuel.sandbox.store import object_store
from fleetfuel.settings import Settings

from .misbehaving_proxy import Proxy, misbehaving_proxy
from .swift_store import ACCESS_KEY, REGION, SECRET_KEY, swift_store

MANY = 2_500
FEW = 48
FIRST_HOUR = datetime(2026, 1, 1, tzinfo=UTC)
EAT = timedelta(hours=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """A store with a feed in its bucket: below `few/` 48 change files and a snapshot."""

    name: str
    settings: Settings
    client: Any
    _filled: set[str] = field(default_factory=set)

    def under(self, prefix: str) -> Settings:
        return replace(self.settings, prefix=prefix)

    @property
    def many(self) -> Settings:
        """Those of `many/`: 2,500 change files and a snapshot, put there when they are first asked for."""
        self.fill("many/", MANY)
        return self.under("many/")

    def fill(self, prefix: str, hours: int) -> None:
        if prefix not in self._filled:
            with ThreadPoolExecutor(8) as pool:
                keys = [f"{prefix}changes/{key}" for key in feed(hours)]
                list(pool.map(self.put, keys, feed(hours).values()))
            self.put(f"{prefix}latest.json", SNAPSHOT)
            self._filled.add(prefix)

    def put(self, key: str, body: bytes, **more: Any) -> str:
        answer = self.client.put_object(Bucket=self.settings.bucket, Key=key, Body=body, **more)
        return str(answer["ETag"]).strip('"')


def change_key(hour: int) -> str:
    """The change file of an hour, spelt in one of the ways that coexist: text order is not time order."""
    instant = FIRST_HOUR + timedelta(hours=hour)
    return (
        f"{instant + EAT:%Y-%m-%dT%H-%M-%S}.json",
        f"{instant:%Y-%m-%dT%H:%M:%S}.000Z.json",
        f"{instant + EAT:%Y-%m-%dT%H:%M:%S}+03:00.json",
        f"{instant + EAT:%Y-%m-%dT%H-%M-%S}.json",
    )[hour % 4]


def change_body(hour: int) -> bytes:
    return b'{"metadata": {}, "records": [{"id": %d, "car": "KAA %03dA"}]}' % (hour, hour % 1000)


SNAPSHOT = b'{"metadata": {"record_count": 1}, "records": [{"id": 1, "liters": 40.50}]}'


def feed(hours: int) -> dict[str, bytes]:
    """Change keys (below `changes/`) and bodies, in time order."""
    return {change_key(hour): change_body(hour) for hour in range(hours)}


def witness_at(name: str, endpoint: str, access_key: str, secret_key: str, region: str = "us-east-1") -> Witness:
    import boto3
    from botocore.config import Config

    settings = Settings(endpoint=endpoint, access_key=access_key, secret_key=secret_key, region=region)
    config = Config(
        s3={"addressing_style": "path"}, max_pool_connections=8, request_checksum_calculation="when_required"
    )
    client = boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        region_name=region,
        config=config,
    )
    return Witness(name=name, settings=settings, client=client)


def fill(witness: Witness) -> Witness:
    witness.client.create_bucket(Bucket=witness.settings.bucket)
    witness.fill("few/", FEW)
    return witness


@pytest.fixture(scope="session")
def seaweed() -> Iterator[Witness]:
    with object_store() as store:
        yield fill(witness_at("seaweed", store.endpoint, store.access_key, store.secret_key, store.region))


@pytest.fixture(scope="session")
def swift() -> Iterator[Witness]:
    with swift_store() as endpoint:
        yield fill(witness_at("swift", endpoint, ACCESS_KEY, SECRET_KEY, REGION))


@pytest.fixture(scope="session")
def moto() -> Iterator[Witness]:
    from moto.server import ThreadedMotoServer

    with quiet("werkzeug"):
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        try:
            host, port = server.get_host_and_port()
            yield fill(witness_at("moto", f"http://{host}:{port}", "any", "any"))
        finally:
            server.stop()


@contextmanager
def quiet(name: str) -> Iterator[None]:
    import logging

    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


@pytest.fixture(params=["seaweed", "swift", "moto"])
def witness(request: pytest.FixtureRequest) -> Witness:
    """Each store in turn."""
    found: Witness = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="session")
def proxy(seaweed: Witness) -> Iterator[Proxy]:
    assert seaweed.settings.endpoint
    with misbehaving_proxy(seaweed.settings.endpoint) as running:
        yield running


@pytest.fixture
def through(seaweed: Witness, proxy: Proxy) -> Settings:
    """The 48 change files and their snapshot, seen through the proxy."""
    return replace(seaweed.settings, endpoint=proxy.endpoint, prefix="few/")


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between repetitions are short."""
    monkeypatch.setattr(bucket, "PAUSE_SECONDS", 0.005)
