"""The bucket over S3: list a prefix, look at an object, download it. Trusts a store no further than it proves."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import mmap
import os
import re
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fleetfuel import errors
from fleetfuel.settings import Settings, temporary_folder

PART = 16 * 2**20
"""Bytes of one range request; objects of more than two parts are fetched in parallel."""
CHUNK = 256 * 1024
"""Bytes read from a connection at a time: what one thread holds in memory."""
PAGE = 1000
"""Keys asked for in one page: as many as S3 gives."""
FRUITLESS_PAGES = 100
"""Pages without a new key, each with a token for the next, that are followed: deleted versions fill such pages."""
RESUMPTIONS = 5
"""How often a body that broke off is resumed without getting further by at least `CHUNK` bytes."""
VERSIONS = 3
"""How often a download is begun anew when the object changes under it or arrives damaged."""
STALL_SECONDS = 60
STALL_BYTES_PER_SECOND = 512
"""A body that brings less than this over `STALL_SECONDS` is given up and resumed on another connection."""
PAUSE_SECONDS = 0.1
"""Pause before the first repetition; it doubles each time."""
NO_PROFILE = {"profile": (None, None, None, None), "config_file": (None, None, os.devnull, None)}
"""botocore's own settings that this program does not have: a profile in the environment, a file in the home folder."""

MEBIBYTE = 2**20
PART_SIZES = (5, 8, 10, 15, 16, 20, 25, 32, 50, 64, 100, 128, 256, 500, 512, 1000, 1024)
"""Part sizes uploaders use, in MiB or MB: a multipart ETag, which does not name its part size, is proven with them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """One object, as a listing or a look at it tells."""

    key: str
    etag: str
    """Without quotes; empty where the store gives none."""
    size: int
    modified_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """One object's bytes in the spool, proven as far as the store allows."""

    etag: str
    """Of the version that was fetched; empty where the store gives none."""
    size: int
    modified_at: datetime
    encoding: str
    """Content-Encoding, lower case; mostly empty."""
    offset: int
    """Where in the spool the bytes begin."""
    notices: tuple[str, ...]


class DamagedObject(Exception):
    """One object cannot be had whole; the message says why. The rest of the bucket may be fine."""


class _Changed(Exception):
    """The object is another version than the one whose download began."""


class _Damaged(Exception):
    """What arrived is not what the store announced."""


class _RangesIgnored(Exception):
    """The store answers a range request with the whole object."""


class Spool:
    """One nameless temporary file for many bodies: the heap stays small, and nothing is left behind even by kill -9.

    It lies in TMPDIR; where that is a RAM disk, its bytes are memory.
    """

    def __init__(self) -> None:
        try:
            self._file = tempfile.TemporaryFile(dir=temporary_folder())  # noqa: SIM115
        except OSError as error:
            raise _spool_full(error) from None
        self._end = 0
        self._lock = threading.Lock()
        self._map: mmap.mmap | None = None

    def reserve(self, size: int) -> int:
        """The offset of `size` bytes that belong to the caller."""
        with self._lock:
            offset, self._end = self._end, self._end + size
        return offset

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Raises `SpoolFull`."""
        rest = memoryview(data)
        try:
            while rest:
                written = os.pwrite(self._file.fileno(), rest, offset)
                offset, rest = offset + written, rest[written:]
        except OSError as error:
            raise _spool_full(error) from None

    def read(self, offset: int, size: int) -> bytes:
        return os.pread(self._file.fileno(), size, offset)

    def pieces(self, offset: int, size: int) -> Iterator[bytes]:
        """The `size` bytes at `offset`, piece by piece."""
        end = offset + size
        while offset < end and (piece := self.read(offset, min(MEBIBYTE, end - offset))):
            yield piece
            offset += len(piece)

    def view(self) -> memoryview:
        """All bytes, memory-mapped. To be called once, after the last write."""
        if self._end == 0:
            return memoryview(b"")
        os.ftruncate(self._file.fileno(), self._end)
        self._map = mmap.mmap(self._file.fileno(), self._end, access=mmap.ACCESS_READ)
        return memoryview(self._map)

    def close(self) -> None:
        """The file is gone once nobody holds a view on it any more."""
        self._file.close()
        if self._map is not None:
            with contextlib.suppress(BufferError):
                self._map.close()


def _spool_full(error: OSError) -> errors.SpoolFull:
    return errors.SpoolFull(folder=temporary_folder(), reason=error.strerror or error)


class _Transfer:
    """One version of one object on its way into the spool."""

    def __init__(self, version: StoredObject, spool: Spool, moved: Callable[[int, int], None] | None) -> None:
        self.version = version
        self.spool = spool
        self.offset = spool.reserve(version.size)
        self.stopped = threading.Event()
        self._moved = moved
        self._arrived = 0
        self._lock = threading.Lock()

    def write(self, position: int, data: bytes) -> None:
        self.spool.write(self.offset + position, data)
        self._tell(len(data))

    def take_back(self) -> None:
        """What arrived does not count: it has to come again."""
        self._tell(-self._arrived)

    def _tell(self, count: int) -> None:
        with self._lock:
            self._arrived += count
            if self._moved:
                self._moved(count, self.version.size)


class Bucket:
    """A connection to the bucket the settings name. Safe to use from several threads."""

    def __init__(self, client: Any, settings: Settings) -> None:
        self._client = client
        self._settings = settings
        self.stopped = threading.Event()
        """Set to make downloads in other threads give up soon."""

    # --- listing

    def list_objects(self, prefix: str) -> list[StoredObject]:
        """Every object under `prefix` the store admits to, each once, sorted by key in byte order.

        Pages by token where the store gives one and by the last key where it does not. A page that claims to be the
        last is believed only when nothing follows its last key. Raises `BucketUnavailable` when it does not get on.
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
                    found.setdefault(entry["Key"], _stored(entry))
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
        return self._ask(
            "list_objects_v2", f"s3://{self._settings.bucket}/{prefix}", Prefix=prefix, MaxKeys=PAGE, **where
        )

    # --- the store

    def clock(self) -> datetime | None:
        """The store's clock, by an answer about the bucket; None where it does not tell. Raises `SourceNotFound`."""
        answer = self._ask("head_bucket", f"s3://{self._settings.bucket}")
        try:
            return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
        except (KeyError, ValueError, TypeError):
            return None

    def bucket_names(self) -> list[str]:
        """The buckets these keys may see; none where they may not ask."""
        import botocore.exceptions

        try:
            return [each["Name"] for each in self._client.list_buckets()["Buckets"]]
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError, KeyError):
            return []

    # --- one object

    def look(self, key: str) -> StoredObject:
        """What the store tells of an object without sending it. Raises `SourceNotFound`."""
        return _stored({"Key": key, **self._ask("head_object", self._name(key), Key=key)})

    def download(
        self,
        key: str,
        spool: Spool,
        *,
        listed: StoredObject | None = None,
        threads: int = 1,
        moved: Callable[[int, int], None] | None = None,
    ) -> Download:
        """The object's bytes, whole and of one version, in the spool.

        Length and ETag are checked; a body that breaks off is resumed; a change in mid-download begins anew.
        `moved(bytes, total)` hears of every piece that arrives, from any thread; what has to come again is first told
        as a negative number. Raises `DamagedObject` where it cannot be had whole, and `SourceNotFound` and the like.
        """
        is_listed = listed is not None
        why = digest_before = ""
        for attempt in range(VERSIONS):
            self._pause(attempt)
            try:
                response = self._get(key, is_listed=is_listed)
                transfer = _Transfer(_stored({"Key": key, **response}), spool, moved)
                try:
                    self._transfer(transfer, response, listed, threads)
                    digest = self._disproof(transfer, response)
                except BaseException:
                    transfer.take_back()
                    raise
            except _RangesIgnored:
                threads, why = 1, "its body breaks off, and the store ignores the range that would resume it"
            except _Changed:
                listed, why = None, f"it changed while it was read, {VERSIONS} times over"
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
        self, transfer: _Transfer, response: dict[str, Any], listed: StoredObject | None, threads: int
    ) -> None:
        """The body of the whole object into the spool: in one piece, or with ranges beside its beginning."""
        size, version = transfer.version.size, transfer.version
        if listed and listed.etag == version.etag and listed.size != size:
            response["Body"].close()
            raise _Damaged(f"its body has {size:,} bytes where the listing says {listed.size:,}")
        if threads == 1 or size <= 2 * PART:
            return self._fetch(transfer, 0, size, response)
        with ThreadPoolExecutor(threads, "fleetfuel-range") as pool:
            futures = [pool.submit(self._fetch, transfer, 0, PART, response)]
            futures += [
                pool.submit(self._fetch, transfer, start, min(start + PART, size)) for start in range(PART, size, PART)
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

    def _fetch(self, transfer: _Transfer, start: int, end: int, response: dict[str, Any] | None = None) -> None:
        """Bytes `start` to `end` into the spool, resumed where the body breaks off; `response` begins at `start`."""
        position, resumed_at, failures = start, start, 0
        while True:
            why = "the connection was closed early"
            try:
                if response is None:
                    response = self._range(transfer.version, position, end)
                with response["Body"] as stream:
                    for data in _chunks(stream, end - position):
                        if self.stopped.is_set() or transfer.stopped.is_set():
                            raise DamagedObject("the download was given up")
                        transfer.write(position, data)
                        position += len(data)
            except _transport_errors() as error:
                why = "it stopped arriving" if _is_timeout(error) else "the connection was reset"
            if position >= end:
                return
            failures = 1 if position - resumed_at >= CHUNK else failures + 1
            resumed_at, response = position, None
            if failures > RESUMPTIONS:
                raise DamagedObject(
                    f"its body breaks off after {position:,} of {transfer.version.size:,} bytes ({why})"
                )
            self._pause(failures)

    def _get(self, key: str, *, is_listed: bool) -> dict[str, Any]:
        """The whole object's response. One that is listed may answer 404 for a moment."""
        for attempt in range(1, VERSIONS + 1):
            try:
                return self._ask("get_object", self._name(key), Key=key)
            except errors.SourceNotFound as error:
                if not is_listed or error.facts["what"] != self._name(key):
                    raise
                self._pause(attempt)
        raise DamagedObject("it is listed, and asking for it answers 404")

    def _range(self, version: StoredObject, start: int, end: int) -> dict[str, Any]:
        condition = {"IfMatch": f'"{version.etag}"'} if version.etag else {}
        name = self._name(version.key)
        response = self._ask("get_object", name, Key=version.key, Range=f"bytes={start}-{end - 1}", **condition)
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.get("ContentRange", ""))
        total = match[2] if match else response["ContentLength"]
        try:
            if _stored({"Key": version.key, **response, "ContentLength": total}) != version:
                raise _Changed
            if int(match[1] if match else 0) != start:
                raise _RangesIgnored
        except BaseException:
            response["Body"].close()
            raise
        return response

    def _disproof(self, transfer: _Transfer, response: dict[str, Any]) -> str:
        """Empty where the bytes match the ETag or the ETag cannot tell; else the bytes' own digest."""
        version, spool, offset = transfer.version, transfer.spool, transfer.offset
        is_encrypted = "kms" in response.get("ServerSideEncryption", "") or "SSECustomerAlgorithm" in response
        match = re.fullmatch(r"([0-9a-f]{32})(?:-([0-9]+))?", version.etag.lower())
        if is_encrypted or not match:
            return ""
        parts = int(match[2] or 0)
        if not parts:
            digest = _md5(spool, offset, version.size)
            return "" if digest == match[1] else digest
        if any(
            _multipart_md5(spool, offset, version.size, each) == match[1] for each in _part_sizes(version.size, parts)
        ):
            return ""
        try:
            part = self._ask("head_object", self._name(version.key), Key=version.key, PartNumber=1)
        except errors.FleetfuelError:
            return ""
        part_size = int(part.get("ContentLength") or 0)
        if part.get("PartsCount") != parts or part_size <= 0 or -(-version.size // part_size) != parts:
            return ""
        digest = _multipart_md5(spool, offset, version.size, part_size)
        return "" if digest == match[1] else digest

    # --- asking

    def _ask(self, operation: str, name: str, **parameters: Any) -> dict[str, Any]:
        """One request, with botocore's own retries; an answer that is no S3 answer is asked for again."""
        import botocore.exceptions
        from botocore.parsers import ResponseParserError

        failure: Exception = ValueError(name)
        for attempt in range(VERSIONS):
            self._pause(attempt)
            try:
                answer: dict[str, Any] = getattr(self._client, operation)(Bucket=self._settings.bucket, **parameters)
                if "Key" in parameters and not ("ETag" in answer or "LastModified" in answer):
                    break
                return answer
            except ResponseParserError as error:
                failure = error
            except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
                if _status(error) == 412:
                    raise _Changed from None
                raise translate(error, self._settings, name) from None
        raise translate(failure, self._settings, name) from None

    def ask_no_more(self, **_: Any) -> None:
        """Keeps botocore from repeating requests in threads that have been told to stop."""
        if self.stopped.is_set():
            raise DamagedObject("the download was given up")

    def _name(self, key: str) -> str:
        return f"s3://{self._settings.bucket}/{key}"

    def _pause(self, attempt: int) -> None:
        if attempt:
            self.stopped.wait(PAUSE_SECONDS * 2 ** (attempt - 1))


@contextmanager
def open_bucket(settings: Settings, *, connections: int = 16) -> Iterator[Bucket]:
    """A connection to the bucket; nothing is asked of it yet. Raises `MissingSetting` naming the first that lacks."""
    for name, value in (
        ("RUSTFS_ENDPOINT", settings.endpoint),
        ("RUSTFS_ACCESS_KEY", settings.access_key),
        ("RUSTFS_SECRET_KEY", settings.secret_key),
    ):
        if not value:
            raise errors.MissingSetting(name=name, alternative=",\nor read a local file with --file")
    import botocore.exceptions
    from botocore.config import Config

    config = Config(
        s3={"addressing_style": "path"},
        signature_version="s3v4",
        connect_timeout=10,
        read_timeout=60,
        retries={"mode": "standard", "total_max_attempts": 5},
        max_pool_connections=connections,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    with _trusted(settings) as verify:
        try:
            client = _session().client(
                "s3",
                endpoint_url=settings.endpoint,
                region_name=settings.region,
                aws_access_key_id=settings.access_key,
                aws_secret_access_key=settings.secret_key,
                config=config,
                verify=verify,
            )
        except (botocore.exceptions.BotoCoreError, ValueError) as error:
            raise errors.ConfigurationError(
                reason=f"The bucket's settings cannot be used: {error}.",
                next_step="See .env.example for what they may hold.",
            ) from None
        store = Bucket(client, settings)
        client.meta.events.register_last("before-parameter-build.s3", _follow_no_redirect)
        client.meta.events.register("before-send.s3", store.ask_no_more)
        try:
            yield store
        finally:
            client.close()


@functools.cache
def _session() -> Any:
    """What clients are made of: the description of S3 is read once."""
    import boto3.session
    import botocore.session

    return boto3.session.Session(botocore_session=botocore.session.Session(session_vars=NO_PROFILE))


def get_ready() -> None:
    """Begin to import what a bucket needs, while something else is waited for."""
    threading.Thread(
        target=importlib.import_module, args=("boto3.session",), name="fleetfuel-ready", daemon=True
    ).start()


def _follow_no_redirect(context: dict[str, Any], **_: Any) -> None:
    """Where a store keeps answering 301, botocore asks for the region of the bucket until the stack overflows."""
    context["s3_redirect"]["redirected"] = True


@contextmanager
def _trusted(settings: Settings) -> Iterator[bool | str]:
    """What botocore is to verify certificates with: the system's, and the settings' beside them, in one file."""
    if settings.ca_bundle is None:
        yield True
        return
    try:
        own = settings.ca_bundle.read_bytes()
        ssl.create_default_context(cadata=own.decode())
        if not own.strip():
            raise ValueError
    except (OSError, ValueError) as error:
        reason = (
            error.strerror if isinstance(error, OSError) and error.strerror else "it holds no certificates in PEM form"
        )
        raise errors.ConfigurationError(
            reason=f"RUSTFS_CA_BUNDLE, {settings.ca_bundle}, cannot be used: {reason}.",
            next_step="It names a file of certificates, each between BEGIN CERTIFICATE and END CERTIFICATE.",
        ) from None
    system = ssl.get_default_verify_paths().cafile
    with tempfile.NamedTemporaryFile(prefix="fleetfuel-ca-", suffix=".pem") as bundle:
        bundle.write((Path(system).read_bytes() + b"\n" if system else b"") + own)
        bundle.flush()
        yield bundle.name


# --- what went wrong ----------------------------------------------------------------------------------------------


WRONG_KEYS = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "InvalidSecurity"}
WRONG_REGION = {
    "AuthorizationHeaderMalformed",
    "PermanentRedirect",
    "IllegalLocationConstraintException",
    "InvalidRegion",
}
REDIRECTS = {301, 302, 303, 307, 308}
WRONG_CLOCK = {"RequestTimeTooSkewed", "RequestExpired"}


def translate(error: Exception, settings: Settings, name: str) -> errors.FleetfuelError:
    """botocore's error about `name` as one of the tree. Of what the server says only codes are quoted."""
    import botocore.exceptions as boto

    if isinstance(error, boto.ClientError):
        return _translate_answer(error.response, settings, name)
    if isinstance(error, boto.ParamValidationError):
        return errors.ConfigurationError(
            reason=f"RUSTFS_BUCKET, {settings.bucket!r}, or RUSTFS_PREFIX, {settings.prefix!r}, is no name S3 allows.",
            next_step="See .env.example for what they may hold.",
        )
    if isinstance(error, boto.SSLError):
        reason = (
            f"its TLS certificate is not trusted ({_tls_reason(error)}); "
            "RUSTFS_CA_BUNDLE names a file of certificates to trust besides"
        )
    elif isinstance(error, boto.ConnectTimeoutError):
        reason = "nothing answers within 10 seconds"
    elif isinstance(error, boto.ReadTimeoutError):
        reason = "it accepts the connection and then says nothing for 60 seconds"
    elif isinstance(error, boto.ProxyConnectionError):
        reason = "the proxy of HTTPS_PROXY or HTTP_PROXY cannot be reached"
    elif isinstance(error, boto.EndpointConnectionError):
        reason = "nothing listens there, or the name is unknown"
    elif isinstance(error, boto.ConnectionClosedError):
        reason = "it closes the connection in the middle of an answer"
    elif isinstance(error, boto.HTTPClientError):
        reason = "the connection breaks off"
    else:
        reason = "its answer is not that of an S3 server: is RUSTFS_ENDPOINT the S3 port, not the console's?"
    is_unreachable = isinstance(error, boto.SSLError | boto.ConnectTimeoutError | boto.EndpointConnectionError)
    return errors.BucketUnavailable(
        reason=reason,
        endpoint=settings.endpoint,
        bucket=settings.bucket,
        is_unreachable=is_unreachable or isinstance(error, boto.ProxyConnectionError),
    )


def _translate_answer(response: dict[str, Any], settings: Settings, name: str) -> errors.FleetfuelError:
    code = str(response.get("Error", {}).get("Code", ""))
    metadata = response.get("ResponseMetadata", {})
    status = int(metadata.get("HTTPStatusCode", 0))
    headers = metadata.get("HTTPHeaders", {})
    if code == "NoSuchBucket":
        return errors.SourceNotFound(
            what=f"The bucket {settings.bucket!r}",
            where=settings.endpoint,
            next_step="RUSTFS_BUCKET names it; `fleetfuel doctor` lists what the keys can see.",
        )
    if code == "NoSuchKey" or status == 404:
        return errors.SourceNotFound(
            what=name,
            where=f"the store at {settings.endpoint} has no such object",
            next_step="RUSTFS_BUCKET and RUSTFS_PREFIX say where to look; is the export running?",
        )
    if code in WRONG_CLOCK:
        return errors.PermissionDenied(
            what=f"The request to {settings.endpoint}",
            reason=f"this machine's clock and the store's are too far apart{_clock_difference(headers)}",
            next_step="Set the clocks right (NTP), then repeat the command: signatures are valid for 15 minutes.",
        )
    if code in WRONG_REGION:
        region = response.get("Error", {}).get("Region") or headers.get("x-amz-bucket-region")
        return errors.ConfigurationError(
            reason=f"RUSTFS_REGION, {settings.region!r}, is not the region of {settings.endpoint}/{settings.bucket}.",
            next_step=f"The store says it is {region!r}."
            if region
            else "Set it to the region of the store's own settings.",
        )
    if status in REDIRECTS:
        there = urlsplit(headers.get("location", ""))
        return errors.ConfigurationError(
            reason=f"RUSTFS_ENDPOINT, {settings.endpoint}, answers {status}: go elsewhere.",
            next_step=f"It points to {there.scheme}://{there.netloc}: is that the S3 API?"
            if there.netloc
            else "Set it to the S3 API's own URL.",
        )
    if code in WRONG_KEYS or status in (401, 403):
        if code in WRONG_KEYS:
            reason, next_step = (
                f"the store does not accept the keys ({code})",
                "Check RUSTFS_ACCESS_KEY and RUSTFS_SECRET_KEY.",
            )
        else:
            reason = f"the keys do not allow it ({code or status})"
            next_step = (
                "Check RUSTFS_ACCESS_KEY and RUSTFS_SECRET_KEY; they need to list the bucket and get its objects."
            )
        return errors.PermissionDenied(
            what=f"Reading {name} at {settings.endpoint}", reason=reason, next_step=next_step
        )
    if "text/html" in headers.get("content-type", ""):
        reason = (
            f"it answers {status} with a web page: is RUSTFS_ENDPOINT the S3 port, not the console's, and the store up?"
        )
        return errors.BucketUnavailable(reason=reason, endpoint=settings.endpoint, bucket=settings.bucket)
    tries = "" if not metadata.get("RetryAttempts") else f", {int(metadata['RetryAttempts']) + 1} times over"
    return errors.BucketUnavailable(
        reason=f"it answers {status} {code}".rstrip() + tries, endpoint=settings.endpoint, bucket=settings.bucket
    )


def _clock_difference(headers: dict[str, str]) -> str:
    try:
        there = parsedate_to_datetime(headers["date"])
        seconds = (datetime.now(UTC) - there).total_seconds()
    except (KeyError, ValueError, TypeError):
        return ""
    if abs(seconds) < 60:
        return ""
    return f" (this one is {abs(seconds) / 60:,.0f} minutes {'ahead' if seconds > 0 else 'behind'})"


def _tls_reason(error: Exception) -> str:
    match = re.search(r"certificate verify failed: ([^(]+)|\[SSL: ([A-Z_]+)\]", str(error))
    return (match[1] or match[2]).strip() if match else "the handshake failed"


def _status(error: Exception) -> int:
    return int(getattr(error, "response", {}).get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _transport_errors() -> tuple[type[Exception], ...]:
    import botocore.exceptions
    import urllib3.exceptions

    return (
        urllib3.exceptions.HTTPError,
        botocore.exceptions.HTTPClientError,
        botocore.exceptions.ConnectionError,
        ConnectionError,
        TimeoutError,
    )


def _is_timeout(error: Exception) -> bool:
    return isinstance(error, TimeoutError) or "Timeout" in type(error).__name__


# --- bytes --------------------------------------------------------------------------------------------------------


def _chunks(stream: Any, size: int) -> Iterator[bytes]:
    """At most `size` bytes of the body, as they arrive. Raises TimeoutError when they only trickle."""
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


def _stored(entry: dict[str, Any]) -> StoredObject:
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


def _md5(spool: Spool, offset: int, size: int) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    for piece in spool.pieces(offset, size):
        digest.update(piece)
    return digest.hexdigest()


def _multipart_md5(spool: Spool, offset: int, size: int, part_size: int) -> str:
    """The ETag's hash of an upload in parts: MD5 of the parts' MD5s."""
    whole = hashlib.md5(usedforsecurity=False)
    for start in range(0, size, part_size):
        whole.update(bytes.fromhex(_md5(spool, offset + start, min(part_size, size - start))))
    return whole.hexdigest()


def _part_sizes(size: int, parts: int) -> list[int]:
    """Part sizes an upload of `parts` parts and `size` bytes is likely to have had."""
    sizes = [each * MEBIBYTE for each in PART_SIZES] + [each * 1_000_000 for each in PART_SIZES]
    return [each for each in sizes if -(-size // each) == parts] or ([size] if parts == 1 else [])
