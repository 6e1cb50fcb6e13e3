"""The hourly case: the snapshot in the bucket is the one applied last, and nobody has touched the table since.

Its ETag tells the first without a download; an aggregate over the table tells the second without reading the rows.
Whatever alters a row, a load or an edit by hand, alters the aggregate, so an edit is still healed by the next run.
"""

from __future__ import annotations

from typing import Any, Final

from fleetfuel import __version__
from fleetfuel.feed import deliver
from fleetfuel.model import Counts
from fleetfuel.pipeline import Run
from fleetfuel.settings import Settings
from fleetfuel.table import state
from fleetfuel.table.database import Database

CARRIED: Final = ("records", "rejected", "stale", "superseded", "skipped")
"""Counts that say of the file what they said when it was read."""


def find_untouched(settings: Settings, connection: Database, run: Run, *, skips_proof: bool) -> dict[str, Any] | None:
    """The `--json` object of a run that has nothing to do; None where the snapshot has to be read.

    `skips_proof` takes the ETag's word for the table as well: an edit by hand then stays until the snapshot changes.
    """
    connection.begin("repeatable read", read_only=True)
    mark = state.read_snapshot_mark(connection)
    if mark is None or mark["rules_digest"] != run.rules.digest:
        return None
    listed = deliver.look_at_snapshot(settings)
    if (listed.key, listed.etag) != (mark["key"], mark["etag"]):
        return None
    if not skips_proof and mark["proof"] != state.read_proof(connection):
        return None
    applied = state.read_summary(connection, mark["run_id"])
    connection.rollback()
    if applied is None or applied["mode"] != "snapshot" or applied["read_as"] != "snapshot":
        return None
    return _same_again(applied, run, skips_proof=skips_proof)


def _same_again(applied: dict[str, Any], run: Run, *, skips_proof: bool) -> dict[str, Any]:
    counts = {name: applied["counts"][name] for name in CARRIED}
    counts["unchanged"] = counts["records"] - counts["rejected"] - counts["stale"] - counts["superseded"]
    table = "the table was not looked at" if skips_proof else "nobody has touched the table since"
    return applied | {
        "run_id": run.run_id,
        "applied": True,
        "counts": {name: counts.get(name, 0) for name in Counts.__slots__},
        "columns": {},
        "samples": {},
        "rules": {code: found for code, found in applied["rules"].items() if found["severity"] != "warn"},
        "guards": [],
        "report": None,
        "started_at": run.started_at.isoformat().replace("+00:00", "Z"),
        "refreshed": 0,
        "remarks": [
            f"the snapshot is the one that run {applied['run_id']} applied, and {table}: nothing was downloaded"
        ],
        "version": __version__,
    }
