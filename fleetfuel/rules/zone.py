"""The zone of the feed: `zone` in fields.toml, and nothing else."""

from __future__ import annotations

import dataclasses
import re
from contextlib import suppress
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fleetfuel import errors
from fleetfuel.packaged import packaged
from fleetfuel.rules.file import RuleFile, read_rule_file
from fleetfuel.settings import Settings

FIELDS_KEYS: Final = frozenset({"zone", "personal", "fields", "ignore"})
"""What may stand at the top of fields.toml."""

_NAME: Final = re.compile(r"UTC|(?!posix/|right/|SystemV/)[A-Za-z_]+(?:/[A-Za-z0-9_+-]+){1,2}")
"""A name that every database of zones has. An abbreviation or an offset would be read in several ways."""


def read_zone(file: RuleFile) -> ZoneInfo:
    """`zone` of fields.toml. Raises `RulesError` for what is no zone of the IANA database."""
    line = file.key("zone")
    name = file.read(str, file.need("zone"), line)
    with suppress(ZoneInfoNotFoundError, ValueError, OSError):
        if _NAME.fullmatch(name):
            return ZoneInfo(name)
    return file.refuse(f"`zone`: {name!r} is not the name of a time zone (Africa/Nairobi and Etc/GMT-3 are)", line)


def in_feed_zone(settings: Settings, zone: ZoneInfo | None = None) -> Settings:
    """The settings with the zone that the rules name. Raises `ConfigurationError` if the environment names another,
    `RulesError` if the rules cannot be read."""
    if zone is None:
        folder = packaged("rules") if settings.rules is None else settings.rules
        zone = read_zone(read_rule_file(folder / "fields.toml", FIELDS_KEYS))
    if settings.named_zone is not None and settings.named_zone.key != zone.key:
        raise errors.ConfigurationError(
            reason=f"FLEETFUEL_TIMEZONE names {settings.named_zone.key}, but the feed's zone is {zone.key}.",
            next_step="Leave FLEETFUEL_TIMEZONE out. The zone is a rule: to change it, change `zone` in fields.toml of"
            " the rules and run fleetfuel migrate.",
        )
    return dataclasses.replace(settings, timezone=zone)
