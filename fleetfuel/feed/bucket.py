"""The bucket over S3: connect, list a prefix, look at an object. Of a store's answers only what is proven is
trusted."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from fleetfuel import errors
from fleetfuel.feed import answers, client
from fleetfuel.settings import Settings

PAGE = 1000
"""Keys asked for in one page: the most that S3 gives."""
FRUITLESS_PAGES = 100
"""At most so many pages in a row without a new key are followed: deleted versions can fill such pages."""
VERSIONS = 3
"""How often a download is begun if the object changes meanwhile or arrives damaged, and how often a request is sent if
the answer cannot be understood."""
PAUSE_SECONDS = 0.1
"""Pause before the first repetition; it doubles each time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """One object, as a listing or a HEAD request describes it."""

    key: str
    etag: str
    """Without quotes; empty if the store gives none."""
    size: int
    modified_at: datetime


class DamagedObject(Exception):
    """One object cannot be fetched whole; the message says why. The rest of the bucket may be fine."""


class Changed(Exception):
    """The object is another version than the one whose download began."""


class Bucket:
    """A connection to the bucket the settings name. Safe to use from several threads."""

    def __init__(self, opened: Any, settings: Settings) -> None:
        self._client = opened
        self._settings = settings
        self.stopped = threading.Event()
        """Set to make downloads in other threads give up soon."""

    # --- listing

    def list_objects(self, prefix: str) -> list[StoredObject]:
        """Every object under `prefix` that the store lists, each once, sorted by key in byte order.

        Pages follow by token if the store gives one, else by the last key. A page that claims to be the last is
        believed only if nothing follows its last key. Raises `BucketUnavailable` if the store announces more and does
        not send it.
        """
        found: dict[str, StoredObject] = {}
        tokens: set[str] = set()
        last, token, is_check, fruitless = "", "", False, 0
        while True:
            page = self._page(prefix, token, last)
            contents = page.get("Contents") or []
            before = len(found)
            for entry in contents:
                if entry["Key"].startswith(prefix):
                    found.setdefault(entry["Key"], stored(entry))
            brought_new = len(found) > before
            fruitless = 0 if brought_new else fruitless + 1
            if contents:
                last = contents[-1]["Key"]
            claims_more = bool(page.get("IsTruncated"))
            next_token = page.get("NextContinuationToken") or ""
            if claims_more and next_token and next_token not in tokens and fruitless <= FRUITLESS_PAGES:
                tokens.add(next_token)
                token, is_check = next_token, False
                continue
            if not brought_new and (is_check or not last) and not claims_more:
                return sorted(found.values(), key=lambda each: each.key.encode(errors="surrogatepass"))
            if not brought_new and is_check:
                raise errors.BucketUnavailable(
                    reason=f"its listing of {prefix!r} says that more follows {last!r} and does not bring it",
                    endpoint=self._settings.endpoint,
                    bucket=self._settings.bucket,
                )
            token, is_check = "", True

    def _page(self, prefix: str, token: str, last: str) -> dict[str, Any]:
        where: dict[str, str] = {}
        if token:
            where["ContinuationToken"] = token
        elif last:
            where["StartAfter"] = last
        name = self.name(prefix)
        page = self.ask("list_objects_v2", name, Prefix=prefix, MaxKeys=PAGE, **where)
        if not all(entry.get("Key") for entry in page.get("Contents") or []):
            raise answers.translate(client.NoAnswer("an object without a key"), self._settings, name)
        return page

    # --- the store

    def clock(self) -> datetime | None:
        """The store's clock, from an answer about the bucket; None if it gives none. Raises `SourceNotFound`."""
        answer = self.ask("head_bucket", f"s3://{self._settings.bucket}")
        try:
            return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
        except (KeyError, ValueError, TypeError):
            return None

    def bucket_names(self) -> list[str]:
        """The buckets these keys may see; none if they may not ask."""
        import botocore.exceptions

        try:
            return [each["Name"] for each in self._client.list_buckets()["Buckets"]]
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError, KeyError):
            return []

    # --- one object

    def look(self, key: str) -> StoredObject:
        """Size, ETag and time of an object, without fetching it. Raises `SourceNotFound`."""
        return stored({"Key": key, **self.ask("head_object", self.name(key), Key=key)})

    # --- asking

    def ask(self, operation: str, name: str, **parameters: Any) -> dict[str, Any]:
        """One request, with botocore's own retries. If the answer is no S3 answer, it is sent again.

        Foreign bytes can make botocore's parser raise almost any exception: each counts as the store's fault.
        """
        import botocore.exceptions

        failure: Exception = client.NoAnswer(name)
        for attempt in range(VERSIONS):
            self.pause(attempt)
            try:
                answer: dict[str, Any] = getattr(self._client, operation)(Bucket=self._settings.bucket, **parameters)
                if "Key" in parameters and not ("ETag" in answer or "LastModified" in answer):
                    break
                return answer
            except DamagedObject:
                raise
            except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
                if answers.status(error) == 412:
                    raise Changed from None
                raise answers.translate(error, self._settings, name) from None
            except Exception as error:
                if answers.is_ours(error):
                    raise answers.translate(error, self._settings, name) from None
                failure = error
        raise answers.translate(failure, self._settings, name) from None

    def ask_no_more(self, **_: Any) -> None:
        """Keep botocore from repeating requests in threads that have to stop."""
        if self.stopped.is_set():
            raise DamagedObject("the download was given up")

    def name(self, key: str) -> str:
        """The object as a person would write it."""
        return f"s3://{self._settings.bucket}/{key}"

    def pause(self, attempt: int) -> None:
        """Wait before repetition number `attempt`; not before the first try."""
        if attempt:
            self.stopped.wait(PAUSE_SECONDS * 2 ** (attempt - 1))


@contextmanager
def open_bucket(settings: Settings, *, connections: int = 16) -> Iterator[Bucket]:
    """A connection to the bucket; no request is sent yet. Raises `MissingSetting` for the first setting that is not
    there, and `ConfigurationError`."""
    with client.open_client(settings, connections=connections) as opened:
        store = Bucket(opened, settings)
        opened.meta.events.register("before-send.s3", store.ask_no_more)
        yield store


def stored(entry: dict[str, Any]) -> StoredObject:
    """An object, from an entry of a listing or from an answer with `Key` added."""
    return StoredObject(
        key=entry["Key"],
        etag=(entry.get("ETag") or "").removeprefix("W/").strip('"'),
        size=int(entry["Size"] if "Size" in entry else entry.get("ContentLength") or 0),
        modified_at=_utc(entry.get("LastModified")),
    )


def _utc(moment: datetime | None) -> datetime:
    if moment is None:
        return datetime.fromtimestamp(0, UTC)
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
