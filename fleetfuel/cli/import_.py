"""The command that reads the feed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from fleetfuel.cli import options, runs


@click.command("import", cls=options.Command, short_help="Read the feed; show what would change, or do it.")
@click.option(
    "--snapshot", is_flag=True, help="Reconcile with the full snapshot in the bucket: what it lacks is soft-deleted."
)
@click.option("--changes", is_flag=True, help="Catch up with the change files since the watermark.")
@click.option(
    "--file",
    "files",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="PATH",
    help="Read local files. May be repeated.",
)
@click.argument("more_files", nargs=-1, type=click.Path(path_type=Path), metavar="")
@runs.applies
@click.option(
    "--as", "reading", type=click.Choice(["snapshot", "changes"]),
    help="How a file is read. As changes (the default for --file) it deletes nothing by absence.",
)  # fmt: skip
@runs.report
@runs.no_report
@runs.as_json
@click.option("--quiet", is_flag=True, help="Print nothing if nothing changed and nothing was refused.")
@click.option("--detailed-exitcode", is_flag=True, help="Exit 2 if a dry run found changes.")
@runs.strict
@runs.overriding
@click.option(
    "--as-of",
    type=options.Instant(),
    metavar="INSTANT",
    help="Dry runs: compare with the table as it was at this instant.",
)
@click.option(
    "--skip-bad-files",
    is_flag=True,
    help="Changes: go on after a file that cannot be read; it is remembered, and the watermark moves on.",
)
@click.option("--deep", is_flag=True, help="Compare every row's raw with the file, trusting no fingerprint.")
@click.option(
    "--skip-unchanged",
    is_flag=True,
    help="Snapshot: if its ETag is that of the last one applied, do not look at the table either.",
)
@click.option(
    "--reseed",
    type=options.Instant(knows_all=True),
    help="Changes: read again from this instant on (`all`: from the first file).",
)
@runs.wait
@runs.embedded
def import_command(**given: Any) -> None:
    """Read records from the bucket or a file, show what would change, and with --apply change it.

    \b
    fleetfuel import --snapshot                      what would the hourly job do now?
    fleetfuel import --snapshot --apply              the hourly job
    fleetfuel import --changes --apply               read the new change files
    fleetfuel import --file tuesday.json             what would this file do?
    fleetfuel import --file tuesday.json --as snapshot
    """
    outcome = runs.run_request(_request(given), given)
    if given["detailed_exitcode"] and not outcome.summary.applied and outcome.summary.has_changes:
        sys.exit(2)


def _request(given: dict[str, Any]) -> Any:
    paths = (*given["files"], *given["more_files"])
    if given["more_files"] and not given["files"]:
        raise click.UsageError(f"{given['more_files'][0]} is no option. A local file comes after --file.")
    modes = [
        name
        for name, is_given in (("snapshot", given["snapshot"]), ("changes", given["changes"]), ("file", paths))
        if is_given
    ]
    if len(modes) != 1:
        raise click.UsageError("Say what to read: --snapshot, --changes or --file PATH, one of them.")
    mode = modes[0]
    if given["reading"] == "snapshot" and mode == "changes":
        raise click.UsageError("Change files are never a complete snapshot: --as snapshot goes with --file.")
    if mode == "file" and given["reading"] == "snapshot" and len(paths) > 1:
        raise click.UsageError("A snapshot is one file: several would delete each other's records.")
    if mode != "changes" and (given["skip_bad_files"] or given["reseed"]):
        raise click.UsageError("--skip-bad-files and --reseed go with --changes.")
    if given["skip_unchanged"] and mode != "snapshot":
        raise click.UsageError("--skip-unchanged goes with --snapshot.")
    if given["skip_unchanged"] and given["deep"]:
        raise click.UsageError("--deep and --skip-unchanged contradict each other.")
    if given["force_old_snapshot"] and (mode == "changes" or given["reading"] == "changes"):
        raise click.UsageError("--force-old-snapshot goes with a snapshot.")
    if given["as_of"] and given["apply"]:
        raise click.UsageError("--as-of looks back: it goes with dry runs.")
    runs.demand_one_report(given)
    from fleetfuel.pipeline import Request

    return Request(
        mode=mode,  # type: ignore[arg-type]
        apply=given["apply"],
        paths=paths,
        reading=given["reading"],
        report=given["report"],
        wants_report=not given["no_report"],
        overrides=runs.overrides(given),
        as_of=given["as_of"],
        skip_bad_files=given["skip_bad_files"],
        strict=given["strict"],
        skip_unchanged=given["skip_unchanged"],
        trusts_nothing=given["deep"],
        reseed=given["reseed"],
        wait_seconds=given["wait_seconds"],
    )
