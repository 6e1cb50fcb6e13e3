"""What a store's answer, or its silence, means: one of our errors, with the step that helps."""

from __future__ import annotations

import errno
import re
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from fleetfuel import errors
from fleetfuel.feed.client import ATTEMPTS, CONNECTING, SILENCE
from fleetfuel.settings import Settings

WRONG_KEYS = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "InvalidSecurity"}
WRONG_REGION = {
    "AuthorizationHeaderMalformed",
    "PermanentRedirect",
    "IllegalLocationConstraintException",
    "InvalidRegion",
}
REDIRECTS = {301, 302, 303, 307, 308}
NOT_TLS = {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG"}
"""How OpenSSL names bytes that are not TLS."""
WRONG_CLOCK = {"RequestTimeTooSkewed", "RequestExpired"}


def translate(error: Exception, settings: Settings, name: str) -> errors.FleetfuelError:
    """An error of botocore, or of the libraries below it, as one of our errors; `name` is what was asked for.

    Only codes are quoted of what the server says.
    """
    import botocore.exceptions as boto

    if isinstance(error, boto.ClientError):
        return _translate_answer(error.response, settings, name)
    if isinstance(error, boto.ParamValidationError):
        return errors.ConfigurationError(
            reason=f"RUSTFS_BUCKET, {settings.bucket!r}, or RUSTFS_PREFIX, {settings.prefix!r}, is no name S3 allows.",
            next_step="See .env.example for what they may hold.",
        )
    chain = tuple(_chain(error))
    if wrong := _wrong_here(chain):
        return wrong
    reason = _what_happened(error, chain)
    is_unreachable = isinstance(error, boto.SSLError | boto.ConnectTimeoutError | boto.EndpointConnectionError)
    return errors.BucketUnavailable(
        reason=reason,
        endpoint=settings.endpoint,
        bucket=settings.bucket,
        is_unreachable=is_unreachable or isinstance(error, boto.ProxyConnectionError),
    )


def is_ours(error: Exception) -> bool:
    """Whether the fault lies in the settings or the limits of this process, so that asking again is no use."""
    return _wrong_here(tuple(_chain(error))) is not None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what caused it: botocore, urllib3 and Python each keep the cause in a place of their own."""
    waiting, seen = [error], set[int]()
    while waiting:
        each = waiting.pop(0)
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        kept = [getattr(each, "kwargs", None), *getattr(each, "args", ())]
        inner = [kept[0].get("error")] if isinstance(kept[0], dict) else []
        inner += [*kept[1:], getattr(each, "reason", None), each.__cause__, each.__context__]
        waiting += [cause for cause in inner if isinstance(cause, BaseException)]


def _wrong_here(chain: tuple[BaseException, ...]) -> errors.FleetfuelError | None:
    """The error, if only a setting of this machine or of this program can mend it."""
    if any(isinstance(each, OSError) and each.errno in (errno.EMFILE, errno.ENFILE) for each in chain):
        return errors.ConfigurationError(
            reason="This process may open too few files at a time.",
            next_step="Raise the limit (`ulimit -n 1024`, or LimitNOFILE= of the service), then repeat the command.",
        )
    if not all(map(_is_proxy, _proxies())):
        return errors.ConfigurationError(
            reason="The proxy in HTTPS_PROXY or HTTP_PROXY is no address of an HTTP proxy.",
            next_step="It looks like http://proxy.example.org:3128. Correct it, or let NO_PROXY name the store.",
        )
    if any(isinstance(each, ValueError) and "Invalid header value" in str(each) for each in chain):
        return errors.ConfigurationError(
            reason="RUSTFS_ACCESS_KEY, RUSTFS_SECRET_KEY or RUSTFS_REGION holds a character that no header may have.",
            next_step="Look for line breaks and other characters that do not show.",
        )
    return None


def _proxies() -> list[str]:
    """The addresses of proxies that Python takes from the environment."""
    return [value for name, value in urllib.request.getproxies().items() if name in ("http", "https", "all")]


def _is_proxy(address: str) -> bool:
    """Whether this is the address of an HTTP proxy, written with or without its scheme."""
    try:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _what_happened(error: Exception, chain: tuple[BaseException, ...]) -> str:
    import botocore.exceptions as boto

    names = {type(each).__name__ for each in chain}
    if isinstance(error, boto.SSLError):
        return _tls_reason(error)
    if isinstance(error, boto.ConnectTimeoutError):
        return f"nothing answers within {CONNECTING} seconds"
    if isinstance(error, boto.ReadTimeoutError):
        return f"it accepts the connection and then says nothing for {SILENCE} seconds, {ATTEMPTS} times"
    if isinstance(error, boto.ProxyConnectionError):
        return "the proxy of HTTPS_PROXY or HTTP_PROXY cannot be reached, or does not let us through"
    if names & {"gaierror", "NameResolutionError"}:
        return "the name of its host is unknown here"
    if "ConnectionRefusedError" in names:
        return "nothing listens on that port"
    if "LocationParseError" in names:
        return "it redirects to something that is no address"
    if isinstance(error, boto.EndpointConnectionError):
        return "it cannot be reached from here"
    if any("more than 100 headers" in str(each) for each in chain):
        return "its answer has more than 100 headers"
    if names & {"BadStatusLine", "UnknownProtocol", "LineTooLong"} and "RemoteDisconnected" not in names:
        return "what listens there does not speak HTTP: is RUSTFS_ENDPOINT the port of the S3 API?"
    if isinstance(error, boto.ConnectionClosedError):
        return "it closes the connection without an answer, or in the middle of one"
    if isinstance(error, boto.HTTPClientError):
        return "the connection breaks off"
    return "its answer is not that of an S3 server: is RUSTFS_ENDPOINT the S3 port, not the console's?"


def _translate_answer(response: dict[str, Any], settings: Settings, name: str) -> errors.FleetfuelError:
    code = re.sub(r"[^A-Za-z0-9_.-]", "", str(response.get("Error", {}).get("Code", "")))[:60]
    metadata = response.get("ResponseMetadata", {})
    status = int(metadata.get("HTTPStatusCode", 0))
    headers = metadata.get("HTTPHeaders", {})
    if code == "NoSuchBucket":
        return errors.SourceNotFound(
            what=f"The bucket {settings.bucket!r}",
            where=settings.endpoint,
            next_step=f"RUSTFS_BUCKET names it; `fleetfuel doctor` lists what the keys can see.{_path_hint(settings)}",
        )
    if code == "NoSuchKey" or status == 404:
        return errors.SourceNotFound(
            what=name,
            where=f"the store at {settings.endpoint} has no such object",
            next_step="RUSTFS_BUCKET and RUSTFS_PREFIX say where to look; is the export running?"
            + _path_hint(settings),
        )
    if code in WRONG_CLOCK:
        return errors.PermissionDenied(
            what=f"The request to {settings.endpoint}",
            reason=f"this machine's clock and the store's are too far apart{_clock_difference(headers)}",
            next_step="Set the clocks right (NTP), then repeat the command: signatures are valid for 15 minutes.",
        )
    if code in WRONG_REGION:
        reported = response.get("Error", {}).get("Region") or headers.get("x-amz-bucket-region") or ""
        region = re.sub(r"[^A-Za-z0-9_.-]", "", str(reported))[:60]
        return errors.ConfigurationError(
            reason=f"RUSTFS_REGION, {settings.region!r}, is not the region of {settings.endpoint}/{settings.bucket}.",
            next_step=f"The store says it is {region!r}."
            if region
            else "Set it to the region of the store's own settings.",
        )
    if status in REDIRECTS:
        there = _address(headers.get("location", ""))
        return errors.ConfigurationError(
            reason=f"RUSTFS_ENDPOINT, {settings.endpoint}, answers {status}: go elsewhere.",
            next_step=f"It points to {there}: is that the S3 API?" if there else "Set it to the S3 API's own URL.",
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
    tries = "" if not metadata.get("RetryAttempts") else f", {int(metadata['RetryAttempts']) + 1} times"
    return errors.BucketUnavailable(
        reason=f"it answers {status} {code if code != str(status) else ''}".rstrip()
        + tries
        + _scheme_hint(status, settings)
        + _path_hint(settings),
        endpoint=settings.endpoint,
        bucket=settings.bucket,
    )


def _path_hint(settings: Settings) -> str:
    path = urlsplit(settings.endpoint or "").path.strip("/")
    return f" RUSTFS_ENDPOINT has a path, /{path}: an S3 API's URL mostly has none." if path else ""


def _scheme_hint(status: int, settings: Settings) -> str:
    """Servers with TLS answer 400 to a client that does not use it."""
    is_plain = status == 400 and (settings.endpoint or "").startswith("http:")
    return " (is its URL https:// instead of http://?)" if is_plain else ""


def _clock_difference(headers: dict[str, str]) -> str:
    try:
        there = parsedate_to_datetime(headers["date"])
        seconds = (datetime.now(UTC) - there).total_seconds()
    except (KeyError, ValueError, TypeError):
        return ""
    if abs(seconds) < 60:
        return ""
    return f" (this one is {abs(seconds) / 60:,.0f} minutes {'ahead' if seconds > 0 else 'behind'})"


def _address(location: str) -> str:
    """Scheme, host and port that a redirect points to; empty if that is no address."""
    try:
        there = urlsplit(location)
        return f"{there.scheme}://{there.hostname}{f':{there.port}' if there.port else ''}" if there.hostname else ""
    except ValueError:
        return ""


def _tls_reason(error: Exception) -> str:
    if match := re.search(r"certificate verify failed: ([^(]+)", str(error)):
        said = match[1].strip()
        return f"its TLS certificate is not trusted ({said}); RUSTFS_CA_BUNDLE names a file of certificates to trust"
    match = re.search(r"\[SSL: ([A-Z_0-9]+)\]", str(error))
    said = match[1] if match else "the handshake failed"
    if said in NOT_TLS:
        return "it does not speak TLS on that port: is its URL http:// instead of https://?"
    return f"no TLS connection can be made ({said})"


def status(error: Exception) -> int:
    """The HTTP status of the answer; 0 if there was none (`response` is then None, or not there)."""
    response = getattr(error, "response", None) or {}
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def transport_errors() -> tuple[type[Exception], ...]:
    """What is raised if a connection breaks off or falls silent in the middle of a body."""
    import botocore.exceptions
    import urllib3.exceptions

    return (
        urllib3.exceptions.HTTPError,
        botocore.exceptions.HTTPClientError,
        botocore.exceptions.ConnectionError,
        ConnectionError,
        TimeoutError,
    )


def is_timeout(error: Exception) -> bool:
    return isinstance(error, TimeoutError) or "Timeout" in type(error).__name__
