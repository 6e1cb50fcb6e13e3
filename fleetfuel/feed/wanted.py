"""Which files a run reads: the snapshot, local files, or the change files that no run has read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from fleetfuel.feed import deliver, local, parcel
from fleetfuel.feed.gaps import describe_gaps
from fleetfuel.model.files import Delivery, FilesRead, Reading, version_of
from fleetfuel.model.progress import Progress
from fleetfuel.settings import Settings


@contextmanager
def open_local(
    paths: Sequence[Path], reading: Reading | None, settings: Settings, progress: Progress
) -> Iterator[Delivery]:
    """Local files, read as changes unless they are to be read as a snapshot."""
    read_as = reading or "changes"
    with local.open_files(paths, reading=read_as, timezone=settings.timezone, progress=_fetching(progress)) as found:
        yield found


@contextmanager
def fetch_snapshot(reading: Reading | None, settings: Settings, progress: Progress) -> Iterator[Delivery]:
    """The snapshot of the bucket."""
    with deliver.fetch_snapshot(settings, _fetching(progress)) as delivery:
        yield replace(delivery, reading=reading or "snapshot")


@contextmanager
def fetch_changes(
    watermark: datetime | None,
    read: FilesRead,
    reseed: datetime | None,
    settings: Settings,
    progress: Progress,
) -> Iterator[Delivery]:
    """The change files that no run has read: those since the watermark, and late and overwritten ones since
    `lookback_hours` before it. With `reseed`, all since that instant, read or not."""
    since = reseed or (watermark - timedelta(hours=settings.lookback_hours) if watermark else None)
    listing = deliver.list_changes(settings, since, read.unread)
    wanted = [
        file
        for file in listing.files
        if (file.at >= reseed if reseed else version_of(file.key, file.etag, file.modified_at) not in read.versions)
    ]
    times = [file.at for file in wanted] + ([watermark] if watermark else [])
    notices = (*listing.notices, *describe_gaps(_from(watermark, times)))
    with deliver.fetch_changes(settings, wanted, _fetching(progress), read.unread) as delivery:
        yield replace(delivery, notices=(*notices, *delivery.notices))


def _from(watermark: datetime | None, times: list[datetime]) -> list[datetime]:
    """Times from the watermark on: earlier gaps were reported when they were new."""
    return [at for at in times if watermark is None or at >= watermark]


def _fetching(progress: Progress) -> parcel.Progress:
    return lambda done, total: progress("fetch", done, total)
