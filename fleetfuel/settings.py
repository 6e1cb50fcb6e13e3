"""The environment (and `.env`) as one frozen `Settings`. No other module reads a setting of a run."""

from __future__ import annotations

import difflib
import io
import os
import re
import zoneinfo
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from fleetfuel import errors
from fleetfuel.database_url import read_url
from fleetfuel.readable import is_denied, read_regular_or_pipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting, validated. Secrets are kept out of `repr`."""

    database_url: str | None = field(default=None, repr=False)
    """`DATABASE_URL`: postgresql://user:password@host:port/database?sslmode=… ; TLS options are passed through."""
    endpoint: str | None = None
    """`RUSTFS_ENDPOINT`: the S3 API's URL."""
    access_key: str | None = field(default=None, repr=False)
    """`RUSTFS_ACCESS_KEY`"""
    secret_key: str | None = field(default=None, repr=False)
    """`RUSTFS_SECRET_KEY`"""
    bucket: str = "fuel"
    """`RUSTFS_BUCKET`"""
    region: str = "us-east-1"
    """`RUSTFS_REGION`"""
    prefix: str = "fuel_records/"
    """`RUSTFS_PREFIX`: the folder of `latest.json` and `changes/` in the bucket."""
    ca_bundle: Path | None = None
    """`RUSTFS_CA_BUNDLE`: a file of certificates to trust for the endpoint, next to the system's."""
    timezone: zoneinfo.ZoneInfo = field(default_factory=lambda: zoneinfo.ZoneInfo("Africa/Nairobi"))
    """The zone of times that name none: a rule, see `rules.zone.in_feed_zone`."""
    named_zone: zoneinfo.ZoneInfo | None = None
    """`FLEETFUEL_TIMEZONE`: has to be the rule's zone."""
    rules: Path | None = None
    """`FLEETFUEL_RULES`: a folder of rules; None = those that came with fleetfuel."""
    reports: Path = Path("reports")
    """`FLEETFUEL_REPORTS`: where report folders go."""
    lookback_hours: int = 48
    """`FLEETFUEL_LOOKBACK_HOURS`: how far before the watermark `import --changes` looks for late or overwritten
    files."""
    log: str = "text"
    """`FLEETFUEL_LOG`: `text` or `json`."""
    ping_url: str | None = field(default=None, repr=False)
    """`FLEETFUEL_PING_URL`: called when an applying run begins and when it ends, as healthchecks.io expects it."""

    env_file: Path | None = None
    """The `.env` that was read; None = there is none, or it was passed over."""
    remarks: tuple[str, ...] = ()
    """What somebody should know of the settings, in sentences: unknown names, a file that was not read."""

    def require_database_url(self, *, may_be_embedded: bool = False) -> str:
        """The database's URL. Raises `MissingSetting`, which names --embedded if the command has it."""
        if not self.database_url:
            embedded = ",\nor use --embedded to try it on a PostgreSQL that comes along"
            raise errors.MissingSetting(name="DATABASE_URL", alternative=embedded if may_be_embedded else "")
        return self.database_url


VARIABLES: Mapping[str, str] = {
    "DATABASE_URL": "database_url",
    "RUSTFS_ENDPOINT": "endpoint",
    "RUSTFS_ACCESS_KEY": "access_key",
    "RUSTFS_SECRET_KEY": "secret_key",
    "RUSTFS_BUCKET": "bucket",
    "RUSTFS_REGION": "region",
    "RUSTFS_PREFIX": "prefix",
    "RUSTFS_CA_BUNDLE": "ca_bundle",
    "FLEETFUEL_TIMEZONE": "named_zone",
    "FLEETFUEL_RULES": "rules",
    "FLEETFUEL_REPORTS": "reports",
    "FLEETFUEL_LOOKBACK_HOURS": "lookback_hours",
    "FLEETFUEL_LOG": "log",
    "FLEETFUEL_PING_URL": "ping_url",
}
"""Environment variable → field of `Settings`; `.env.example` lists the same."""


def read_settings(environment: Mapping[str, str] | None = None, env_file: Path | None = None) -> Settings:
    """Settings from the environment, and from `.env` in the working folder for what the environment lacks.

    An empty variable counts as not set; white space around a value, as files of secrets end with, is not part of it.
    `env_file` names another file than `.env`, which has to exist then. Raises `ConfigurationError` naming the
    variable or the file, never echoing a secret.
    """
    if environment is None:
        environment = os.environ
    remarks: list[str] = []
    has_needed = all(environment.get(name) for name in NEEDED)
    in_file = _read_env_file(env_file, remarks, is_needed=not has_needed)
    remarks += _unknown_names(in_file or {}, str(env_file or ".env")) + _unknown_names(environment, "the environment")
    values = {
        name: value for name, value in {**(in_file or {}), **_given(environment)}.items() if name in VARIABLES and value
    }
    given: dict[str, object] = {}
    for name, text in values.items():
        try:
            given[VARIABLES[name]] = _CONVERSIONS.get(name, str)(_plain(text))
        except (ValueError, KeyError) as error:
            raise errors.ConfigurationError(
                reason=f"{name} cannot be used: {error}.", next_step="See .env.example for what it may hold."
            ) from None
    read = None if in_file is None else env_file or Path(".env")
    return Settings(**given, env_file=read, remarks=tuple(remarks))  # type: ignore[arg-type]


NEEDED: Final = ("DATABASE_URL", "RUSTFS_ENDPOINT", "RUSTFS_ACCESS_KEY", "RUSTFS_SECRET_KEY")
"""The settings without a default. If the environment has all of them, a `.env` that cannot be read is passed over."""

OTHERS: Final = frozenset({"FLEETFUEL_DEBUG", "FLEETFUEL_POSTGRES_BIN"})
"""Variables of ours that are no settings of a run."""


def _given(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: environment[name] for name in VARIABLES if environment.get(name, "").strip()}


def _read_env_file(path: Path | None, remarks: list[str], *, is_needed: bool) -> dict[str, str] | None:
    """The file's names and values. A file that was not asked for may be missing, or lie in a folder that this user may
    not read."""
    is_asked_for = path is not None
    path = path or Path(".env")
    try:
        text = _content(path, is_asked_for=is_asked_for)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        if not is_asked_for:
            return None
        raise _bad_env_file(path, error.strerror or str(error), "Check the path that was given.") from None
    except OSError as error:
        if is_asked_for or (is_needed and _is_there(path)):
            raise _bad_env_file(path, error.strerror or str(error), CURES if is_denied(error) else OTHER_FILE) from None
        if _is_there(path):
            remarks.append(f"{path} was not read: {error.strerror or error}")
        return None
    from dotenv import dotenv_values

    return {
        name: value or ""
        for name, value in dotenv_values(stream=io.StringIO(_decoded(path, text)), interpolate=False).items()
    }


_piped: Final[dict[Path, bytes]] = {}


def _content(path: Path, *, is_asked_for: bool) -> bytes:
    """What a file holds. A pipe (`--env-file <(decrypt .env)`) can be read once, and settings are read more often. One
    that was asked for may have to wait for somebody to type a password."""
    if path in _piped:
        return _piped[path]
    content = read_regular_or_pipe(path, for_writer=2 if is_asked_for else 0, for_text=300 if is_asked_for else 2)
    if path.is_fifo():
        _piped[path] = content
    return content


OTHER_FILE: Final = "Name a file with --env-file, or set the variables instead."
CURES: Final = "Give this user the right to read it, name another file with --env-file, or set the variables instead."


def _decoded(path: Path, content: bytes) -> str:
    """The file's text. Raises `ConfigurationError` for another encoding than UTF-8."""
    encoding = "UTF-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in content[:200] else "UTF-8"
    try:
        if encoding != "UTF-8":
            raise UnicodeError
        return content.decode("utf-8-sig")
    except UnicodeError as error:
        start = error.start if isinstance(error, UnicodeDecodeError) else 0
        said = "UTF-16" if encoding == "UTF-16" else f"not UTF-8, in line {content.count(10, 0, start) + 1}"
        raise _bad_env_file(path, f"it is {said}", "Save it as UTF-8.") from None


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # this user may not look into the folder
        return False


def _bad_env_file(path: Path, reason: str, cure: str) -> errors.ConfigurationError:
    return errors.ConfigurationError(reason=f"{path} cannot be read: {reason}.", next_step=cure)


def _unknown_names(names: Iterable[str], where: str) -> list[str]:
    """A sentence for each name that looks like a setting of ours and is none, with the nearest that is."""
    known = (*VARIABLES, *OTHERS)
    found = []
    for name in sorted(names):
        if not name.startswith(("FLEETFUEL_", "RUSTFS_")) or name in known or name.startswith("FLEETFUEL_TEST_"):
            continue
        near = difflib.get_close_matches(name, known, 1, 0.6)
        shown = name if name.isascii() and name.isprintable() and len(name) <= 60 else "a name that cannot be shown"
        found.append(f"{shown}, in {where}, is no setting{f': is {near[0]} meant?' if near else ''}")
    return found


def _plain(text: str) -> str:
    """The value without white space around it. Raises ValueError for characters that do not show."""
    text = text.strip()
    if not all(each.isprintable() or each == "\t" for each in text):
        raise ValueError("it holds a line break or another character that does not show")
    return text


def _zone(text: str) -> zoneinfo.ZoneInfo:
    try:
        return zoneinfo.ZoneInfo(text)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{text!r} is not a time zone (Africa/Nairobi is one)") from None


def _prefix(text: str) -> str:
    return text.strip("/") + "/" if text.strip("/") else ""


LONGEST_LOOKBACK: Final = 24 * 366 * 10
"""Hours: ten years."""


def _hours(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", text) or int(text) > LONGEST_LOOKBACK:
        raise ValueError(f"a whole number of hours is needed, {LONGEST_LOOKBACK:,} at most")
    return int(text)


def _log(text: str) -> str:
    if text not in ("text", "json"):
        raise ValueError("it is text or json")
    return text


def _ping_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        is_address = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        is_address = None
    if not is_address or not text.isascii() or re.search(r"\s", text):
        raise ValueError("it must be a URL such as https://hc-ping.com/<uuid>")
    if parts.username is not None:
        raise ValueError("it holds a login, which is not sent")
    return text


def _database_url(text: str) -> str:
    read_url(text)
    return text


def _endpoint(text: str) -> str:
    try:
        parts = urlsplit(text)
        is_address = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        is_address = None
    if not is_address or re.search(r"\s", text):
        raise ValueError("it must be a URL such as https://s3.example.org or http://10.0.0.5:9000")
    if parts.username is not None or "@" in parts.netloc:
        raise ValueError("it holds a login, which belongs in RUSTFS_ACCESS_KEY and RUSTFS_SECRET_KEY")
    if parts.query or parts.fragment:
        raise ValueError("it ends with its host and port: what follows ? or # is no part of an S3 API's URL")
    return text.rstrip("/")


_CONVERSIONS: Mapping[str, Callable[[str], object]] = {
    "DATABASE_URL": _database_url,
    "RUSTFS_ENDPOINT": _endpoint,
    "RUSTFS_PREFIX": _prefix,
    "RUSTFS_CA_BUNDLE": Path,
    "FLEETFUEL_TIMEZONE": _zone,
    "FLEETFUEL_RULES": Path,
    "FLEETFUEL_REPORTS": Path,
    "FLEETFUEL_LOOKBACK_HOURS": _hours,
    "FLEETFUEL_LOG": _log,
    "FLEETFUEL_PING_URL": _ping_url,
}


FOREIGN: Final = re.compile(r"PANDERA_|POLARS_(?!MAX_THREADS$|SKIP_CPU_CHECK$)|NARWHALS_|ADBC_|AWS_|BOTO_|BOTOCORE_")
"""Variables that make other libraries validate less, compute elsewhere, or call other hosts."""


THREADS: Final = r"[1-9][0-9]{0,2}"
"""A number of threads for Polars: it ends the program at 0, and stops the machine at a million."""


def forget_foreign() -> None:
    """Remove other libraries' variables from this process, before the libraries are imported, so that a run does the
    same in every environment. Those of proxies, OpenSSL and libpq (HTTPS_PROXY, SSL_CERT_FILE, PGPASSFILE, …) stay."""
    for name in [name for name in os.environ if FOREIGN.match(name)]:
        del os.environ[name]
    if not re.fullmatch(THREADS, os.environ.get("POLARS_MAX_THREADS", "1")):
        del os.environ["POLARS_MAX_THREADS"]


def temporary_folder() -> Path:
    """TMPDIR or /tmp. Not `tempfile.gettempdir`: it tries a folder by writing a file, which a kill leaves behind."""
    return Path(os.environ.get("TMPDIR") or "/tmp")  # noqa: S108
