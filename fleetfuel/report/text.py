"""Pure: a summary → the text that an operator reads. It is made from the summary alone, so a saved report shows exactly
what the run showed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final

from fleetfuel.printable import counted
from fleetfuel.report.summary import Summary
from fleetfuel.report.words import FILE_WORDS, moment, wrapped

SHOWN: Final = 8
"""A section shows at most so many lines; the report holds them all."""

READ: Final = ("applied", "planned")
"""Statuses of files whose records are loaded, or would be."""

REJECTING: Final = ("reject", "stop")


def render_summary(run: Summary, *, width: int = 100, next_command: str | None = None) -> str:
    """The object of a run as text, at most `width` columns wide if values allow."""
    blocks = [
        _head(run),
        _counts(run),
        _section("Files", _files(run), width),
        _section("Which", _which(run, width), width),
        _section("Changed fields", _changed(run, width), width),
        _section("Rejected", _rules(run, rejected=True), width),
        _section("Flagged, and loaded", _rules(run, rejected=False), width),
        _section("Noticed", run.remarks, width),
        _section("Conflicts", _conflicts(run), width),
        _section("Let through, once" if run.applied else "REFUSED: nothing is loaded", _guards(run), width, cap=None),
        _foot(run, next_command),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _head(run: Summary) -> str:
    done = "applied" if run.applied else "REFUSED" if run.guards else "dry run: nothing written"
    if run.to_apply and not run.applied and not run.guards:
        done = "written before the load, which did not end"
    mode = run.mode if run.mode != "file" else f"file, read as {run.read_as}"
    if run.planned_by:
        done += f", the plan of run {run.planned_by}"
    if run.as_of:
        done += f", against the table as it was {moment(run.as_of)}"
    lines = [f"fleetfuel {mode} · {done} · run {run.run_id}", run.source]
    if run.mode == "changes":
        lines.append(_catch_up(run))
    elif run.undoes:
        lines.append(f"gives back what was before run {run.undoes}")
    elif run.source_at:
        lines.append(f"as of {moment(run.source_at)}, {_records(run)}")
    return "\n".join(lines)


def _catch_up(run: Summary) -> str:
    files = [file for file in run.files if file.status in (*READ, "empty")]
    before, after = run.watermark_before, _watermark_after(run)
    moved = f"watermark {moment(before)} → {moment(after)}"
    if not files and before == after:
        return f"no new change file; the watermark stays at {moment(before)}"
    if not files:
        return f"no change file that can be read; {moved}"
    span = files[0].key if len(files) == 1 else f"from {files[0].key}\nto   {files[-1].key}"
    return f"{counted(len(files), 'file')}, {_records(run)}\n{span}\n{moved}"


def _watermark_after(run: Summary) -> datetime | None:
    """The watermark after the run, as the ledger has it: a quarantined file moves it, a file that holds only markers
    does not, and no file moves it beyond now."""
    before = run.watermark_before
    reached = max(
        (min(file.at, run.started_at) for file in run.files if file.status in (*READ, "quarantined")), default=None
    )
    if reached is None or (before is not None and reached < before <= run.started_at):
        return before
    return reached


def _files(run: Summary) -> list[str]:
    """A line for each change file; if one could not be read, why."""
    if run.mode != "changes" or (len(run.files) < 2 and all(not file.reason for file in run.files)):
        return []
    lines = []
    for file in run.files:
        name = file.key.rsplit("/", 1)[-1]
        counted = [(count, file.counts.get(count, 0)) for count in FILE_WORDS]
        said = ", ".join(f"{rows:,} {FILE_WORDS[count]}" for count, rows in counted if rows)
        lines.append(f"{name:<32}{file.status + ': ' + file.reason if file.reason else said or 'no record'}")
    return lines


def _records(run: Summary) -> str:
    counts = run.counts
    markers = f" and {counted(counts.skipped, 'marker')}" if counts.skipped else ""
    return counted(counts.records, "record") + markers


def _counts(run: Summary) -> str:
    counts = run.counts
    details = {
        "soft_deletes": _listed(
            {
                ("inserted by that run" if run.undoes else "gone from the snapshot"): counts.soft_deletes_absent,
                "marked deleted": counts.soft_deletes_flagged,
            }
        ),
        "unchanged": _listed({"stale": counts.stale, "superseded": counts.superseded}),
        "warned": "of the records read anew" if counts.warned else "",
    }
    rows = [
        (label, getattr(counts, key), details.get(key, ""))
        for label, key in (
            ("soft deletes", "soft_deletes"),
            ("inserts", "inserts"),
            ("updates", "updates"),
            ("restores", "restores"),
            ("unchanged", "unchanged"),
            ("rejected", "rejected"),
            ("flagged", "warned"),
        )
        if getattr(counts, key) or key in ("soft_deletes", "inserts", "updates", "unchanged") or details.get(key)
    ]
    lines = [f"  {label:<13}{number:>10,}  {detail}".rstrip() for label, number, detail in rows]
    return "\n".join(["No changes.", *lines] if not run.has_changes else lines)


def _listed(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in numbers.items() if number)


def _which(run: Summary, width: int) -> list[str]:
    """A few of the rows that go and that come: "which records?" is the first question."""
    lines = []
    for name, label in (("soft_deletes", "soft deletes"), ("inserts", "inserts")):
        shown = [
            f"{each.id} {_short(each.plate or '(no plate)')} {each.day}".rstrip()
            for each in run.row_samples.get(name, [])
        ]
        if shown:
            more = getattr(run.counts, name) - len(shown)
            lines.append(_fitting(f"{label:<16}", [*shown, *([f"{more:,} more"] if more > 0 else [])], width - 2))
    return lines


def _changed(run: Summary, width: int) -> list[str]:
    lines = []
    for column, rows in sorted(run.columns.items(), key=lambda each: -each[1]):
        shown = [
            f"{_value(sample.before)} → {_value(sample.after)}, {sample.plate} {sample.day}".rstrip()
            for sample in run.samples.get(column, [])
        ]
        lines.append(_fitting(f"{column:<16}{rows:>8,}", shown, width - 2))
    return lines


def _fitting(start: str, parts: list[str], width: int) -> str:
    """`start` and as many of the parts as fit into the width, one at least."""
    line = start
    for number, part in enumerate(parts):
        longer = f"{line}{'   ' if number == 0 else ' · '}{part}"
        if number and len(longer) > width:
            break
        line = longer
    return line


def _value(text: str) -> str:
    """A JSON value for people: commas between thousands, long texts cut, strings in quotes only if they look like
    numbers."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # a whole number of thousands of digits, brackets without end
        value = text
    if isinstance(value, bool) or value is None:
        return text
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return text
    if isinstance(value, str) and value.strip() and not value.strip().replace(".", "").replace(",", "").isdigit():
        return _short(value)
    return _short(text)


def _short(text: str, most: int = 32) -> str:
    """At most so many characters on one line; a single long word is cut, too."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1].rstrip()}…"


def _rules(run: Summary, *, rejected: bool) -> list[str]:
    return [
        f"{code:<28}{found.rows:>8,}"
        for code, found in sorted(run.rules.items(), key=lambda each: (-each[1].rows, each[0]))
        if (found.severity in REJECTING) == rejected
    ]


LOOK_FIRST: Final = {"empty_snapshot": "  look at the export first: it is hardly ever meant\n"}
"""Guards that should seldom be overridden → a hint."""


def _guards(run: Summary) -> list[str]:
    return [
        f"{guard.code}: {guard.seen}\n  limit: {guard.limit}\n"
        f"{LOOK_FIRST.get(guard.code, '')}  to let it through once: {guard.override}"
        for guard in run.guards
    ]


def _conflicts(run: Summary) -> list[str]:
    if not run.conflicts:
        return []
    rows = "1 row that it wrote was" if run.conflicts == 1 else f"{run.conflicts:,} rows that it wrote were"
    return [f"{rows} written since; notices.parquet of the report lists them"]


def _section(title: str, lines: list[str], width: int, cap: int | None = SHOWN) -> str:
    if not lines:
        return ""
    shown = [wrapped for line in lines[:cap] for wrapped in _wrapped(line, width)]
    more = [f"  … {len(lines) - cap:,} more"] if cap and len(lines) > cap else []
    return "\n".join([title, *shown, *more])


def _wrapped(text: str, width: int) -> Iterator[str]:
    for line in text.split("\n"):
        indent = "  " + " " * (len(line) - len(line.lstrip()))
        yield from wrapped(line, width, first="  ", then=indent + "  ") or [""]


def _foot(run: Summary, next_command: str | None) -> str:
    lines = [f"Report  {run.report}"] if run.report else []
    if next_command:
        lines.append(f"Next    {next_command}")
    return "\n".join(lines)
