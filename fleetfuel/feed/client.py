"""The S3 client: made from our settings and from nothing else, with short time-outs.

botocore reads some thirty variables of its own (profiles, retry modes, endpoints, FIPS, checksums): all are left
unread, so that a run does the same in every environment. Only the proxy's (HTTPS_PROXY, HTTP_PROXY, NO_PROXY) count.
"""

from __future__ import annotations

import functools
import importlib
import logging
import os
import re
import ssl
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from fleetfuel import errors
from fleetfuel.readable import read_regular
from fleetfuel.settings import Settings, temporary_folder

log = logging.getLogger("fleetfuel")

CONNECTING: Final = 5
"""Seconds within which a store has to accept a connection."""
SILENCE: Final = 20
"""Seconds that a store may say nothing."""
ATTEMPTS: Final = 3
"""How often one request is sent before it counts as failed: a silent store costs a minute."""


START: Final = rb"(?:\xef\xbb\xbf)?(?:\s|<\?.*?\?>|<!--.*?-->)*<(?:\w+:)?"
BEGINS: Final = re.compile(START + rb"ListBucketResult[\s/>]", re.DOTALL)
ENDS: Final = re.compile(rb"(?:</(?:\w+:)?ListBucketResult\s*>|/>)(?:\s|<!--.*?-->)*\Z", re.DOTALL)
"""How a listing begins and ends."""
ERROR: Final = re.compile(START + rb"Error[\s/>]", re.DOTALL)
"""How an error begins that is sent with status 200."""


class NoAnswer(Exception):
    """What came back is not what an S3 server says."""


@contextmanager
def open_client(settings: Settings, *, connections: int) -> Iterator[Any]:
    """A botocore client of the store. Raises `MissingSetting` and `ConfigurationError`; nothing is asked yet."""
    for name, value in (
        ("RUSTFS_ENDPOINT", settings.endpoint),
        ("RUSTFS_ACCESS_KEY", settings.access_key),
        ("RUSTFS_SECRET_KEY", settings.secret_key),
    ):
        if not value:
            raise errors.MissingSetting(name=name, alternative=",\nor read a local file with --file")
    for thread in _readying:  # two threads that import modules of one circle may each see half of them
        thread.join()
    import botocore.exceptions
    import botocore.handlers
    from botocore.config import Config

    config = Config(
        s3={"addressing_style": "path"},
        signature_version="s3v4",
        connect_timeout=CONNECTING,
        read_timeout=SILENCE,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
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
                reason=f"The bucket's settings cannot be used: {str(error).rstrip('.')}.",
                next_step="See .env.example for what they may hold.",
            ) from None
        events = client.meta.events
        events.register_last("before-parameter-build.s3", _follow_no_redirect)
        events.register("before-parse.s3", _forgive_headers)
        events.register("before-parse.s3.ListObjectsV2", _demand_a_listing)
        events.unregister(
            "before-parse.s3.*", getattr(botocore.handlers, "_handle_200_error", None)
        )  # ours is stricter
        events.register("needs-retry.s3", _warn_of_silence)
        try:
            yield client
        finally:
            client.close()


@functools.cache
def _session() -> Any:
    """The session of all clients: the description of S3 is read once, and none of botocore's own variables."""
    import boto3.session
    import botocore.session
    from botocore.configprovider import BOTOCORE_DEFAUT_SESSION_VARIABLES as VARIABLES

    unread = {name: (None, None, default, convert) for name, (_, _, default, convert) in VARIABLES.items()}
    unread["config_file"] = (None, None, os.devnull, None)
    return boto3.session.Session(botocore_session=botocore.session.Session(session_vars=unread))


_readying: Final[list[threading.Thread]] = []


def get_ready() -> None:
    """Begin to import what a bucket needs, in a thread, while the run waits for something else."""
    thread = threading.Thread(
        target=importlib.import_module, args=("boto3.session",), name="fleetfuel-ready", daemon=True
    )
    thread.start()
    _readying.append(thread)


def _follow_no_redirect(context: dict[str, Any], **_: Any) -> None:
    """If a store keeps answering 301, botocore asks for the region of the bucket until the stack overflows."""
    context["s3_redirect"]["redirected"] = True


def _forgive_headers(response_dict: dict[str, Any], operation_model: Any, **_: Any) -> None:
    """A header that should hold a number or a time and does not counts as not sent: botocore would raise."""
    headers, shape = response_dict["headers"], operation_model.output_shape
    for member in shape.members.values() if shape else ():
        name = member.serialization.get("name", "")
        if member.serialization.get("location") != "header" or name not in headers:
            continue
        is_sound = {"integer": _is_number, "long": _is_number, "timestamp": _is_time}.get(member.type_name)
        if is_sound and not is_sound(headers[name]):
            del headers[name]


def _is_number(text: str) -> bool:
    return re.fullmatch(r"\s*[0-9]{1,18}\s*", text) is not None


def _is_time(text: str) -> bool:
    from botocore.utils import parse_timestamp

    try:
        return bool(parse_timestamp(text))
    except (ValueError, OverflowError, TypeError, RuntimeError):
        return False


def _demand_a_listing(response_dict: dict[str, Any], **_: Any) -> None:
    """Raise `NoAnswer` if the answer to a listing is none: botocore takes an empty body, or any XML, for a bucket
    without objects."""
    if response_dict["status_code"] >= 300:
        return
    body = bytes(response_dict["body"])
    if ERROR.match(body, 0, 4096):
        response_dict["status_code"] = 500
        return
    if not BEGINS.match(body, 0, 4096) or not ENDS.search(body, max(0, len(body) - 4096)):
        raise NoAnswer("the answer is no listing, or is cut short")


def _warn_of_silence(attempts: int, caught_exception: Exception | None, **_: Any) -> None:
    """Say why it takes so long."""
    if attempts < ATTEMPTS and caught_exception is not None and "Timeout" in type(caught_exception).__name__:
        log.warning("the store says nothing; asking again (%s of %s)", attempts + 1, ATTEMPTS)


@contextmanager
def _trusted(settings: Settings) -> Iterator[bool | str]:
    """What botocore verifies certificates with: the system's certificates and those of the settings, in one file."""
    if settings.ca_bundle is None:
        yield True
        return
    try:
        own = read_regular(settings.ca_bundle)
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
    with tempfile.NamedTemporaryFile(prefix="fleetfuel-ca-", suffix=".pem", dir=temporary_folder()) as bundle:
        bundle.write((Path(system).read_bytes() + b"\n" if system else b"") + own)
        bundle.flush()
        yield bundle.name
