"""Pure: the rules' checks, run by Pandera over rows. Only this module imports Pandera. Bad data is a value here, never
an error.

If a check itself fails, that is a bug (`Bug`): Pandera reports it without a row.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final

import polars as pl

from fleetfuel import errors
from fleetfuel.model.files import SourceFile
from fleetfuel.model.records import Verdict
from fleetfuel.records import envelope
from fleetfuel.records.rows import REJECTED, TYPED, columns, index_records, read_rows
from fleetfuel.rules.book import Rules
from fleetfuel.rules.entries import Check
from fleetfuel.rules.fields import FLAGS, READ

if TYPE_CHECKING:
    import pandera.polars as pa

NOTICES: Final = columns(
    {
        "file": pl.UInt32,
        "position": pl.UInt32,
        "id": pl.Int64,
        "rule": pl.String,
        "severity": pl.String,
        "field": pl.String,
        "value": pl.String,  # as the feed wrote it
        "reason": pl.String,
    }
)


def part_sound(rows: pl.DataFrame, rules: Rules) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows (`TYPED`) that pass every check, and the others, for `validate_rows`. One pass over the rows."""
    # A delete message says nothing of the fill.
    passes = pl.all_horizontal(pl.lit(value=True), *(_passes(check) for check in rules.checks)) | pl.col("is_delete")
    is_sound = rows.select(passes).to_series()
    return (rows, rows.clear()) if is_sound.all() else (rows.filter(is_sound), rows.filter(~is_sound))


def validate_rows(rows: pl.DataFrame, rules: Rules) -> Verdict:
    """Judge rows (`TYPED`): accepted with `warned`, rejected whole, and a notice a row and check it fails.

    It takes a pass over the rows for each check: of many rows, let `part_sound` find the few that need it.
    """
    notices = _notices(rows, _failures(rows, rules), rules)
    rejecting = notices.filter(pl.col("severity").is_in(["reject", "stop"]))
    rejected = rejecting.unique(["file", "position"], keep="first", maintain_order=True)
    aside = rows.join(rejected, on=["file", "position"], how="semi")
    accepted = rows.join(aside, on=["file", "position"], how="anti", maintain_order="left")
    warned = notices.filter(severity="warn").select("file", "position").unique().with_columns(warned=True)
    return Verdict(
        accepted=accepted.join(warned, on=["file", "position"], how="left", maintain_order="left").with_columns(
            pl.col("warned").fill_null(value=False)
        ),
        rejected=rejected.select(REJECTED.names()),
        notices=notices,
    )


def prove_rules(rules: Rules) -> None:
    """Run every check's own examples. Raises `RulesError`, with file and line, for a check that disagrees with them."""
    examples = [
        (check, example, example in check.bad) for check in rules.checks for example in (*check.good, *check.bad)
    ]
    failures = _failures(_example_rows([example for _, example, _ in examples], rules), rules)
    failed = set(failures.iter_rows())
    for index, (check, example, should_fail) in enumerate(examples):
        if ((index, check.code) in failed) != should_fail:
            said, kind = ("passes", "bad") if should_fail else ("fails", "good")
            shown = json.dumps(example, default=str)
            reason = f"the check {check.code} {said} its own {kind} example {shown}"
            raise errors.RulesError(file=check.file, line=check.line, reason=reason)


def _example_rows(examples: Sequence[Mapping[str, object]], rules: Rules) -> pl.DataFrame:
    """Examples, read like the records of a file of 2026-06-11 12:00 UTC."""
    texts = [json.dumps({"id": number, **example}, default=str).encode() for number, example in enumerate(examples)]
    now = datetime(2026, 6, 11, 12, tzinfo=UTC)
    content = b"[" + b",".join(texts) + b"]"
    file = SourceFile(
        key="examples", etag="", size=len(content), modified_at=now, key_at=None, content=memoryview(content)
    )
    cut = envelope.cut_file(file, rules.zone)
    return read_rows(index_records(cut, 0), [cut], rules, rules.zone, 0).typed


# --- Pandera ------------------------------------------------------------------------------------------------------


def _failures(rows: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """One row a failed check: `index` of the row, `check`."""
    empty = pl.DataFrame(schema={"index": pl.UInt32, "check": pl.String})
    rows = part_sound(rows.with_row_index("row"), rules)[1]
    if rows.is_empty():  # mostly: then Pandera is not even imported
        return empty
    from pandera.config import ValidationDepth, config_context
    from pandera.errors import SchemaErrors

    try:
        with config_context(validation_enabled=True, validation_depth=ValidationDepth.SCHEMA_AND_DATA):
            _schema(rules.checks).validate(rows, lazy=True)  # whatever the environment says of Pandera
    except SchemaErrors as problems:
        cases = problems.failure_cases
        if cases["index"].null_count():
            broken = cases.filter(pl.col("index").is_null())
            raise errors.Bug(
                reason=f"the check {broken['check'][0]} could not be run: {broken['failure_case'][0]}"
            ) from None
        return pl.DataFrame({"index": rows["row"].gather(cases["index"]), "check": cases["check"]})
    return empty


def _schema(checks: tuple[Check, ...]) -> pa.DataFrameSchema:
    import pandera.polars as pa

    columns: dict[str, list[pa.Check]] = {}
    for check in checks:
        columns.setdefault(check.field, []).append(
            pa.Check(partial(_verdict, _passes(check)), name=check.code, error=check.code, ignore_na=False)
        )
    return pa.DataFrameSchema(
        {name: pa.Column(TYPED[name], checks=checks, nullable=True) for name, checks in columns.items()}
    )


def _verdict(passes: pl.Expr, data: pa.PolarsData) -> pl.LazyFrame:
    return data.lazyframe.select(passes)


def _passes(check: Check) -> pl.Expr:
    """Whether a row passes, which it does if there is nothing to judge."""
    return _predicate(check).fill_null(value=True)


def _predicate(check: Check) -> pl.Expr:
    """True for a row that passes, null if there is nothing to judge."""
    value = pl.col(check.field)
    if check.required:
        written = pl.col(f"{check.field}_text") if check.field in READ else value
        return written.str.strip_chars().fill_null("") != ""
    if check.readable and check.field in FLAGS:
        return pl.col(f"{check.field}_text").is_null()
    if check.readable:
        return pl.col(f"{check.field}_text").is_null() | value.is_not_null()
    if check.one_of is not None:
        return value.is_in(check.one_of)
    if check.matches is not None:
        return value.str.contains(check.matches)
    if check.max_hours_ahead is not None:
        return value <= pl.col("file_at") + pl.duration(minutes=round(check.max_hours_ahead * 60))
    bounds = [value >= check.min] if check.min is not None else []
    bounds += [value <= check.max] if check.max is not None else []
    return pl.all_horizontal(bounds)


def _notices(rows: pl.DataFrame, failures: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    if failures.is_empty():
        return pl.DataFrame(schema=NOTICES)
    numbered = rows.with_row_index("index")
    parts = [
        numbered.join(failures.filter(check=check.code), on="index", how="semi").select(
            "file",
            "position",
            "id",
            rule=pl.lit(check.code),
            severity=pl.lit(check.severity),
            field=pl.lit(check.field),
            value=_written(check, rules),
            reason=pl.concat_str(pl.lit(check.why), _slip(check, rules)),
        )
        for check in _in_order(rules.checks, failures)
    ]
    return pl.concat(parts).sort("file", "position", maintain_order=True).cast(NOTICES)


def _in_order(checks: Sequence[Check], failures: pl.DataFrame) -> Sequence[Check]:
    failed = set(failures["check"].unique())
    return [check for check in checks if check.code in failed]


def _slip(check: Check, rules: Rules) -> pl.Expr:
    """The shift of the decimal point that would explain a number out of bounds, in words; empty if none would."""
    bounds = [
        (
            each.min if isinstance(each.min, int | float) else None,
            each.max if isinstance(each.max, int | float) else None,
        )
        for each in rules.checks
        if each.field == check.field
    ]
    low = max((low for low, _ in bounds if low is not None), default=None)
    high = min((high for _, high in bounds if high is not None), default=None)
    if low is None or high is None or (check.min is None and check.max is None):
        return pl.lit("")
    value = pl.col(check.field)
    words = pl.lit("")
    for factor in (1000, 100, 10):
        for sign, slipped, is_out in (("÷", value / factor, value > high), ("×", value * factor, value < low)):
            said = pl.format(" Likely slip: {} gives {}.", pl.lit(f"{sign}{factor}"), slipped.round(2))
            words = pl.when(is_out & (slipped >= low) & (slipped <= high)).then(said).otherwise(words)
    return words.fill_null("")


def _written(check: Check, rules: Rules) -> pl.Expr:
    if check.field in rules.personal:
        return pl.lit(None, dtype=pl.String)
    name = f"{check.field}_text" if check.field in (*READ, *FLAGS) else check.field
    return pl.col(name).cast(pl.String)
