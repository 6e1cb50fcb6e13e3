"""One object of the bucket → its bytes in the spool, whole and of one version, proven as far as the store allows."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from fleetfuel import errors
from fleetfuel.feed import answers
from fleetfuel.feed.bucket import VERSIONS, Bucket, Changed, DamagedObject, StoredObject, stored
from fleetfuel.feed.spool import MEBIBYTE, Spool, md5, multipart_md5

PART = 16 * 2**20
"""Bytes of one range request; objects of more than two parts are fetched in parallel."""
CHUNK = 256 * 1024
"""Bytes read from a connection at a time, and held in memory by each thread."""
RESUMPTIONS = 5
"""How often in a row a body that breaks off is resumed if it does not get further by `CHUNK` bytes."""
STALL_SECONDS = 60
STALL_BYTES_PER_SECOND = 512
"""A body that brings less than this over `STALL_SECONDS` is given up and resumed on another connection."""
LARGEST = 64 * 2**30
"""Bytes of the largest object that is fetched: if a store announces more, it must be wrong."""
PART_SIZES = (5, 8, 10, 15, 16, 20, 25, 32, 50, 64, 100, 128, 256, 500, 512, 1000, 1024)
"""Part sizes that uploaders use, in MiB or MB. A multipart ETag does not name its part size: these are tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """One object's bytes in the spool, proven as far as the store allows."""

    etag: str
    """Of the version that was fetched; empty if the store gives none."""
    size: int
    modified_at: datetime
    encoding: str
    """Content-Encoding, lower case; mostly empty."""
    offset: int
    """Where in the spool the bytes begin."""
    notices: tuple[str, ...]


class _Damaged(Exception):
    """What arrived is not what the store announced."""


class _RangesIgnored(Exception):
    """The store answers a range request with the whole object."""


class _Transfer:
    """One version of one object on its way into the spool."""

    def __init__(self, version: StoredObject, spool: Spool, moved: Callable[[int, int], None] | None) -> None:
        self.version = version
        self.spool = spool
        self.offset = spool.reserve(version.size)
        self.is_whole = False
        """All of it is in the spool."""
        self.stopped = threading.Event()
        self._moved = moved
        self._arrived = 0
        self._lock = threading.Lock()

    def write(self, position: int, data: bytes) -> None:
        self.spool.write(self.offset + position, data)
        self._report(len(data))

    def take_back(self) -> None:
        """What arrived does not count: it has to come again."""
        self._report(-self._arrived)

    def _report(self, count: int) -> None:
        with self._lock:
            self._arrived += count
            if self._moved:
                self._moved(count, self.version.size)


def download(
    store: Bucket,
    key: str,
    spool: Spool,
    *,
    listed: StoredObject | None = None,
    threads: int = 1,
    moved: Callable[[int, int], None] | None = None,
) -> Download:
    """The object's bytes, whole and of one version, in the spool.

    Length and ETag are checked; a body that breaks off is resumed; if the object changes meanwhile, the download begins
    anew. `moved(bytes, total)` is called for every piece that arrives, from any thread; bytes that have to come again
    are first reported as a negative number. Raises `DamagedObject` if the object cannot be fetched whole, and the
    bucket's errors.
    """
    is_listed = listed is not None
    why = digest_before = ""
    for attempt in range(VERSIONS):
        store.pause(attempt)
        try:
            response = _get(store, key, is_listed=is_listed)
            version = stored({"Key": key, **response})
            if response.get("ContentLength") is None:
                transfer = _take_unmeasured(store, version, response, spool, moved)
            else:
                transfer = _Transfer(version, spool, moved)
            try:
                _transfer(store, transfer, response, listed, threads)
                digest = _disproof(store, transfer, response)
            except BaseException:
                transfer.take_back()
                raise
        except _RangesIgnored:
            threads, why = 1, "its body breaks off, and the store ignores the range that would resume it"
        except Changed:
            listed, why = None, f"it changed while it was read, {VERSIONS} times"
        except _Damaged as damage:
            why = str(damage)
        else:
            version = transfer.version
            if digest and digest != digest_before:
                transfer.take_back()
                digest_before = digest
                why = f"its bytes do not match its ETag {version.etag}, and differ from one download to the next"
                continue
            return Download(
                etag=version.etag,
                size=version.size,
                modified_at=version.modified_at,
                encoding=(response.get("ContentEncoding") or "").strip().lower(),
                offset=transfer.offset,
                notices=(f"{key}: its ETag, {version.etag}, is not the MD5 of its bytes",) if digest else (),
            )
    raise DamagedObject(why)


def _transfer(
    store: Bucket, transfer: _Transfer, response: dict[str, Any], listed: StoredObject | None, threads: int
) -> None:
    """The body of the whole object into the spool: in one piece, or its beginning and, at the same time, the ranges
    after it."""
    size, version = transfer.version.size, transfer.version
    if listed and listed.etag == version.etag and listed.size != size:
        response["Body"].close()
        raise _Damaged(f"its body has {size:,} bytes but the listing says {listed.size:,}")
    if transfer.is_whole:
        return None
    if size > LARGEST:
        response["Body"].close()
        raise DamagedObject(f"it is announced with {size:,} bytes, and no more than {LARGEST:,} are fetched")
    if threads == 1 or size <= 2 * PART:
        return _fetch(store, transfer, 0, size, response)
    with ThreadPoolExecutor(threads, "fleetfuel-range") as pool:
        futures = [pool.submit(_fetch, store, transfer, 0, PART, response)]
        futures += [
            pool.submit(_fetch, store, transfer, start, min(start + PART, size)) for start in range(PART, size, PART)
        ]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
            for future in futures:
                if future.done():
                    future.result()
        except BaseException:
            transfer.stopped.set()
            pool.shutdown(cancel_futures=True)
            raise


def _take_unmeasured(
    store: Bucket,
    version: StoredObject,
    response: dict[str, Any],
    spool: Spool,
    moved: Callable[[int, int], None] | None,
) -> _Transfer:
    """A body that does not say how long it is, read to its end. Raises `_Damaged` if it breaks off: it cannot be
    resumed."""
    with closing(Spool()) as aside, response["Body"] as stream:
        size = 0
        try:
            for data in _chunks(stream, LARGEST):
                if store.stopped.is_set():
                    raise DamagedObject("the download was given up")
                aside.write(size, data)
                size += len(data)
        except answers.transport_errors():
            raise _Damaged(f"its body, whose length the store does not say, breaks off after {size:,} bytes") from None
        transfer, position = _Transfer(replace(version, size=size), spool, moved), 0
        for piece in aside.pieces(0, size):
            transfer.write(position, piece)
            position += len(piece)
    transfer.is_whole = True
    return transfer


def _fetch(store: Bucket, transfer: _Transfer, start: int, end: int, response: dict[str, Any] | None = None) -> None:
    """Bytes `start` to `end` into the spool, resumed if the body breaks off; `response` begins at `start`."""
    position, resumed_at, failures = start, start, 0
    while True:
        why = "the connection was closed early"
        try:
            if response is None:
                response = _range(store, transfer.version, position, end)
            with response["Body"] as stream:
                for data in _chunks(stream, end - position):
                    if store.stopped.is_set() or transfer.stopped.is_set():
                        raise DamagedObject("the download was given up")
                    transfer.write(position, data)
                    position += len(data)
        except answers.transport_errors() as error:
            why = "it stopped arriving" if answers.is_timeout(error) else "the connection was reset"
        if position >= end:
            return
        failures = 1 if position - resumed_at >= CHUNK else failures + 1
        resumed_at, response = position, None
        if failures > RESUMPTIONS:
            raise DamagedObject(f"its body breaks off after {position:,} of {transfer.version.size:,} bytes ({why})")
        store.pause(failures)


def _get(store: Bucket, key: str, *, is_listed: bool) -> dict[str, Any]:
    """The response with the whole object. An object that is listed may answer 404 for a moment."""
    for attempt in range(1, VERSIONS + 1):
        try:
            return store.ask("get_object", store.name(key), Key=key)
        except errors.SourceNotFound as error:
            if not is_listed or error.facts["what"] != store.name(key):
                raise
            store.pause(attempt)
    raise DamagedObject("it is listed, and asking for it answers 404")


def _range(store: Bucket, version: StoredObject, start: int, end: int) -> dict[str, Any]:
    condition = {"IfMatch": f'"{version.etag}"'} if version.etag else {}
    name = store.name(version.key)
    response = store.ask("get_object", name, Key=version.key, Range=f"bytes={start}-{end - 1}", **condition)
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.get("ContentRange", ""))
    total = match[2] if match else response["ContentLength"]
    try:
        if stored({"Key": version.key, **response, "ContentLength": total}) != version:
            raise Changed
        if int(match[1] if match else 0) != start:
            raise _RangesIgnored
    except BaseException:
        response["Body"].close()
        raise
    return response


def _disproof(store: Bucket, transfer: _Transfer, response: dict[str, Any]) -> str:
    """Empty if the bytes match the ETag, or if the ETag is no hash of them; else the bytes' own digest."""
    version, spool, offset = transfer.version, transfer.spool, transfer.offset
    is_encrypted = "kms" in response.get("ServerSideEncryption", "") or "SSECustomerAlgorithm" in response
    match = re.fullmatch(r"([0-9a-f]{32})(?:-([0-9]+))?", version.etag.lower())
    if is_encrypted or not match:
        return ""
    parts = int(match[2] or 0)
    if not parts:
        digest = md5(spool, offset, version.size)
        return "" if digest == match[1] else digest
    if any(multipart_md5(spool, offset, version.size, each) == match[1] for each in _part_sizes(version.size, parts)):
        return ""
    try:
        part = store.ask("head_object", store.name(version.key), Key=version.key, PartNumber=1)
    except errors.FleetfuelError:
        return ""
    part_size = int(part.get("ContentLength") or 0)
    if part.get("PartsCount") != parts or part_size <= 0 or -(-version.size // part_size) != parts:
        return ""
    digest = multipart_md5(spool, offset, version.size, part_size)
    return "" if digest == match[1] else digest


def _chunks(stream: Any, size: int) -> Iterator[bytes]:
    """At most `size` bytes of the body, as they arrive. Raises TimeoutError if they arrive too slowly."""
    mark, arrived = time.monotonic(), 0
    while size > 0:
        data: bytes = stream.read1(min(CHUNK, size))
        if not data:
            return
        yield data
        size -= len(data)
        arrived += len(data)
        if (now := time.monotonic()) - mark >= STALL_SECONDS:
            if arrived < STALL_SECONDS * STALL_BYTES_PER_SECOND:
                raise TimeoutError
            mark, arrived = now, 0


def _part_sizes(size: int, parts: int) -> list[int]:
    """Part sizes an upload of `parts` parts and `size` bytes is likely to have had."""
    sizes = [each * MEBIBYTE for each in PART_SIZES] + [each * 1_000_000 for each in PART_SIZES]
    return [each for each in sizes if -(-size // each) == parts] or ([size] if parts == 1 else [])
