"""A snapshot larger than memory should hold: parallel ranges, one version, a flat heap."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fleetfuel import errors
from fleetfuel.feed import deliver, download
from fleetfuel.settings import Settings, temporary_folder

from . import misbehaving_proxy as faults
from .conftest import Witness
from .misbehaving_proxy import Proxy

SIZE = 96 * 2**20

READ_AND_WEIGH = """
import hashlib, os, re, sys, threading
from pathlib import Path
from fleetfuel.feed import deliver
from fleetfuel.settings import read_settings

def anonymous():
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024

peak, done = 0, threading.Event()
def watch():
    global peak
    while not done.wait(0.005):
        peak = max(peak, anonymous())

settings = read_settings()
deliver.list_changes(settings)
before = anonymous()
watcher = threading.Thread(target=watch)
watcher.start()
with deliver.fetch_snapshot(settings) as delivery:
    print(hashlib.sha256(delivery.files[0].content).hexdigest())
done.set()
watcher.join()
print(peak - before)
"""
"""Prints the content's hash and by how many MiB the heap grew at most while it was fetched and read."""


@pytest.fixture(scope="module")
def large(seaweed: Witness) -> Iterator[tuple[Settings, str]]:
    body = b"".join(hashlib.blake2b(b"%d" % index).digest() * (2**20 // 64) for index in range(SIZE // 2**20))
    seaweed.put("large/latest.json", body)
    yield seaweed.under("large/"), hashlib.sha256(body).hexdigest()
    seaweed.client.delete_object(Bucket="fuel", Key="large/latest.json")


def test_a_large_snapshot_arrives_whole_and_the_heap_stays_flat(large: tuple[Settings, str], tmp_path: Path) -> None:
    settings, digest = large
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RUSTFS_")},
        "RUSTFS_ENDPOINT": settings.endpoint or "",
        "RUSTFS_ACCESS_KEY": settings.access_key or "",
        "RUSTFS_SECRET_KEY": settings.secret_key or "",
        "RUSTFS_PREFIX": settings.prefix,
        "TMPDIR": str(tmp_path),
        "PYTHONPATH": str(Path(deliver.__file__).parents[1]),
    }
    run = subprocess.run(
        [sys.executable, "-c", READ_AND_WEIGH],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    found, grown = run.stdout.split()
    assert found == digest
    assert int(grown) < 48
    assert list(tmp_path.iterdir()) == []


def test_its_parts_are_fetched_by_range_and_resumed_where_they_break_off(
    large: tuple[Settings, str], proxy: Proxy, hasty: None
) -> None:
    settings, digest = large
    reported: list[tuple[int, int]] = []

    def break_ranges(proxy: Proxy, asked: faults.Asked, answer: faults.Answer) -> faults.Answer:
        if "range" in asked.headers:
            ranges.append(asked.headers["range"])
            if len(ranges) % 2:
                answer.cut_after, answer.cut_hard = len(answer.body) // 2, len(ranges) % 4 == 1
        return answer

    ranges: list[str] = []
    with (
        proxy.misbehave(break_ranges),
        deliver.fetch_snapshot(
            replace(settings, endpoint=proxy.endpoint), lambda *done: reported.append(done)
        ) as delivery,
    ):
        assert hashlib.sha256(delivery.files[0].content).hexdigest() == digest
    begun = {int(number) for number in re.findall(r"bytes=(\d+)-", " ".join(ranges))}
    assert begun.issuperset(range(download.PART, SIZE, download.PART))
    assert len(begun) > SIZE // download.PART
    assert reported[-1] == (SIZE, SIZE)
    assert [done for done, _ in reported] == sorted(done for done, _ in reported)


def test_a_change_under_its_ranges_begins_anew_with_one_version(
    large: tuple[Settings, str], seaweed: Witness, proxy: Proxy, hasty: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "PART", 2**20)
    seaweed.put("shifting/latest.json", b"a" * 8 * 2**20)
    changed: list[str] = []

    def change_once(proxy: Proxy, asked: faults.Asked, answer: faults.Answer) -> faults.Answer:
        if "range" in asked.headers and not changed:
            changed.append(seaweed.put("shifting/latest.json", b"b" * 8 * 2**20))
        return answer

    settings = replace(large[0], endpoint=proxy.endpoint, prefix="shifting/")
    with proxy.misbehave(change_once), deliver.fetch_snapshot(settings) as delivery:
        assert delivery.files[0].content == b"b" * 8 * 2**20
        assert delivery.files[0].etag == changed[0]


def test_no_room_for_it_is_reported_with_the_folder(
    large: tuple[Settings, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    with (
        pytest.raises(errors.SpoolFull, match=f"{temporary_folder()}: No space left on device") as caught,
        deliver.fetch_snapshot(large[0]),
    ):
        pass
    assert caught.value.exit_code == 73
