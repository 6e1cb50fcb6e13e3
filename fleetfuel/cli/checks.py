"""What works, what does not, and the next step: every piece a run needs, looked at one by one."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import textwrap
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from fleetfuel import errors
from fleetfuel.settings import VARIABLES, Settings, read_settings, temporary_folder

if TYPE_CHECKING:
    from fleetfuel.table.database import Database

LATE: Final = timedelta(hours=2)
"""An hourly feed, and an hourly run, older than this is late."""
SKEW: Final = timedelta(seconds=60)
"""Clocks further apart than this are worth setting right; the store refuses signatures at 15 minutes."""
LOW: Final = 1 << 30
EMPTY: Final = 50 << 20
"""Free bytes of a disk below which it is worth a look, and too few."""
OLDEST_SERVER: Final = 15
GAP_DAYS: Final = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one look found."""

    name: str
    said: str
    next_step: str | None = None
    """What to do about it; None where nothing is to be done."""
    exit_code: int = 0
    """What a run would end with because of it; 0 = a run can do its work."""

    @property
    def state(self) -> Literal["works", "look", "fails"]:
        """look: a run works, and yet somebody should know."""
        return "fails" if self.exit_code else "look" if self.next_step else "works"


def examine(*, quick: bool = False) -> Iterator[Finding]:
    """Every finding, as soon as it is known. `quick` asks nothing of the bucket, nor of the rules' examples."""
    try:
        settings = read_settings()
    except errors.FleetfuelError as error:
        yield _failed("settings", error)
        return
    yield from _settings(settings)
    yield from _guarded("rules", lambda: _rules(settings, prove=not quick))
    yield _time_zone(settings)
    yield from _guarded("database", lambda: _database(settings))
    if not quick:
        yield from _guarded("bucket", lambda: _bucket(settings))
    yield from _disks(settings, quick=quick)


def worst(findings: Iterable[Finding]) -> int:
    """The exit code: what only a person can mend (78, 77) before what may pass by itself (69)."""
    return max((finding.exit_code for finding in findings), default=0)


def render_finding(finding: Finding, *, width: int) -> str:
    """Name, state and what was found; the next step beneath."""
    start = f"{finding.name:<11} {finding.state:<5}  "
    lines = textwrap.wrap(
        finding.said, width, initial_indent=start, subsequent_indent=" " * len(start), break_on_hyphens=False
    )
    if finding.next_step:
        arrow = " " * len(start) + "→ "
        lines += textwrap.wrap(
            finding.next_step, width, initial_indent=arrow, subsequent_indent=" " * len(arrow), break_on_hyphens=False
        )
    return "\n".join(lines)


def _guarded(name: str, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """A look's findings; an error ends it and is a finding itself."""
    try:
        yield from look()
    except errors.FleetfuelError as error:
        yield _failed(name, error)


def _failed(name: str, error: errors.FleetfuelError) -> Finding:
    said, _, advice = str(error).partition("\n")
    advice = " ".join(advice.split()) or "Correct it, then run doctor again."
    return Finding(name=name, said=said, next_step=advice, exit_code=error.exit_code)


# --- what lies here -----------------------------------------------------------------------------------------------


def _settings(settings: Settings) -> Iterator[Finding]:
    given = [name for name in VARIABLES if os.environ.get(name)]
    env_file = Path(".env")
    where = [f"{len(given)} in the environment"] if given else []
    where += [f"{env_file.resolve()}"] if env_file.is_file() else []
    missing = [
        name
        for name in ("DATABASE_URL", "RUSTFS_ENDPOINT", "RUSTFS_ACCESS_KEY", "RUSTFS_SECRET_KEY")
        if not getattr(settings, VARIABLES[name])
    ]
    if missing:
        yield Finding(
            name="settings",
            said=f"not set: {', '.join(missing)}",
            next_step="Put them into the environment or into .env here; .env.example says what they hold.",
            exit_code=errors.MissingSetting.exit_code,
        )
    elif env_file.is_file() and stat.S_IMODE(env_file.stat().st_mode) & 0o044:
        yield Finding(
            name="settings",
            said=f"{env_file.resolve()} can be read by others",
            next_step="It holds secrets: chmod 600 .env",
        )
    else:
        yield Finding(name="settings", said=f"all that are needed: {' and '.join(where)}")


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


def _time_zone(settings: Settings) -> Finding:
    here = datetime.now(settings.timezone)
    said = f"{settings.timezone.key}, UTC{here.isoformat()[-6:]}: it is {here:%Y-%m-%d %H:%M} there"
    if here.utcoffset() == timedelta(hours=3):
        return Finding(name="time zone", said=said)
    hint = "Times without a zone are read in it. The feed's are East Africa Time: FLEETFUEL_TIMEZONE=Africa/Nairobi"
    return Finding(name="time zone", said=said, next_step=hint)


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


# --- the database -------------------------------------------------------------------------------------------------


def _database(settings: Settings) -> Iterator[Finding]:
    if not settings.database_url:
        return
    from fleetfuel.table import database

    with database.connect(settings.database_url, application_name="fleetfuel doctor") as connection:
        yield from _server(connection)
        yield from _guarded("migrations", lambda: _migrations(connection))
        yield from _guarded("rights", lambda: _rights(connection))
        yield from _guarded("devices", lambda: _devices(connection))
        with contextlib.suppress(errors.SchemaNotReady):  # said by the migrations above
            yield from _last_runs(connection)


def _server(connection: Database) -> Iterator[Finding]:
    asked_at = datetime.now(UTC)
    connection.begin(read_only=True)
    server = connection.rows("read_server")[0]
    said = f"PostgreSQL {server['version'].split()[0]}, {connection.target}"
    hint, code = None, 0
    if server["number"] < OLDEST_SERVER * 10_000:
        hint, code = f"fleetfuel needs PostgreSQL {OLDEST_SERVER} or later.", errors.ConfigurationError.exit_code
    elif server["is_replica"]:
        hint = "This is a replica, which nobody can write to: let DATABASE_URL name the primary."
        code = errors.ConfigurationError.exit_code
    elif server["is_superuser"]:
        hint = "This login is a superuser: a run needs only the role fuel_ingest (README, Security)."
    elif not server["is_encrypted"] and not _is_local(connection.target):
        hint = "The connection is not encrypted: add ?sslmode=verify-full to DATABASE_URL."
    yield Finding(name="database", said=said, next_step=hint, exit_code=code)
    yield _clock("database", server["now"], asked_at)


def _is_local(target: str) -> bool:
    return target.startswith(("localhost:", "127.", "::1"))


def _clock(whose: str, there: datetime, here: datetime) -> Finding:
    apart = here - there
    if abs(apart) < SKEW:
        return Finding(name="clock", said=f"agrees with the {whose}'s")
    seconds = abs(apart).total_seconds()
    said = f"{seconds / 60:,.0f} minutes {'ahead of' if apart > timedelta() else 'behind'} the {whose}'s"
    return Finding(name="clock", said=said, next_step="Set the clocks right (NTP): ages and guards are judged by them.")


def _migrations(connection: Database) -> Iterator[Finding]:
    from fleetfuel.packaged import packaged
    from fleetfuel.table import migrate

    plan = migrate.plan_migrations(connection, packaged("migrations"))
    if not plan.pending:
        yield Finding(name="migrations", said=f"{len(plan.applied)} applied, none pending")
        return
    yield Finding(
        name="migrations",
        said=f"{len(plan.applied)} applied, {len(plan.pending)} pending, from {plan.pending[0].file} on",
        next_step="fleetfuel migrate",
        exit_code=errors.SchemaNotReady.exit_code,
    )


def _rights(connection: Database) -> Iterator[Finding]:
    connection.begin(read_only=True)
    missing = [row["missing"] for row in connection.rows("read_missing_rights")]
    if not missing:
        yield Finding(name="rights", said="read and write as an import does")
        return
    yield Finding(
        name="rights",
        said=f"lacking: {', '.join(missing)}",
        next_step="Grant this user the role fuel_ingest (README, Security).",
        exit_code=errors.PermissionDenied.exit_code,
    )


def _devices(connection: Database) -> Iterator[Finding]:
    connection.begin(read_only=True)
    try:
        found = connection.rows("read_devices")[0]
    except errors.SchemaNotReady:
        yield Finding(name="devices", said="not looked at yet", next_step="fleetfuel migrate")
        return
    hint = None
    if found["is_broken"]:
        hint = f"So it is since {found['since']:%Y-%m-%d %H:%M} UTC. Restore it; if it is meant: fleetfuel migrate"
    elif not found["is_read"]:
        hint = "If it should be: the next import, or `fleetfuel migrate`, reads it as soon as it can."
    yield Finding(name="devices", said=found["said"].rstrip("."), next_step=hint)


def _last_runs(connection: Database) -> Iterator[Finding]:
    from fleetfuel.report.ledger import ago

    now = datetime.now(UTC)
    connection.begin(read_only=True)
    applied = {row["mode"]: row for row in connection.rows("read_last_runs")}
    newest = next(iter(connection.rows("read_runs", None, 1)), None)
    feeds = [applied[mode] for mode in ("snapshot", "changes") if mode in applied]
    said = (
        ", ".join(f"{row['mode']} applied {ago(now - row['finished_at'])} ago" for row in feeds)
        or "none was applied yet"
    )
    hint = None
    if newest and newest["status"] != "applied":
        said += f"; the last one was {newest['status']} (exit {newest['exit_code']})"
        hint = f"fleetfuel runs {newest['run_id']}"
    elif not feeds:
        hint = "fleetfuel import --snapshot shows what the first run would do."
    elif now - max(row["finished_at"] for row in feeds) > LATE:
        hint = "Does the scheduler run? Its log says why not; `fleetfuel runs` lists the runs."
    yield Finding(name="last runs", said=said, next_step=hint)


# --- the bucket ---------------------------------------------------------------------------------------------------


def _bucket(settings: Settings) -> Iterator[Finding]:
    if not (settings.endpoint and settings.access_key and settings.secret_key):
        return
    from fleetfuel.feed import bucket, deliver
    from fleetfuel.feed.gaps import describe_gaps
    from fleetfuel.report.ledger import ago

    try:
        listing = deliver.list_changes(settings)
    except errors.SourceNotFound as error:
        with bucket.open_bucket(settings) as store:
            names = ", ".join(store.bucket_names()) or "none"
        said, hint = str(error).splitlines()[0], f"RUSTFS_BUCKET names it. The keys see these buckets: {names}."
        yield Finding(name="bucket", said=said, next_step=hint, exit_code=error.exit_code)
        return
    there, here = None, datetime.now(UTC)
    with contextlib.suppress(errors.FleetfuelError), bucket.open_bucket(settings) as store:
        there = store.clock()  # what the keys may not ask is no fault: a run does not need it
    where = f"{settings.endpoint}, bucket {settings.bucket}"
    yield Finding(name="bucket", said=f"{where}: listed, {len(listing.files):,} change files")
    if there:
        yield _clock("bucket", there, here)

    def snapshot() -> Iterator[Finding]:
        found = deliver.look_at_snapshot(settings)
        age = here - found.modified_at
        said = f"{found.key}, {found.size / 1e6:,.1f} MB, written {ago(age)} ago"
        hint = "It is late: does the export job run?" if age > LATE else None
        yield Finding(name="snapshot", said=said, next_step=hint)

    def changes() -> Iterator[Finding]:
        newest = listing.files[-1]
        with deliver.fetch_changes(settings, [newest]) as delivery:
            bad = [each.reason for each in delivery.unreadable]
        if bad:
            raise errors.BadInput(key=newest.key, reason=f"{bad[0]}.")
        recent = [each.at for each in listing.files if each.at > here - timedelta(days=GAP_DAYS)]
        gaps = describe_gaps(recent)
        said = "; ".join(
            [f"the newest stands at {newest.at:%Y-%m-%d %H:%MZ}, {ago(here - newest.at)} ago, and can be read", *gaps]
        )
        hint = "It is late: does the export job run?" if here - newest.at > LATE else None
        hint = hint or ("The next snapshot makes up for hours without a file." if gaps else None)
        yield Finding(name="changes", said=said, next_step=hint)

    yield from _guarded("snapshot", snapshot)
    if listing.files:
        yield from _guarded("changes", changes)
    else:
        yield Finding(name="changes", said="no change file; the snapshot alone will do")
