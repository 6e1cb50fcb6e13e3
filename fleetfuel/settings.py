"""The environment (and `.env`) as one frozen `Settings`. Nothing else reads the environment."""

from __future__ import annotations

import os
import zoneinfo
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from fleetfuel import errors


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
    """`RUSTFS_CA_BUNDLE`: a file of certificates to trust for the endpoint, beside the system's."""
    timezone: zoneinfo.ZoneInfo = field(default_factory=lambda: zoneinfo.ZoneInfo("Africa/Nairobi"))
    """`FLEETFUEL_TIMEZONE`: the zone of times that name none."""
    rules: Path | None = None
    """`FLEETFUEL_RULES`: a folder of rules; None = those that came with fleetfuel."""
    reports: Path = Path("reports")
    """`FLEETFUEL_REPORTS`: where report folders go."""
    lookback_hours: int = 48
    """`FLEETFUEL_LOOKBACK_HOURS`: how far before the watermark changes mode looks for late or overwritten files."""
    log: str = "text"
    """`FLEETFUEL_LOG`: `text` or `json`."""

    def require_database_url(self) -> str:
        """The database's URL. Raises `MissingSetting`."""
        if not self.database_url:
            raise errors.MissingSetting(
                name="DATABASE_URL",
                alternative=",\nor use --embedded to try it on a PostgreSQL that comes along",
            )
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
    "FLEETFUEL_TIMEZONE": "timezone",
    "FLEETFUEL_RULES": "rules",
    "FLEETFUEL_REPORTS": "reports",
    "FLEETFUEL_LOOKBACK_HOURS": "lookback_hours",
    "FLEETFUEL_LOG": "log",
}
"""Environment variable → field of `Settings`; `.env.example` lists the same."""


def read_settings(environment: Mapping[str, str] | None = None, env_file: Path | None = None) -> Settings:
    """Settings from the environment, and from `.env` in the working folder for what the environment lacks.

    An empty variable counts as not set. Raises `ConfigurationError` naming the variable, never echoing a secret.
    """
    if environment is None:
        environment = os.environ
    values = {name: value for name, value in _dotenv(env_file or Path(".env")).items() if value}
    values.update({name: environment[name] for name in VARIABLES if environment.get(name)})
    given: dict[str, object] = {VARIABLES[name]: values[name] for name in VARIABLES if name in values}
    for name, convert in _CONVERSIONS.items():
        if VARIABLES[name] in given:
            try:
                given[VARIABLES[name]] = convert(str(given[VARIABLES[name]]))
            except (ValueError, KeyError) as error:
                raise errors.ConfigurationError(
                    reason=f"{name} cannot be used: {error}.", next_step="See .env.example for what it may hold."
                ) from None
    return Settings(**given)  # type: ignore[arg-type]


def _dotenv(path: Path) -> Mapping[str, str | None]:
    if not path.is_file():
        return {}
    from dotenv import dotenv_values

    return dotenv_values(path, interpolate=False)


def _zone(text: str) -> zoneinfo.ZoneInfo:
    try:
        return zoneinfo.ZoneInfo(text)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        raise ValueError(f"{text!r} is not a time zone (Africa/Nairobi is one)") from None


def _prefix(text: str) -> str:
    return text.strip("/") + "/" if text.strip("/") else ""


def _hours(text: str) -> int:
    if not text.isdigit():
        raise ValueError("a whole number of hours is needed")
    return int(text)


def _log(text: str) -> str:
    if text not in ("text", "json"):
        raise ValueError("it is text or json")
    return text


def _database_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        scheme, _ = parts.scheme, parts.port
    except ValueError:
        raise ValueError("it is not a URL (a password with / # ? or @ must be percent-encoded)") from None
    if scheme not in ("postgresql", "postgres"):
        raise ValueError("it must start with postgresql://")
    return text


def _endpoint(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("it must be a URL such as https://s3.example.org")
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
}


def temporary_folder() -> Path:
    """TMPDIR or /tmp: `tempfile.gettempdir` tries folders with a file, which a kill in that instant leaves behind."""
    return Path(os.environ.get("TMPDIR") or "/tmp")  # noqa: S108
