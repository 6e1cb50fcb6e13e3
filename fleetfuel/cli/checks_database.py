"""What doctor checks in the database: server, migrations, schema, rights, devices, the last runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from fleetfuel import errors
from fleetfuel.cli.finding import Finding, clock, guarded
from fleetfuel.settings import Settings

if TYPE_CHECKING:
    from fleetfuel.table.database import Database

OLDEST_SERVER: Final = 15


def look_at_database(settings: Settings) -> Iterator[Finding]:
    """Each finding, as soon as it is known."""
    if not settings.database_url:
        return
    from fleetfuel.table import database

    with database.connect(settings.database_url, application_name="fleetfuel doctor") as connection:
        yield from _server(connection)
        looked = list(guarded("migrations", lambda: _migrations(connection)))
        yield from looked
        yield from guarded("schema", lambda: _schema(connection))
        if all(each.name != "rights" for each in looked):  # one row a name
            yield from guarded("rights", lambda: _rights(connection))
        yield from guarded("devices", lambda: _devices(connection))
        with contextlib.suppress(errors.SchemaNotReady, errors.PermissionDenied):  # said above
            yield from _mark(connection)
            yield from _last_runs(connection, settings)


def _mark(connection: Database) -> Iterator[Finding]:
    """A finding if a wrong clock set the mark of the snapshots."""
    from fleetfuel.table.standing import believed_marks, read_marks

    connection.begin(read_only=True)
    marks = read_marks(connection)
    mark = marks["snapshot"]
    if mark["watermark"] is None or "snapshot" in believed_marks(marks):
        return
    yield Finding(
        name="mark",
        said=f"the last snapshot stands at {mark['watermark']:%Y-%m-%d %H:%MZ}, in the future: it counts as none",
        next_step="The next snapshot sets it right: fleetfuel import --snapshot --apply",
    )


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
        hint = "The connection is not encrypted: add ?sslmode=verify-full&sslrootcert=system to DATABASE_URL."
    yield Finding(name="database", said=said, next_step=hint, exit_code=code)
    yield clock("database", server["now"], asked_at)


def _is_local(target: str) -> bool:
    return target.startswith(("localhost:", "127.", "::1"))


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
    missing = migrate.find_missing_rights(connection)
    if missing:
        yield Finding(
            name="rights",
            said=f"to migrate, this login lacks: {'; '.join(each.lacking for each in missing)}",
            next_step=f"As an administrator: {'; '.join(each.cure for each in missing)};",
            exit_code=errors.PermissionDenied.exit_code,
        )


def _schema(connection: Database) -> Iterator[Finding]:
    """Findings if the schema is not as the migrations made it, or a superuser owns it."""
    from fleetfuel.packaged import packaged
    from fleetfuel.table.fitness import demand_fitting_schema

    try:
        demand_fitting_schema(connection, packaged("migrations"))
    except errors.SchemaNotReady:  # said above
        return
    connection.begin(read_only=True)
    missing = [row["name"] for row in connection.rows("missing_objects")]
    said, steps = [], []
    if missing:
        more = f" and {len(missing) - 5:,} more" if len(missing) > 5 else ""
        said.append(f"missing: {', '.join(missing[:5])}{more}")
        steps.append("fleetfuel migrate makes them again.")
    owner = connection.rows("read_schema_owner")[0]
    if owner["is_superuser"]:
        said.append(f"it belongs to {owner['owner']}, a superuser, whose rights its functions have")
        steps.append("Let an ordinary role own it (README, Roles): migrate as that role, or reassign what is owned.")
    if said:
        yield Finding(
            name="schema",
            said="; ".join(said),
            next_step=" ".join(steps),
            exit_code=errors.SchemaNotReady.exit_code if missing else 0,
        )


def _rights(connection: Database) -> Iterator[Finding]:
    connection.begin(read_only=True)
    missing = [row["missing"] for row in connection.rows("read_missing_rights")]
    if missing:
        yield Finding(
            name="rights",
            said=f"lacking: {', '.join(missing)}",
            next_step="grant temporary on database … to fuel_ingest: loads stage their rows in temporary tables."
            if all("temporary" in each for each in missing)
            else "Grant this user the role fuel_ingest (README, Security).",
            exit_code=errors.PermissionDenied.exit_code,
        )
    for reader in connection.rows("read_reader_rights"):
        if not reader["may_look"]:
            yield Finding(
                name="readers",
                said=f"grafana_ro may not look into the schema reporting, which belongs to {reader['owner']}",
                next_step="As its owner: grant usage on schema reporting to grafana_ro;",
            )
    if not missing:
        yield Finding(name="rights", said="read and write as an import does")


def _devices(connection: Database) -> Iterator[Finding]:
    connection.begin(read_only=True)
    try:
        found = connection.rows("read_devices")[0]
    except errors.SchemaNotReady:
        yield Finding(name="devices", said="not looked at yet", next_step="fleetfuel migrate")
        return
    hint = None
    if found["is_broken"]:
        hint = f"So since {found['since']:%Y-%m-%d %H:%MZ}. Restore it; or if that is on purpose: fleetfuel migrate"
    elif not found["is_read"]:
        hint = "If it should be: the next import, or `fleetfuel migrate`, reads it as soon as it can."
    yield Finding(name="devices", said=found["said"].rstrip("."), next_step=hint)


def _last_runs(connection: Database, settings: Settings) -> Iterator[Finding]:
    from fleetfuel.report.health import judge_health
    from fleetfuel.rules.book import load_rules

    stale_after = timedelta(hours=load_rules(settings.rules).guards.stale_feed_hours)
    connection.begin(read_only=True)
    health = judge_health(connection.rows("read_health"), stale_after=stale_after)
    yield Finding(name="last runs", said=health.said, next_step=health.next_step)
