"""A bucket that a test fills like the export job does, and an import that reads it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import boto3
import pytest
from botocore.config import Config
from table import Table, fill, iso

from fleetfuel.pipeline import Outcome, Request
from fleetfuel.pipeline import run as run_import
from fleetfuel.sandbox.store import ObjectStore, object_store
from fleetfuel.settings import Settings

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
EAT: Final = timedelta(hours=3)


def key_of(at: datetime) -> str:
    """A change file's name, in one of the spellings that coexist; text order is not time order."""
    return (
        f"{at:%Y-%m-%dT%H:%M:%S}.000Z.json",
        f"{at + EAT:%Y-%m-%dT%H-%M-%S}.json",
        f"{at:%Y-%m-%dT%H-%M-%S}.000Z.json",
        f"{at + EAT:%Y-%m-%dT%H:%M:%S}+03:00.json",
    )[at.hour % 4]


def delta(at: datetime, *records: Mapping[str, Any]) -> bytes:
    return json.dumps({"metadata": {"exported_at": iso(at)}, "records": records}).encode()


class Feed:
    """One prefix of the store, one database."""

    def __init__(self, store: ObjectStore, client: Any, table: Table, prefix: str) -> None:
        self.client = client
        self.table = table
        self.prefix = prefix
        self.settings = Settings(
            endpoint=store.endpoint,
            access_key=store.access_key,
            secret_key=store.secret_key,
            bucket="fuel",
            prefix=prefix,
            reports=table.folder / "reports",
        )

    def put(self, name: str, body: bytes) -> None:
        self.client.put_object(Bucket="fuel", Key=f"{self.prefix}changes/{name}", Body=body)

    def put_all(self, bodies: Mapping[str, bytes]) -> None:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(self.put, bodies, bodies.values()))

    def put_snapshot(self, at: datetime, records: Sequence[Mapping[str, Any]]) -> None:
        body = {"metadata": {"exported_at": iso(at), "record_count": len(records)}, "records": records}
        self.client.put_object(Bucket="fuel", Key=f"{self.prefix}latest.json", Body=json.dumps(body).encode())

    def put_changes(self, at: datetime, *records: Mapping[str, Any]) -> None:
        self.put(key_of(at), delta(at, *records))

    def run(self, *, lookback_hours: int = 48, apply: bool = True, **more: Any) -> Outcome:
        request = Request(**{"mode": "changes", "apply": apply, "wants_report": False, **more})
        return run_import(request, replace(self.settings, lookback_hours=lookback_hours), self.table.uri)

    def read_files(self, outcome: Outcome) -> list[str]:
        """The names of the files that a run read, in the order it applied them."""
        return [
            file["key"].rsplit("/", 1)[-1]
            for file in outcome.run["files"]
            if file["status"] in ("planned", "applied", "empty")
        ]


@pytest.fixture(scope="session")
def store() -> Iterator[tuple[ObjectStore, Any]]:
    with object_store() as running:
        client = boto3.client(
            "s3",
            endpoint_url=running.endpoint,
            region_name=running.region,
            aws_access_key_id=running.access_key,
            aws_secret_access_key=running.secret_key,
            config=Config(s3={"addressing_style": "path"}, max_pool_connections=16),
        )
        client.create_bucket(Bucket="fuel")
        yield running, client


@pytest.fixture
def feed(store: tuple[ObjectStore, Any], table: Table, tmp_path: Path) -> Feed:
    """An empty prefix and an empty table."""
    return Feed(*store, table, f"{tmp_path.name}/")


__all__ = ["START", "Feed", "delta", "fill", "key_of"]
