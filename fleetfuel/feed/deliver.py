"""The bucket → `Delivery`: the snapshot, or the change files. Bytes only: no row is parsed here."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from datetime import datetime

from fleetfuel import errors
from fleetfuel.feed import bucket
from fleetfuel.feed.bucket import DamagedObject
from fleetfuel.feed.download import download
from fleetfuel.feed.keys import CHANGES, SNAPSHOT, parse_instant
from fleetfuel.feed.parcel import Fetched, Meter, Progress, delivered, open_spool
from fleetfuel.feed.spool import Spool, Undecodable, hash_spooled, inflate
from fleetfuel.model.files import ChangeListing, Delivery, Listed, UnreadableFile
from fleetfuel.settings import Settings

FILES_AT_ONCE = 16
"""Change files fetched at the same time."""
RANGES_AT_ONCE = 6
"""Parts of a large snapshot fetched at the same time."""


def look_at_snapshot(settings: Settings) -> Listed:
    """The snapshot's key, ETag, size and age, without fetching it. Raises `SourceNotFound`."""
    with bucket.open_bucket(settings) as store:
        return _listed(store.look(settings.prefix + SNAPSHOT), settings)


@contextmanager
def fetch_snapshot(settings: Settings, progress: Progress | None = None) -> Iterator[Delivery]:
    """`<prefix>latest.json`, whole and of one version; its bytes are readable inside the `with` block.

    Raises `SourceNotFound`, `BadInput` if it cannot be fetched whole or its gzip is bad, and the bucket's errors.
    """
    key = settings.prefix + SNAPSHOT
    with open_spool() as spool, bucket.open_bucket(settings) as store:
        meter = Meter(progress)
        try:
            body = download(store, key, spool, threads=RANGES_AT_ONCE, moved=meter.moved)
            placed = inflate(spool, body.offset, body.size, body.encoding)
        except (DamagedObject, Undecodable) as error:
            raise errors.BadInput(key=key, reason=f"{error}.") from None
        etag = body.etag or hash_spooled(spool, body.offset, body.size)
        file = Fetched(key, etag, body.modified_at, parse_instant(key, settings.timezone), *placed)
        with delivered(spool, [file]) as files:
            yield Delivery(reading="snapshot", source=_address(settings, key), files=files, notices=body.notices)


def list_changes(settings: Settings, since: datetime | None = None, also: Collection[str] = ()) -> ChangeListing:
    """Every change file that the bucket lists; or, with `since`, those whose time or LastModified is not before it, and
    those whose key is in `also`.

    An overwritten or late file was written after `since` whatever its name says, so it is among them. A file that the
    listing lacks may still exist.
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
        if since and listed.at < since and listed.modified_at < since and listed.key not in also:
            continue
        if listed.key_at is None and not re.search(r"\.(json|gz)$", listed.key, re.IGNORECASE):
            notices.append(f"{listed.key} is left alone: its name has neither a time nor .json")
            continue
        if listed.key_at is None:
            notices.append(
                f"{listed.key} names no instant: it stands at its LastModified, {listed.modified_at:%Y-%m-%d %H:%M:%SZ}"
            )
        files.append(listed)
    return ChangeListing(files=tuple(sorted(files, key=lambda each: (each.at, each.key))), notices=tuple(notices))


@contextmanager
def fetch_changes(
    settings: Settings,
    wanted: Sequence[Listed],
    progress: Progress | None = None,
    unread: frozenset[str] = frozenset(),
) -> Iterator[Delivery]:
    """These change files, fetched in parallel, in time order; their bytes are readable inside the `with` block.

    A file that cannot be fetched is reported in `Delivery.unreadable`, and the others are fetched all the same. If the
    store cannot be reached, or refuses every file, the bucket's error is raised; but if it refused all these files
    before, too (`unread`, by key), the fault is theirs, and they are reported. A file overwritten since it was listed
    comes as it is now, with the ETag that it has now.
    """
    order = sorted(wanted, key=lambda each: (each.at, each.key))
    meter = Meter(progress, total=sum(each.size for each in order))
    with open_spool() as spool, bucket.open_bucket(settings, connections=FILES_AT_ONCE) as store:
        outcomes = _fetch_all(store, spool, order, meter)
        fetched = [each[0] for each in outcomes if isinstance(each, tuple)]
        refusals = [each for each in outcomes if isinstance(each, errors.FleetfuelError)]
        if refusals and len(refusals) == len(order) and any(each.key not in unread for each in order):
            raise refusals[0]
        unreadable = [
            _unreadable(listed, outcome)
            for listed, outcome in zip(order, outcomes, strict=True)
            if isinstance(outcome, Exception)
        ]
        notices = [notice for each in outcomes if isinstance(each, tuple) for notice in each[1]]
        with delivered(spool, fetched) as files:
            yield Delivery(
                reading="changes",
                source=_address(settings, settings.prefix + CHANGES),
                files=files,
                unreadable=tuple(unreadable),
                notices=tuple(notices),
            )


_Outcome = tuple["Fetched", tuple[str, ...]] | DamagedObject | Undecodable | errors.FleetfuelError


def _fetch_all(store: bucket.Bucket, spool: Spool, order: Sequence[Listed], meter: Meter) -> list[_Outcome]:
    """One outcome a file, in the order asked for. Raises at once an error that every file would meet."""
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


def _fetch(store: bucket.Bucket, spool: Spool, listed: Listed, meter: Meter) -> _Outcome:
    version = bucket.StoredObject(key=listed.key, etag=listed.etag, size=listed.size, modified_at=listed.modified_at)
    try:
        body = download(store, listed.key, spool, listed=version, moved=meter.moved)
        offset, size = inflate(spool, body.offset, body.size, body.encoding)
    except errors.BucketUnavailable as error:
        if error.facts.get("is_unreachable"):
            raise
        return error
    except (DamagedObject, Undecodable, errors.PermissionDenied) as error:
        return error
    etag = body.etag or listed.etag
    return Fetched(listed.key, etag, body.modified_at, listed.key_at, offset, size), body.notices


def _unreadable(listed: Listed, error: Exception) -> UnreadableFile:
    reason = str(error.facts["reason"] if isinstance(error, errors.FleetfuelError) else error)
    return UnreadableFile(
        key=listed.key,
        etag=listed.etag,
        at=listed.at,
        modified_at=listed.modified_at,
        reason=reason,
        is_lasting=isinstance(error, Undecodable),
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
