"""The commands that write what was planned before: apply a saved plan, undo a run."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from fleetfuel import errors
from fleetfuel.cli import import_, options, ping, signals


@click.command("apply", cls=options.Command, short_help="Write exactly the plan of a dry run's report.")
@click.argument("report", type=click.Path(path_type=Path), metavar="REPORT")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the summary.")
@click.option("--strict", is_flag=True, help="Exit 65 if any record was rejected.")
@click.option("--max-deletes", type=options.AllowanceType(), help="Let this many soft deletes through, once.")
@click.option("--max-rejects", type=options.AllowanceType(), help="Let this many rejected records through, once.")
@click.option("--max-updates", type=options.AllowanceType(), help="Let this many updates through, once.")
@click.option(
    "--force-old-snapshot", is_flag=True, help="Apply the plan of a snapshot older than the last one applied."
)
@click.option("--allow-lost-columns", is_flag=True, help="Apply, although a field that every record had is gone.")
@click.option("--allow-undone", is_flag=True, help="Apply records that were applied and undone.")
@click.option("--skip-conflicts", is_flag=True, help="The plan of an undo: rows written since stay as they are.")
@click.option("--wait", "wait_seconds", type=options.Seconds(), default=0, help="Wait for another run to end.")
@click.option("--embedded", is_flag=True, help="Use the PostgreSQL that comes along instead of DATABASE_URL.")
def apply_command(report: Path, **given: Any) -> None:
    """Write exactly what a dry run showed: its report is the plan. No bucket is needed.

    It is refused, and nothing is written, if a row it would write is no longer what it saw, if the rules differ,
    if a newer snapshot was applied since, and if it was applied before. A guard's refusal needs the same option.

    \b
    fleetfuel import --snapshot
    fleetfuel show reports/20260611T170502Z-3f9a1c --rows deletes
    fleetfuel apply reports/20260611T170502Z-3f9a1c
    """
    from fleetfuel.pipeline import Request

    _run(
        Request(
            mode="file",
            apply=True,
            plan=report,
            overrides=_overrides(given),
            strict=given["strict"],
            skip_conflicts=given["skip_conflicts"],
            wait_seconds=given["wait_seconds"],
        ),
        given,
    )


@click.command("undo", cls=options.Command, short_help="Give back what was before a run.")
@click.argument("run_id", metavar="RUN")
@click.option("--apply", is_flag=True, help="Write to the database. Without it: a dry run, which writes nothing.")
@click.option("--skip-conflicts", is_flag=True, help="Rows written since stay as they are.")
@click.option("--report", type=click.Path(path_type=Path), help="Folder of the Parquet report.  [reports/<run id>/]")
@click.option("--no-report", is_flag=True, help="Leave no report.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the summary.")
@click.option("--max-deletes", type=options.AllowanceType(), help="Let this many soft deletes through, once.")
@click.option("--max-updates", type=options.AllowanceType(), help="Let this many updates through, once.")
@click.option("--wait", "wait_seconds", type=options.Seconds(), default=0, help="Wait for another run to end.")
@click.option("--embedded", is_flag=True, help="Use the PostgreSQL that comes along instead of DATABASE_URL.")
def undo_command(run_id: str, **given: Any) -> None:
    """Give back what was before a run: from the history, row by row; an undo can be undone.

    RUN is a run's id, the beginning of one, or `last`. Rows that the run inserted become absent. Rows written since are
    conflicts. The records that the run applied are held: the next hour does not apply the same list again.

    \b
    fleetfuel undo last
    fleetfuel undo 20260611T170502Z-3f9a1c --apply
    """
    from fleetfuel.pipeline import Request

    if given["no_report"] and given["report"]:
        raise click.UsageError("--report and --no-report contradict each other.")
    _run(
        Request(
            mode="undo",
            apply=given["apply"],
            undo=run_id,
            report=given["report"],
            wants_report=not given["no_report"],
            overrides=_overrides(given),
            skip_conflicts=given["skip_conflicts"],
            wait_seconds=given["wait_seconds"],
        ),
        given,
    )


def _overrides(given: dict[str, Any]) -> Any:
    from fleetfuel.plan.limits import Overrides

    names = ("max_deletes", "max_rejects", "max_updates", "force_old_snapshot", "allow_lost_columns", "allow_undone")
    return Overrides(**{name: given[name] for name in names if name in given})


def _run(request: Any, given: dict[str, Any]) -> None:
    settings = options.settings()
    with ExitStack() as stack:
        url = (
            import_.embedded(stack, settings)
            if given["embedded"]
            else settings.require_database_url(may_be_embedded=True)
        )
        from fleetfuel import pipeline
        from fleetfuel.cli import logs, progress

        logs.set_run(request.run_id)
        if request.apply:
            ping.begin(settings.ping_url, f"run {request.run_id}, {request.mode}")
        try:
            with progress.shown() as shown:
                outcome = pipeline.run(request, settings, url, shown)
        except errors.FleetfuelError as error:
            if not signals.interrupted.is_set():
                pipeline.record_failure(request, url, error)
            raise
    import_.conclude(outcome, given)
