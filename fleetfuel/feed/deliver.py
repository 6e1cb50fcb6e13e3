"""READER 1: the bucket or local files → `Delivery`. Bytes only: no row is parsed here."""

from __future__ import annotations

import mmap
import os
import re
import stat
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from pathlib import Path
from urllib.parse import unquote

from fleetfuel import errors
from fleetfuel.feed import bucket
from fleetfuel.model import ChangeListing, Delivery, Listed, Reading, SourceFile, UnreadableFile
from fleetfuel.settings import Settings

SNAPSHOT = "latest.json"
CHANGES = "changes/"

FILES_AT_ONCE = 16
"""Change files fetched at the same time."""
RANGES_AT_ONCE = 6
"""Parts of a large snapshot fetched at the same time."""

MAPPED_FROM = 64 * 2**20
"""Local files above this are mapped where they lie, smaller ones are copied to the spool: cutting a mapped
file short kills the process (SIGBUS), and copying a large one to avoid that costs too much."""

INFLATED_MAX = 4 * 2**30
INFLATED_FREE = 64 * 2**20
INFLATED_RATIO = 200
"""A gzip body may grow to 64 MiB whatever it came from, beyond that to 200 times its size, and never above 4 GiB: JSON
rows shrink 5 to 30 times, a bomb about 1,000 times."""

Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in all; from several threads, one at a time."""


class _Undecodable(Exception):
    """The bytes are there and cannot be made into a file; the message says why."""


# --- the bucket ---------------------------------------------------------------------------------------------------


def look_at_snapshot(settings: Settings) -> Listed:
    """The snapshot's key, ETag, size and age, without fetching it. Raises `SourceNotFound`."""
    with bucket.open_bucket(settings) as store:
        return _listed(store.look(settings.prefix + SNAPSHOT), settings)


@contextmanager
def fetch_snapshot(settings: Settings, progress: Progress | None = None) -> Iterator[Delivery]:
    """`<prefix>latest.json`, whole and of one version; its bytes are readable inside the `with` block.

    Raises `SourceNotFound`, `BadInput` where it cannot be had whole or its gzip is bad, and the bucket's errors.
    """
    key = settings.prefix + SNAPSHOT
    with _spool() as spool, bucket.open_bucket(settings) as store:
        meter = _Meter(progress)
        try:
            body = store.download(key, spool, threads=RANGES_AT_ONCE, moved=meter.moved)
            placed = _inflate(spool, body.offset, body.size, body.encoding)
        except (bucket.DamagedObject, _Undecodable) as error:
            raise errors.BadInput(key=key, reason=f"{error}.") from None
        etag = body.etag or _hash(spool, body.offset, body.size)
        file = _Fetched(key, etag, body.modified_at, parse_instant(key, settings.timezone), *placed)
        with _delivered(spool, [file]) as files:
            yield Delivery(reading="snapshot", source=_address(settings, key), files=files, notices=body.notices)


def list_changes(settings: Settings, since: datetime | None = None) -> ChangeListing:
    """Every change file the bucket admits to, or those that stand at or were written since an instant.

    An overwritten or late file was written after `since` whatever its name says, so it is among them. What the listing
    lacks may exist all the same: it proves nothing gone.
    """
    prefix = settings.prefix + CHANGES
    files: list[Listed] = []
    notices: list[str] = []
    with bucket.open_bucket(settings) as store:
        stored = store.list_objects(prefix)
    for each in stored:
        if each.key.endswith("/"):
            continue
        listed = _listed(each, settings)
        if since and listed.at < since and listed.modified_at < since:
            continue
        if listed.key_at is None and not re.search(r"\.(json|gz)$", listed.key, re.IGNORECASE):
            notices.append(f"{listed.key} is left alone: its name has neither a time nor .json")
            continue
        if listed.key_at is None:
            notices.append(
                f"{listed.key} names no instant: it stands at its LastModified, {listed.modified_at:%Y-%m-%dT%H:%M:%SZ}"
            )
        files.append(listed)
    return ChangeListing(files=tuple(sorted(files, key=lambda each: (each.at, each.key))), notices=tuple(notices))


@contextmanager
def fetch_changes(settings: Settings, wanted: Sequence[Listed], progress: Progress | None = None) -> Iterator[Delivery]:
    """These change files, fetched in parallel, in time order; their bytes are readable inside the `with` block.

    A file that cannot be had is told in `Delivery.unreadable` and costs the others nothing; a store that cannot be
    reached, or that refuses every file, raises the bucket's errors. A file overwritten since it was listed comes as it
    now is, with the ETag it now has.
    """
    order = sorted(wanted, key=lambda each: (each.at, each.key))
    meter = _Meter(progress, total=sum(each.size for each in order))
    with _spool() as spool, bucket.open_bucket(settings, connections=FILES_AT_ONCE) as store:
        outcomes = _fetch_all(store, spool, order, meter)
        fetched = [each[0] for each in outcomes if isinstance(each, tuple)]
        refusals = [each for each in outcomes if isinstance(each, errors.FleetfuelError)]
        if refusals and len(refusals) == len(order):
            raise refusals[0]
        unreadable = [
            _unreadable(listed, outcome)
            for listed, outcome in zip(order, outcomes, strict=True)
            if isinstance(outcome, Exception)
        ]
        notices = [notice for each in outcomes if isinstance(each, tuple) for notice in each[1]]
        with _delivered(spool, fetched) as files:
            yield Delivery(
                reading="changes",
                source=_address(settings, settings.prefix + CHANGES),
                files=files,
                unreadable=tuple(unreadable),
                notices=tuple(notices),
            )


_Outcome = tuple["_Fetched", tuple[str, ...]] | bucket.DamagedObject | _Undecodable | errors.FleetfuelError


def _fetch_all(store: bucket.Bucket, spool: bucket.Spool, order: Sequence[Listed], meter: _Meter) -> list[_Outcome]:
    """One outcome a file, in the order asked for. Raises at once what would befall every file alike."""
    with ThreadPoolExecutor(FILES_AT_ONCE, "fleetfuel-fetch") as pool:
        futures: list[Future[_Outcome]] = [pool.submit(_fetch, store, spool, each, meter) for each in order]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
            for future in futures:
                if future.done() and (error := future.exception()):
                    raise error
        except BaseException:
            store.stopped.set()
            pool.shutdown(cancel_futures=True)
            raise
    return [future.result() for future in futures]


def _fetch(store: bucket.Bucket, spool: bucket.Spool, listed: Listed, meter: _Meter) -> _Outcome:
    version = bucket.StoredObject(key=listed.key, etag=listed.etag, size=listed.size, modified_at=listed.modified_at)
    try:
        body = store.download(listed.key, spool, listed=version, moved=meter.moved)
        offset, size = _inflate(spool, body.offset, body.size, body.encoding)
    except errors.BucketUnavailable as error:
        if error.facts.get("is_unreachable"):
            raise
        return error
    except (bucket.DamagedObject, _Undecodable, errors.PermissionDenied) as error:
        return error
    etag = body.etag or listed.etag
    return _Fetched(listed.key, etag, body.modified_at, listed.key_at, offset, size), body.notices


def _unreadable(listed: Listed, error: Exception) -> UnreadableFile:
    reason = str(error.facts["reason"] if isinstance(error, errors.FleetfuelError) else error)
    return UnreadableFile(
        key=listed.key, etag=listed.etag, at=listed.at, reason=reason, is_lasting=isinstance(error, _Undecodable)
    )


def _listed(stored: bucket.StoredObject, settings: Settings) -> Listed:
    return Listed(
        key=stored.key,
        etag=stored.etag or f"size-{stored.size}-modified-{stored.modified_at:%Y%m%dT%H%M%S}",
        size=stored.size,
        modified_at=stored.modified_at,
        key_at=parse_instant(stored.key, settings.timezone),
    )


def _address(settings: Settings, key: str) -> str:
    return f"s3://{settings.bucket}/{key}"


# --- local files --------------------------------------------------------------------------------------------------


@contextmanager
def open_files(
    paths: Sequence[Path], *, reading: Reading, timezone: tzinfo, progress: Progress | None = None
) -> Iterator[Delivery]:
    """Local files in time order (the instant in the name, else mtime); their bytes are readable inside the block.

    Small files are copied to the spool, those above `MAPPED_FROM` are mapped where they lie; gzip is inflated.
    Raises `SourceNotFound`, `PermissionDenied`, and in a snapshot `BadInput` for bad gzip, which in changes is told as
    unreadable.
    """
    fetched: list[_Fetched] = []
    unreadable: list[UnreadableFile] = []
    meter = _Meter(progress)
    with _spool() as spool, ExitStack() as maps:
        for path in paths:
            key = os.fsencode(path).decode(errors="backslashreplace")
            key_at = parse_instant(path.name, timezone)
            with _open(path, key) as source:
                modified_at = datetime.fromtimestamp(os.fstat(source).st_mtime, UTC)
                mapped, offset, size = _take_in(source, spool, maps)
                meter.moved(size, size)
                etag = _hash(spool, offset, size) if mapped is None else _hash_view(mapped)
            file = _Fetched(key, etag, modified_at, key_at, offset, size, mapped)
            if mapped is None:
                try:
                    file.offset, file.size = _inflate(spool, offset, size, "")
                except _Undecodable as error:
                    if reading == "snapshot":
                        raise errors.BadInput(key=key, reason=f"{error}.") from None
                    unreadable.append(
                        UnreadableFile(key=key, etag=etag, at=key_at or modified_at, reason=str(error), is_lasting=True)
                    )
                    continue
            fetched.append(file)
        fetched.sort(key=lambda each: (each.key_at or each.modified_at, each.key))
        unreadable.sort(key=lambda each: (each.at, each.key))
        source_name = fetched[0].key if len(paths) == 1 and fetched else f"{len(paths)} local files"
        with _delivered(spool, fetched) as files:
            yield Delivery(reading=reading, source=source_name, files=files, unreadable=tuple(unreadable))


@contextmanager
def _open(path: Path, key: str) -> Iterator[int]:
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except PermissionError as error:
        raise errors.PermissionDenied(
            what=f"Reading {key}", reason=error.strerror, next_step="Give this user the right to read it."
        ) from None
    except OSError as error:
        raise errors.SourceNotFound(
            what=f"The file {key}", where=error.strerror, next_step="Check the path given to --file."
        ) from None
    try:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise errors.SourceNotFound(
                what=f"The file {key}",
                where="it is a folder",
                next_step=f"Name the files in it: --file {key.rstrip('/')}/*.json",
            )
        yield descriptor
    except OSError as error:
        raise errors.BadInput(key=key, reason=f"{error.strerror or error}.") from None
    finally:
        os.close(descriptor)


def _take_in(source: int, spool: bucket.Spool, maps: ExitStack) -> tuple[memoryview | None, int, int]:
    """The file as a map of its own, or its place in the spool."""
    status = os.fstat(source)
    if stat.S_ISREG(status.st_mode) and status.st_size > MAPPED_FROM and os.pread(source, 2, 0) != GZIP:
        mapped = mmap.mmap(source, status.st_size, access=mmap.ACCESS_READ)
        maps.callback(_close_map, mapped)
        return memoryview(mapped), 0, status.st_size
    offset, size = spool.reserve(0), 0
    while piece := os.read(source, bucket.MEBIBYTE):
        spool.write(spool.reserve(len(piece)), piece)
        size += len(piece)
    return None, offset, size


def _close_map(mapped: mmap.mmap) -> None:
    with suppress(BufferError):
        mapped.close()


# --- bytes --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Fetched:
    """A file whose bytes lie in the spool, or in a map of its own."""

    key: str
    etag: str
    modified_at: datetime
    key_at: datetime | None
    offset: int
    size: int
    mapped: memoryview | None = None


@contextmanager
def _spool() -> Iterator[bucket.Spool]:
    spool = bucket.Spool()
    try:
        yield spool
    finally:
        spool.close()


@contextmanager
def _delivered(spool: bucket.Spool, fetched: Sequence[_Fetched]) -> Iterator[tuple[SourceFile, ...]]:
    with spool.view() as view:
        files = tuple(
            SourceFile(
                key=each.key,
                etag=each.etag,
                size=each.size,
                modified_at=each.modified_at,
                key_at=each.key_at,
                content=view[each.offset : each.offset + each.size] if each.mapped is None else each.mapped,
            )
            for each in fetched
        )
        yield files


class _Meter:
    """Adds up what arrives and tells it."""

    def __init__(self, progress: Progress | None, total: int | None = None) -> None:
        self._progress = progress
        self._total = total
        self._done = 0
        self._lock = threading.Lock()

    def moved(self, count: int, size: int) -> None:
        if self._progress is None:
            return
        with self._lock:
            self._done = max(0, self._done + count)
            total = size if self._total is None else self._total
            self._progress(min(self._done, total), total)


GZIP = b"\x1f\x8b"
PLAIN_ENCODINGS = {"", "identity", "aws-chunked", "gzip", "x-gzip", "utf-8"}


def _inflate(spool: bucket.Spool, offset: int, size: int, encoding: str) -> tuple[int, int]:
    """Where the file itself lies in the spool: as it came, or inflated behind what is there.

    The bytes decide, not the header: JSON never begins like gzip, and a header may outlive a proxy that inflated the
    body. The stream is read twice, to measure and to write, so that its place in the spool is of one piece.
    """
    unknown = {each.strip() for each in encoding.split(",")} - PLAIN_ENCODINGS
    if unknown:
        raise _Undecodable(f"it is encoded as {', '.join(sorted(unknown))}; gzip is understood")
    if spool.read(offset, min(2, size)) != GZIP:
        return offset, size
    inflated = sum(len(piece) for piece in _inflated_pieces(spool, offset, size))
    start = position = spool.reserve(inflated)
    for piece in _inflated_pieces(spool, offset, size):
        spool.write(position, piece)
        position += len(piece)
    return start, inflated


def _inflated_pieces(spool: bucket.Spool, offset: int, size: int) -> Iterator[bytes]:
    """The gzip members one after the other. Raises `_Undecodable`."""
    limit = min(INFLATED_MAX, max(INFLATED_FREE, INFLATED_RATIO * size))
    inflated = 0
    member = zlib.decompressobj(wbits=31)
    try:
        for piece in spool.pieces(offset, size):
            rest = piece
            while rest:
                if member.eof:
                    rest = rest.lstrip(b"\0")
                    if not rest:
                        break
                    member = zlib.decompressobj(wbits=31)
                data = member.decompress(rest, bucket.MEBIBYTE)
                inflated += len(data)
                if inflated > limit:
                    raise _Undecodable(f"its gzip inflates {size:,} bytes to more than {limit:,}")
                yield data
                rest = member.unconsumed_tail or member.unused_data
        while not member.eof and (data := member.flush(bucket.MEBIBYTE)):
            inflated += len(data)
            if inflated > limit:
                raise _Undecodable(f"its gzip inflates {size:,} bytes to more than {limit:,}")
            yield data
    except zlib.error as error:
        raise _Undecodable(f"its gzip is damaged ({error})") from None
    if not member.eof:
        raise _Undecodable("its gzip is cut off")


def _hash(spool: bucket.Spool, offset: int, size: int) -> str:
    import xxhash

    digest = xxhash.xxh3_128()
    for piece in spool.pieces(offset, size):
        digest.update(piece)
    return f"xxh3-{digest.hexdigest()}"


def _hash_view(content: memoryview) -> str:
    import xxhash

    return f"xxh3-{xxhash.xxh3_128(content).hexdigest()}"


# --- the instant in a key -----------------------------------------------------------------------------------------


_STAMP = re.compile(
    r"""
    (?<![0-9])
    (?P<year>2[01][0-9]{2}) (?P<dash>-?) (?P<month>[0-9]{2}) (?P=dash) (?P<day>[0-9]{2})
    (?P<mark>[Tt_\ -]?)
    (?P<hour>[0-9]{2}) (?P<colon>[-:_.]?) (?P<minute>[0-9]{2})
    (?: (?P=colon) (?P<second>[0-9]{2}) (?: [.,](?P<fraction>[0-9]{1,9}) | -(?P<thousandths>[0-9]{3}) )?+ )?+
    (?P<zone> [Zz] | [ _-]?(?:UTC|GMT|EAT) | \+[0-9]{2}(?:[:-]?[0-9]{2})? | -[0-9]{2}:[0-9]{2} )?+
    (?P<rest> .* )
    """,
    re.VERBOSE | re.DOTALL,
)
_EXTENSIONS = re.compile(r"(?:\.(?:json|ndjson|jsonl|txt|gz))+$", re.IGNORECASE)
_NAMED_ZONES = {"Z": 0, "UTC": 0, "GMT": 0, "EAT": 3}
_DAY_FOLDER = re.compile(r"(?:^|/)(2[01][0-9]{2})[-/]([0-9]{2})[-/]([0-9]{2})/$")


def parse_instant(key: str, zone: tzinfo) -> datetime | None:
    """The instant a key's name holds, UTC; None where it holds none, two, or one that can be read in two ways.

    Read: date and time, with `T`, `_`, `-` or a space between, `:` or `-` inside, with or without seconds and
    fractions, with `Z`, `UTC`, `EAT` or an offset, else in `zone`; `20260611T202433Z`; a folder for the day
    (`2026/06/11/20-24.json`); a word before or behind. Not read: a date alone (midnight would place the file before all
    others of its day), `-0300` (an offset or a number?), a span of two, times that a change of clocks repeats or skips.
    """
    folder, _, name = unquote(key).rpartition("/")
    name = _EXTENSIONS.sub("", name)
    if re.match(r"[0-9]{2}[-:_][0-9]{2}(?![0-9])", name) and (folder_day := _DAY_FOLDER.search(f"{folder}/")):
        name = f"{'-'.join(folder_day.groups())}T{name}"
    match = _STAMP.search(name)
    if match is None or not _is_plain(match) or not _is_idle(name[: match.start()], match["rest"]):
        return None
    fraction = (match["fraction"] or match["thousandths"] or "").ljust(6, "0")[:6]
    year, month, day, hour, minute = (int(match[part]) for part in ("year", "month", "day", "hour", "minute"))
    try:
        written = _written_zone(match["zone"]) or zone
        here = datetime(year, month, day, hour, minute, int(match["second"] or 0), int(fraction), written)
        if here.utcoffset() != here.replace(fold=1).utcoffset():
            return None
        return here.astimezone(UTC)
    except ValueError:
        return None


def _is_plain(match: re.Match[str]) -> bool:
    """Digits written together are a time only in a stamp that is written so throughout, or behind a T."""
    if not match["mark"]:
        return not match["dash"] and not match["colon"] and match["second"] is not None
    if match["mark"] not in "Tt" and not match["colon"]:
        return not match["dash"] and match["second"] is not None
    return True


def _is_idle(before: str, behind: str) -> bool:
    """Whether the text around a stamp says nothing of time: no second date, no half of a day, no stray number."""
    if re.search(r"[0-9]{4}-?[0-9]{2}-?[0-9]{2}", before):
        return False
    word = re.fullmatch(r"[-_. ]+([a-z]{3,})(?:[-_. ]?[a-z0-9]{1,3}|[-_. ][a-z]+)*", behind)
    return not behind or bool(word) or bool(re.fullmatch(r"[-_. ]?\([0-9]{1,3}\)", behind))


def _written_zone(written: str | None) -> tzinfo | None:
    """The zone as a stamp ends with it. Raises ValueError."""
    if not written:
        return None
    if (name := written.lstrip(" _-").upper()) in _NAMED_ZONES:
        return timezone(timedelta(hours=_NAMED_ZONES[name]))
    digits = re.sub(r"[^0-9]", "", written).ljust(4, "0")
    hours, minutes = int(digits[:2]), int(digits[2:])
    if hours > 14 or minutes > 59:
        raise ValueError(written)
    offset = timedelta(hours=hours, minutes=minutes)
    return timezone(-offset if written[0] == "-" else offset)
