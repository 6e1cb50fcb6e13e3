"""Pure: the name of a file → the instant it names."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from urllib.parse import unquote

SNAPSHOT = "latest.json"
CHANGES = "changes/"

_STAMP = re.compile(
    r"""
    (?<![0-9])
    (?P<year>2[01][0-9]{2}) (?P<dash>-?) (?P<month>[0-9]{2}) (?P=dash) (?P<day>[0-9]{2})
    (?P<mark>[Tt_\ -]?)
    (?P<hour>[0-9]{2}) (?P<colon>[-:_.]?) (?P<minute>[0-9]{2})
    (?: (?P=colon) (?P<second>[0-9]{2}) (?: [.,](?P<fraction>[0-9]{1,9}) | -(?P<thousandths>[0-9]{3}) )? )?
    (?P<zone> [Zz] | [ _-]?(?:UTC|GMT|EAT) | \+[0-9]{2}(?:[:-]?[0-9]{2})? | -[0-9]{2}:[0-9]{2} )?
    (?P<rest> .* )
    """,
    re.VERBOSE | re.DOTALL,
)
_EXTENSIONS = re.compile(r"(?:\.(?:json|ndjson|jsonl|txt|gz))+$", re.IGNORECASE)
_NAMED_ZONES = {"Z": 0, "UTC": 0, "GMT": 0, "EAT": 3}
_DAY_FOLDER = re.compile(r"(?:^|/)(2[01][0-9]{2})[-/]([0-9]{2})[-/]([0-9]{2})/$")


def parse_instant(key: str, zone: tzinfo) -> datetime | None:
    """The instant a key's name holds, UTC; None if it holds none, two, or one that can be read in two ways.

    Read: date and time, with `T`, `_`, `-` or a space between, `:` or `-` inside, with or without seconds and
    fractions, with `Z`, `UTC`, `GMT`, `EAT` or an offset, else in `zone`; `20260611T202433Z`; a folder for the day
    (`2026/06/11/20-24.json`); a word before or after. Not read: a date alone (midnight would place the file before all
    others of its day), `-0300` (an offset or a number?), two times (a span), and times that a change of clocks repeats
    or skips.
    """
    folder, _, name = unquote(key).rpartition("/")
    name = _EXTENSIONS.sub("", name)
    if re.match(r"[0-9]{2}[-:_][0-9]{2}(?![0-9])", name) and (folder_day := _DAY_FOLDER.search(f"{folder}/")):
        name = f"{'-'.join(folder_day.groups())}T{name}"
    match = _STAMP.search(name)
    if match is None or not _is_plain(match) or not _is_idle(name[: match.start()], match["rest"]):
        return None
    fraction = (match["fraction"] or match["thousandths"] or "").ljust(6, "0")[:6]
    year, month, day, hour, minute = (int(match[part]) for part in ("year", "month", "day", "hour", "minute"))
    try:
        written = _written_zone(match["zone"]) or zone
        here = datetime(year, month, day, hour, minute, int(match["second"] or 0), int(fraction), written)
        if here.utcoffset() != here.replace(fold=1).utcoffset():
            return None
        return here.astimezone(UTC)
    except ValueError:
        return None


def _is_plain(match: re.Match[str]) -> bool:
    """Digits without separators are a time only if the whole stamp has none, or after a T."""
    if not match["mark"]:
        return not match["dash"] and not match["colon"] and match["second"] is not None
    if match["mark"] not in "Tt" and not match["colon"]:
        return not match["dash"] and match["second"] is not None
    return True


def _is_idle(before: str, after: str) -> bool:
    """Whether the text around a stamp says nothing of time: no second date, no half of a day, no stray number."""
    if re.search(r"[0-9]{4}-?[0-9]{2}-?[0-9]{2}", before):
        return False
    word = re.fullmatch(r"[-_. ]+([a-z]{3,})(?:[-_. ]?[a-z0-9]{1,3}|[-_. ][a-z]+)*", after)
    return not after or bool(word) or bool(re.fullmatch(r"[-_. ]?\([0-9]{1,3}\)", after))


def _written_zone(written: str | None) -> tzinfo | None:
    """The zone as a stamp ends with it. Raises ValueError."""
    if not written:
        return None
    if (name := written.lstrip(" _-").upper()) in _NAMED_ZONES:
        return timezone(timedelta(hours=_NAMED_ZONES[name]))
    digits = re.sub(r"[^0-9]", "", written).ljust(4, "0")
    hours, minutes = int(digits[:2]), int(digits[2:])
    if hours > 14 or minutes > 59:
        raise ValueError(written)
    offset = timedelta(hours=hours, minutes=minutes)
    return timezone(-offset if written[0] == "-" else offset)
