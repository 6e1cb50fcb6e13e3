"""What works, what does not, and the next step: every piece a run needs, looked at one by one."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from typing import Final

from fleetfuel import errors
from fleetfuel.cli.checks_bucket import look_at_bucket
from fleetfuel.cli.checks_database import look_at_database
from fleetfuel.cli.finding import Finding, failed, guarded
from fleetfuel.settings import NEEDED, VARIABLES, Settings, temporary_folder

LOW: Final = 1 << 30
EMPTY: Final = 50 << 20
"""Free bytes of a disk: below `LOW` somebody should look, below `EMPTY` a run fails."""


def examine(read: Callable[[], Settings], *, quick: bool = False) -> Iterator[Finding]:
    """Every finding, as soon as it is known. `read` gives the settings, or raises.

    `quick` leaves out the bucket, the rules' examples and the folder of downloads.
    """
    try:
        settings = read()
    except errors.FleetfuelError as error:
        yield failed("settings", error)
        return
    yield from _settings(settings)
    yield from guarded("rules", lambda: _rules(settings, prove=not quick))
    yield _time_zone(settings)
    yield from guarded("database", lambda: look_at_database(settings))
    if not quick:
        yield from guarded("bucket", lambda: look_at_bucket(settings))
    yield from _disks(settings, quick=quick)


def _settings(settings: Settings) -> Iterator[Finding]:
    given = [name for name in VARIABLES if os.environ.get(name)]
    env_file = settings.env_file
    where = [f"{len(given)} in the environment"] if given else []
    where += [f"{env_file.resolve()}"] if env_file else []
    missing = [name for name in NEEDED if not getattr(settings, VARIABLES[name])]
    if missing:
        yield Finding(
            name="settings",
            said=f"not set: {', '.join(missing)}",
            next_step="Put them into the environment or into .env here; .env.example says what they hold.",
            exit_code=errors.MissingSetting.exit_code,
        )
    elif env_file and stat.S_IMODE(env_file.stat().st_mode) & 0o044:
        yield Finding(
            name="settings",
            said=f"{env_file.resolve()} can be read by others",
            next_step=f"It holds secrets: chmod 600 {env_file}",
        )
    else:
        yield Finding(name="settings", said=f"all that are needed: {' and '.join(where)}")
    if settings.remarks:
        said = "; ".join(settings.remarks)
        yield Finding(name="setting names", said=said, next_step="See .env.example for the settings there are.")


def _rules(settings: Settings, *, prove: bool) -> Iterator[Finding]:
    from fleetfuel.rules.book import load_rules

    rules = load_rules(settings.rules)
    if prove:
        from fleetfuel.records import judge

        judge.prove_rules(rules)
    where = settings.rules or "those that came with fleetfuel"
    yield Finding(
        name="rules", said=f"{len(rules.checks)} checks{', each proven by its examples' if prove else ''}; {where}"
    )
    yield _pump_prices(max((price.valid_to for price in rules.pump_prices), default=None), settings)


PRICES_ARE_OLD: Final = timedelta(days=61)
"""If the last known pump price ended longer ago than this, prices should be added."""


def _pump_prices(known_until: date | None, settings: Settings) -> Finding:
    today = datetime.now(settings.timezone).date()
    said = "none are known" if known_until is None else f"known until {known_until}"
    if known_until is not None and today - known_until <= PRICES_ARE_OLD:
        return Finding(name="pump prices", said=said)
    hint = "Add the cycles since then to rules/pump_prices.toml: later fills are only compared with the last known cap"
    return Finding(name="pump prices", said=said, next_step=hint)


def _time_zone(settings: Settings) -> Finding:
    here = datetime.now(settings.timezone)
    return Finding(
        name="time zone",
        said=f"{settings.timezone.key}, UTC{here.isoformat()[-6:]}: it is {here:%Y-%m-%d %H:%M} there",
    )


def _disks(settings: Settings, *, quick: bool) -> Iterator[Finding]:
    places = [("reports", settings.reports, "choose another folder with FLEETFUEL_REPORTS")]
    if not quick:
        places.append(("downloads", temporary_folder(), "let TMPDIR name another folder"))
    for name, folder, other in places:
        existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
        try:
            with tempfile.TemporaryFile(dir=existing):
                free = shutil.disk_usage(existing).free
        except OSError as error:
            yield Finding(
                name=name,
                said=f"{existing} cannot be written to: {error.strerror}",
                next_step=f"Give this user the right to write there, or {other}.",
                exit_code=errors.ReportUnwritable.exit_code,
            )
            continue
        said = f"{folder.absolute()} is writable, {free / 1e9:,.1f} GB free"
        hint = f"Free the disk (`fleetfuel prune` shows what is old), or {other}." if free < LOW else None
        code = errors.ReportUnwritable.exit_code if free < EMPTY else 0
        yield Finding(name=name, said=said, next_step=hint, exit_code=code)
