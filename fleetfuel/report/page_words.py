"""Pure: what happened in a run, in the words of its page: verdict, facts, the next commands, counts."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from fleetfuel.printable import counted
from fleetfuel.records.values import EAST_AFRICA
from fleetfuel.report.saved import SavedReport
from fleetfuel.report.words import ago

DID: Final = {
    "soft_deletes": ("soft-delete", "soft-deleted"),
    "inserts": ("insert", "inserted"),
    "updates": ("update", "updated"),
    "restores": ("restore", "restored"),
}


def verdict(run: Mapping[str, Any]) -> Mapping[str, str]:
    """A word, a headline and a sentence."""
    counts = run["counts"]
    done = [f"{words[bool(run['applied'])]} {counts[name]:,}" for name, words in DID.items() if counts[name]]
    what = _joined(done)
    if run["guards"] and not run["applied"]:
        said = f"It would {what}." if done else "It would change no row."
        return {"kind": "refused", "title": "Refused: nothing was loaded", "said": said}
    if not done:
        said = "The table holds what the feed says."
        return {"kind": "same", "title": "No changes" + ("" if run["applied"] else " (dry run)"), "said": said}
    if run["applied"]:
        return {"kind": "applied", "title": "Applied", "said": f"It {what}."}
    if run["to_apply"]:
        said = f"It was to {what}. To see whether it did: fleetfuel runs {run['run_id']}"
        return {"kind": "dry", "title": "Written before the load, which did not end", "said": said}
    return {"kind": "dry", "title": "Dry run: nothing was written", "said": f"It would {what}."}


def _joined(parts: Sequence[str]) -> str:
    if not parts:
        return ""
    records = [*parts[:-1], parts[-1] + " records"]
    return records[0] if len(records) == 1 else f"{', '.join(records[:-1])} and {records[-1]}"


def facts(run: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Who, when, from where, how old, with what."""
    mode = run["mode"] if run["mode"] != "file" else f"file, read as {run['read_as']}"
    yield "Run", f"{run['run_id']} ({mode})"
    took = f", in {run['seconds']:,.1f} s" if run["seconds"] is not None else ""
    yield "When", local_moment(run["started_at"]) + took
    if run["role"]:
        yield "Who", f"{run['role']}, logged in to the database"
    yield "Source", str(run["source"])
    if run["source_at"]:
        age = _instant(run["started_at"]) - _instant(run["source_at"])
        yield "As of", f"{local_moment(run['source_at'])}, {ago(age)} before the run"
    if run["as_of"]:
        yield "Table", f"as it was at {local_moment(run['as_of'])}"
    held = counted(run["counts"]["records"], "record")
    yield "It holds", held + (f" and {counted(run['counts']['skipped'], 'marker')}" if run["counts"]["skipped"] else "")
    yield "Table before", counted(run["live_before"], "live row")
    yield "Release", f"fleetfuel {run['version']}, rules {str(run['rules_digest'])[:12]}"
    if run["checksum"]:
        yield "Checksum", str(run["checksum"])
    for name, key in (("Plan of", "planned_by"), ("Applied by", "applied_by"), ("It undoes", "undoes")):
        if run[key]:
            who = f", logged in as {run['applied_role']}" if key == "applied_by" and run["applied_role"] else ""
            yield name, f"run {run[key]}{who}"
    if run["conflicts"]:
        yield "Conflicts", f"{counted(run['conflicts'], 'row')} written since, left as written"


def commands(report: SavedReport) -> Iterator[tuple[str, str]]:
    """(what it is for, the command) for what somebody would type next; none if there is nothing to do, or if a rule has
    to be changed first."""
    run = report.run
    options = _overrides(run["guards"])
    changes = any(run["counts"][name] for name in DID)
    if run["applied"] or run["as_of"] or options is None or not (changes or run["guards"]):
        return
    if not any(option.startswith("--as") for option in options):
        skips = ["--skip-conflicts"] if run["conflicts"] else []
        why = "If that is right, this lets it through, once, as it is here:" if run["guards"] else "To do exactly this:"
        yield why, " ".join(["fleetfuel apply", shlex.quote(str(report.folder)), *options, *skips])
    if run["guards"] and run["mode"] != "undo":
        yield "The feed may have moved on. To let through what it holds by then:", _import(run, options)


def _import(run: Mapping[str, Any], options: Sequence[str]) -> str:
    words = ["fleetfuel", "import"]
    if run["mode"] == "file":
        words += [word for file in run["files"] for word in ("--file", str(file["key"]))]
    else:
        words += [f"--{run['mode']}"]
    is_default = run["read_as"] == ("snapshot" if run["mode"] == "snapshot" else "changes")
    given = "" if is_default or any(option.startswith("--as") for option in options) else f"--as {run['read_as']}"
    return " ".join([*map(shlex.quote, words), *filter(None, [given]), "--apply", *options])


def _overrides(guards: Sequence[Mapping[str, Any]]) -> list[str] | None:
    """The options that let the run through all of its guards, each with the greatest number needed; None if a rule has
    to be changed instead."""
    options: dict[str, str] = {}
    for guard in guards:
        option = str(guard["override"]).partition(" (")[0]
        if not option.startswith("--"):
            return None
        name, _, number = option.partition(" ")
        if name not in options or (number.isdigit() and int(number) > int(options[name].partition(" ")[2])):
            options[name] = option
    return [*options.values()]


def counted_rows(run: Mapping[str, Any]) -> list[tuple[str, int, str]]:
    """(what, how many, detail), soft deletes first."""
    counts = run["counts"]
    absent, flagged = counts["soft_deletes_absent"], counts["soft_deletes_flagged"]
    detail = [f"{absent:,} gone from the snapshot"] * bool(absent) + [f"{flagged:,} marked deleted"] * bool(flagged)
    rows = [
        ("soft deletes", counts["soft_deletes"], ", ".join(detail)),
        ("inserts", counts["inserts"], ""),
        ("updates", counts["updates"], ""),
        ("restores", counts["restores"], ""),
        ("unchanged", counts["unchanged"], ""),
        ("stale", counts["stale"], "older than what the table holds: left alone"),
        ("superseded", counts["superseded"], "an older version of a record in the same feed"),
        ("rejected", counts["rejected"], "not loaded, kept whole in the report"),
        ("flagged", counts["warned"], "loaded, and worth a look"),
    ]
    always = ("soft deletes", "inserts", "updates", "unchanged", "rejected")
    return [row for row in rows if row[1] or row[0] in always]


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def local_moment(text: str | None) -> str:
    """An instant in UTC, and the time of day in East Africa."""
    if text is None:
        return "never"
    moment = _instant(text)
    return f"{moment:%Y-%m-%d %H:%M:%SZ} ({moment.astimezone(EAST_AFRICA):%H:%M} EAT)"
