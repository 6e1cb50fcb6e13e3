"""The commands that write what was planned before: apply a saved plan, undo a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fleetfuel.cli import options, runs


@click.command("apply", cls=options.Command, short_help="Write exactly the plan of a dry run's report.")
@click.argument("report", type=click.Path(path_type=Path), metavar="REPORT")
@runs.as_json
@runs.strict
@runs.overriding
@click.option("--skip-conflicts", is_flag=True, help="The plan of an undo: rows written since stay as they are.")
@runs.wait
@runs.embedded
def apply_command(report: Path, **given: Any) -> None:
    """Write exactly what a dry run showed: its report is the plan. No bucket is needed.

    It is refused, and nothing is written, if a row it would write is no longer what it saw, if the rules differ,
    if a newer snapshot was applied since, or if it was applied before. If a guard refused the dry run, give the
    option here that lets it through.

    \b
    fleetfuel import --snapshot
    fleetfuel show reports/20260611T170502Z-3f9a1c --rows deletes
    fleetfuel apply reports/20260611T170502Z-3f9a1c
    """
    from fleetfuel.pipeline import Request

    runs.run_request(
        Request(
            mode="file",
            apply=True,
            plan=report,
            overrides=runs.overrides(given),
            strict=given["strict"],
            skip_conflicts=given["skip_conflicts"],
            wait_seconds=given["wait_seconds"],
        ),
        given,
    )


@click.command("undo", cls=options.Command, short_help="Give back what was before a run.")
@click.argument("run_id", metavar="RUN")
@runs.applies
@click.option("--skip-conflicts", is_flag=True, help="Rows written since stay as they are.")
@runs.report
@runs.no_report
@runs.as_json
@runs.max_deletes
@runs.max_updates
@runs.wait
@runs.embedded
def undo_command(run_id: str, **given: Any) -> None:
    """Give back what was before a run, row by row, from the history. An undo can be undone.

    RUN is a run's id, the beginning of one, or `last`. Rows that the run inserted become absent. Rows written since are
    conflicts. The list of records that the run applied is held: the next hour does not apply the same list again.

    \b
    fleetfuel undo last
    fleetfuel undo 20260611T170502Z-3f9a1c --apply
    """
    from fleetfuel.pipeline import Request

    runs.demand_one_report(given)
    runs.run_request(
        Request(
            mode="undo",
            apply=given["apply"],
            undo=run_id,
            report=given["report"],
            wants_report=not given["no_report"],
            overrides=runs.overrides(given),
            skip_conflicts=given["skip_conflicts"],
            wait_seconds=given["wait_seconds"],
        ),
        given,
    )
