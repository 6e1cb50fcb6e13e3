"""The files of the feed, listed and fetched. Values only: no work, no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Reading = Literal["snapshot", "changes"]
"""How a file is read: a snapshot is complete, so what it lacks is absent; changes say nothing of what they lack."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SourceFile:
    """One file of the feed, fetched: its bytes stay readable until the delivery is closed."""

    key: str
    """Bucket key, or the path as it was given."""
    etag: str
    """Differs between versions of the same key: the store's ETag, or a hash of a local file's content."""
    size: int
    """Bytes, as parsed (after gzip)."""
    modified_at: datetime
    """LastModified or mtime, UTC."""
    key_at: datetime | None
    """The instant the key's name holds, UTC; None if it holds none."""
    content: memoryview
    """The file's bytes: a view on a memory map."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Delivery:
    """What a reader brought: files in time order, read in one way."""

    reading: Reading
    source: str
    """Where it came from, as a person would write it: `s3://fuel/fuel_records/latest.json`, `last-tuesday.json`."""
    files: tuple[SourceFile, ...]
    """In the order they apply."""
    unreadable: tuple[UnreadableFile, ...] = ()
    """Change files that were wanted and could not be fetched, in the order in which they would apply."""
    notices: tuple[str, ...] = ()
    """What the reader noticed, in sentences."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One object of the bucket, as a listing names it; (`key`, `etag`) is one version of one file."""

    key: str
    etag: str
    """Never empty: made from size and time if the store gives none."""
    size: int
    """Bytes, as stored (before gzip)."""
    modified_at: datetime
    """LastModified, UTC."""
    key_at: datetime | None
    """The instant the key's name holds, UTC; None if it holds none."""

    @property
    def at(self) -> datetime:
        """Where the file stands in time: the key's instant, else LastModified."""
        return self.key_at or self.modified_at


Version = tuple[str, str, datetime]
"""Key, ETag and LastModified, in whole seconds: one version of a file."""


def version_of(key: str, etag: str, modified_at: datetime) -> Version:
    """A version with its time in whole seconds: a store gives fractions of a second in listings only."""
    return key, etag, modified_at.replace(microsecond=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesRead:
    """What runs have read of the change files."""

    versions: frozenset[Version] = frozenset()
    """The version of each file that was read last."""
    unread: frozenset[str] = frozenset()
    """Keys of files that could not be fetched when they were last wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeListing:
    """The change files of the bucket, none of them fetched. A file that the listing lacks may still exist."""

    files: tuple[Listed, ...]
    """Sorted by (`at`, `key`)."""
    notices: tuple[str, ...]
    """What the listing noticed, in sentences: keys without an instant, objects that are no change files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadableFile:
    """One file that was listed or named and could not be fetched."""

    key: str
    etag: str
    at: datetime
    """Where the file stands in time, like `Listed.at`."""
    modified_at: datetime
    """LastModified or mtime, UTC."""
    reason: str
    """Completes the sentence "KEY cannot be read: …", without a full stop."""
    is_lasting: bool
    """True: this version of the file is bad, and fetching it again cannot help. False: the store failed for now."""
