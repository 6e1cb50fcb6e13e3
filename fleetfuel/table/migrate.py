"""Bring the database up to this version: the files of `migrations/` in order, then `rules/` into their tables."""

from __future__ import annotations

import dataclasses
import datetime
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from fleetfuel import errors
from fleetfuel.model.progress import Progress, silence
from fleetfuel.rules.book import Rules
from fleetfuel.rules.rows import rule_rows
from fleetfuel.table import restore
from fleetfuel.table.database import Database
from fleetfuel.table.fitness import demand_no_row_security
from fleetfuel.table.migration_files import MigrationFile, read_migrations
from fleetfuel.table.statements import named_sql


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedMigration:
    """One line of the ledger fuel.schema_migrations."""

    file: str
    """The name of the file."""
    checksum: str
    """Hex SHA-256 of its text when it was applied."""
    applied_at: datetime.datetime
    """When it was applied, UTC."""
    milliseconds: int
    """How long it took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationPlan:
    """What was applied, and what is to be applied."""

    files: tuple[MigrationFile, ...]
    """Every file of the folder, in order."""
    applied: tuple[AppliedMigration, ...]
    """The ledger: the first of the files, unchanged since."""

    @property
    def pending(self) -> tuple[MigrationFile, ...]:
        """The files still to be applied, in order."""
        return self.files[len(self.applied) :]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowChanges:
    """How many rows of a rules table a sync changed."""

    inserted: int
    """Rows that are new."""
    updated: int
    """Rows whose key was there with other values."""
    deleted: int
    """Rows the rules no longer hold."""

    @property
    def total(self) -> int:
        """All of them."""
        return self.inserted + self.updated + self.deleted


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationReceipt:
    """What was done, all of it committed."""

    applied: tuple[AppliedMigration, ...]
    """The files applied by this run."""
    rules: Mapping[str, RowChanges]
    """The rules tables that changed, by name."""
    rederived: int | None
    """Records whose derived columns changed; None if there was no reason to derive them again."""
    devices: str | None
    """What was found of the vehicles' devices, in words; None if no migration has made their copy yet."""
    refreshed: int
    """Vehicles whose stored facts were stale and are computed anew."""
    rights: tuple[str, ...]
    """What was said while granting rights."""
    restored: str | None = None
    """Views, functions, triggers and indexes that were missing and are made again, in words."""

    @property
    def is_empty(self) -> bool:
        """Whether everything was up to date."""
        return not (self.applied or self.rules or self.rederived or self.refreshed or self.restored)


NOTHING_DONE: Final = MigrationReceipt(applied=(), rules={}, rederived=None, devices=None, refreshed=0, rights=())


def plan_migrations(database: Database, folder: Path) -> MigrationPlan:
    """Compare the files of `folder` with the ledger. Raises `MigrationError` if they cannot be applied in order."""
    return _planned(read_migrations(folder), _read_ledger(database))


def require_current(database: Database, folder: Path) -> None:
    """Refuse a database that an earlier or a later release migrated. It reads the ledger of migrations, which has to
    exist, in the open transaction.

    Raises `SchemaNotReady` and `MigrationError`.
    """
    plan = _planned(read_migrations(folder), _ledger_lines(database))
    if plan.pending:
        raise errors.SchemaNotReady(reason=f"{plan.pending[0].file} is not applied")


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingRight:
    """What a login lacks to migrate."""

    lacking: str
    """What it may not do."""
    cure: str
    """The statement that gives it the right."""


def find_missing_rights(database: Database) -> tuple[MissingRight, ...]:
    """What this login would have to do and may not; nothing for an owner."""
    database.begin(read_only=True)
    found = database.rows("read_migration_needs")
    database.rollback()
    return tuple(MissingRight(lacking=row["lacking"], cure=row["cure"]) for row in found)


def apply_migrations(
    database: Database, plan: MigrationPlan, rules: Rules, *, wait_seconds: float = 60, progress: Progress = silence
) -> MigrationReceipt:
    """Apply the pending files, one transaction each, then sync the rules in another.

    Rights are checked first. A login that lacks some gets `NOTHING_DONE` if there is nothing to do. The run lock is
    held all the time, in a transaction of a second connection; a migrate that waited for it applies only what is still
    pending then.
    Raises `PermissionDenied`, `AnotherRun`, `MigrationError`, and what `database` raises. A file that fails leaves
    nothing of itself; the files before it stay applied.
    """
    missing = find_missing_rights(database)
    if missing:
        if not plan.pending and _is_synced(database, plan, rules):
            return NOTHING_DONE
        raise errors.PermissionDenied(
            what=f"Migrating, from {plan.pending[0].file} on," if plan.pending else "Syncing the rules",
            reason=f"this login may not {'; nor '.join(each.lacking for each in missing)}",
            next_step=f"Nothing was applied. As an administrator: {'; '.join(each.cure for each in missing)};",
        )
    database.begin()
    if not database.rows("has_migration_ledger")[0]["present"]:
        restore.demand_room(database)
    _read_ledger(database, create=True)
    with database.second_connection() as holder:
        holder.take_lock(wait_seconds=wait_seconds)
        ledger = _read_ledger(database)
        if ledger and (secured := database.rows("read_fitness")[0]["secured"]):
            demand_no_row_security(secured)
        restored = restore.restore_objects(database)
        pending = _planned(plan.files, ledger).pending
        applied: list[AppliedMigration] = []
        for number, file in enumerate(pending):
            progress("migrate", number, len(pending) + 1)
            applied.append(_apply(database, file))
        progress("migrate", len(pending), len(pending) + 1)
        receipt = _sync(database, rules, tuple(applied), [*ledger, *applied])
        restore.remember_objects(database, plan.files)
        receipt = dataclasses.replace(receipt, refreshed=_refresh_facts(database), restored=restored)
        progress("migrate", len(pending) + 1, len(pending) + 1)
        return receipt


def _is_synced(database: Database, plan: MigrationPlan, rules: Rules) -> bool:
    database.begin(read_only=True)
    known = {row["file"]: row["digest"] for row in database.rows("read_rules_state")}
    database.rollback()
    return bool(plan.applied) and known == _synced(rules, plan.applied)


def _synced(rules: Rules, ledger: Sequence[AppliedMigration]) -> dict[str, str]:
    return {**rules.file_digests, "migrations": ledger[-1].checksum}


def _read_ledger(database: Database, *, create: bool = False) -> tuple[AppliedMigration, ...]:
    """The ledger's lines in order; none if it does not exist, in which case `create` makes it."""
    database.begin(read_only=True)
    if database.rows("has_migration_ledger")[0]["present"]:
        lines = _ledger_lines(database)
        database.rollback()
        return lines
    if create:
        database.script(named_sql("create_migration_ledger"))
        database.commit()
    return ()


def _ledger_lines(database: Database) -> tuple[AppliedMigration, ...]:
    return tuple(AppliedMigration(**row) for row in database.rows("read_migration_ledger"))


def _planned(files: tuple[MigrationFile, ...], applied: tuple[AppliedMigration, ...]) -> MigrationPlan:
    """The plan, if the ledger holds the first of the files, unchanged."""
    by_name = {file.file: file for file in files}
    for line in applied:
        on = f"{line.applied_at:%Y-%m-%d %H:%MZ}"
        if line.file not in by_name:
            raise errors.MigrationError(
                file=line.file,
                reason=f"applied on {on}, but not among the migrations here.",
                next_step="Use the fleetfuel that migrated this database, or a later one; nothing was applied.",
            )
        if by_name[line.file].checksum != line.checksum:
            raise errors.MigrationError(
                file=line.file,
                reason=f"edited since it was applied on {on}.",
                next_step="Restore the file and put the change into a new migration; nothing was applied.",
            )
    for file, line in zip(files, applied, strict=False):
        if file.file != line.file:
            raise errors.MigrationError(
                file=file.file,
                reason=f"not applied, though {line.file} after it is.",
                next_step="Give it a number after the last one applied; nothing was applied.",
            )
    return MigrationPlan(files=files, applied=applied)


def _apply(database: Database, file: MigrationFile) -> AppliedMigration:
    """One file and its line in the ledger, in one transaction."""
    started = time.monotonic()
    try:
        database.script(file.text)
    except (errors.Bug, errors.SchemaNotReady, errors.WriteConflict) as error:
        raise errors.MigrationError(
            file=file.file,
            reason=f"refused by the database: {error.facts['reason']}.",
            next_step="Nothing of it was kept; the files before it stay applied. Correct it and repeat the command.",
        ) from error
    milliseconds = round((time.monotonic() - started) * 1000)
    line = AppliedMigration(**database.rows("record_migration", file.file, file.checksum, milliseconds)[0])
    database.commit()
    return line


_DERIVING: Final = frozenset({"feed_rule", "source_field", "fuel_type_alias", "department_alias", "known_vehicle"})
"""The rules tables on which derived columns depend."""


def _sync(
    database: Database, rules: Rules, applied: tuple[AppliedMigration, ...], ledger: Sequence[AppliedMigration]
) -> MigrationReceipt:
    """Rules into their tables and what follows from them, in one transaction.

    What was synced is remembered together with the last migration: if the sync after a migration fails, the next run
    derives the records again, though it has no migration left to apply.
    """
    database.begin()
    changes = {
        table: RowChanges(**database.rows("sync_rules", f"fuel.{table}", json.dumps(rows))[0])
        for table, rows in rule_rows(rules).items()
    }
    changed = {table: change for table, change in changes.items() if change.total}
    moved = {row["file"] for row in database.rows("record_rules_state", json.dumps(_synced(rules, ledger)))}
    rederived = None
    if "migrations" in moved or changed.keys() & _DERIVING:
        _call(database, "rebuild_reader")
        rederived = next(iter(_call(database, "rederive")), None)
    devices = _copy_devices(database)
    rights = _call(database, "grant_rights")
    database.commit()
    return MigrationReceipt(
        applied=applied,
        rules=changed,
        rederived=None if rederived is None else int(rederived),
        devices=devices,
        refreshed=0,
        rights=tuple(line for said in rights for line in said.splitlines()),
    )


FILLS_A_TRANSACTION: Final = 200_000
"""Fills whose stored facts are computed anew in one transaction."""


def _refresh_facts(database: Database) -> int:
    """Compute the stored facts of all stale vehicles anew, in several transactions; how many vehicles these were."""
    database.begin()
    if not database.rows("has_function", "fuel.refresh_fill_facts(bigint)")[0]["present"]:
        return 0
    vehicles, done = 0, database.rows("refresh_fill_facts", FILLS_A_TRANSACTION)[0]
    while done["vehicles"]:
        vehicles += done["vehicles"]
        database.commit()
        database.begin()
        done = database.rows("refresh_fill_facts", FILLS_A_TRANSACTION)[0]
    if vehicles:
        database.execute("analyze_fill_facts")
    database.commit()
    return vehicles


def _copy_devices(database: Database) -> str | None:
    """Copy the devices as they are now: after a migrate, a table or a column that is gone counts as gone on purpose."""
    if not database.rows("has_function", "fuel.copy_devices(boolean)")[0]["present"]:
        return None
    return str(database.rows("copy_devices", True)[0]["said"])  # noqa: FBT003


def _call(database: Database, function: Literal["rebuild_reader", "rederive", "grant_rights"]) -> list[str]:
    """What `fuel.<function>()` says, row by row; nothing if no migration has brought the function yet."""
    if not database.rows("has_function", f"fuel.{function}()")[0]["present"]:
        return []
    return [row["said"] for row in database.rows(f"call_{function}") if row["said"] is not None]
