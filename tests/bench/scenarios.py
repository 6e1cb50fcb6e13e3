"""What is measured: the contenders of each scenario, what each starts from, and how its work is checked."""

from __future__ import annotations

import functools
import importlib.util
import json
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

from fleetfuel.rules.book import load_rules
from fleetfuel.sandbox.producer import Producer

from .measure import ContenderFailed, Measured
from .stage import CHANGED_SHARE, Stage, import_file, timeout_of

CONTENDERS: Final = Path(__file__).parent / "contenders"

HOURLY: Final = 2_000
"""Records of the snapshot that the start of an hourly run is measured with."""

NAIVE_MOST: Final = 1_000_000
"""Records beyond which the naive upsert is left out: it holds the whole file as objects."""

REPEATED_MOST: Final = 100_000
"""Records beyond which the naive upsert runs once, not in every round, and only if nothing changed or all is new."""

SIZED: Final = ("fresh", "unchanged", "changed")
"""The scenarios that are measured at each size."""

Name = Literal["fleetfuel", "floor", "naive", "unchanged", "dlt", "target-postgres"]
"""`unchanged`: fleetfuel itself if nothing changed, next to a run if something did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One way of doing the work of a scenario."""

    name: Name
    command: Sequence[str]
    """Words after `python`; `{uri}` stands for its database's."""
    base: str
    """The database it gets a copy of."""
    check: Callable[[str, Measured], None]
    """Raises `ContenderFailed` if the work was not done: given its database and what it printed."""
    settings: Mapping[str, str] = field(default_factory=dict)
    repeats: bool = True
    """False: it runs in the first round only."""
    python: Path | None = None
    """The interpreter; None = the one that runs this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What the contenders of a scenario cost, round by round."""

    scenario: str
    title: str
    records: int
    """How many the work is about; for change files, how many files."""
    runs: Mapping[Name, Sequence[Measured]]
    """In the order of the rounds."""

    def median(self, name: Name, what: str) -> float:
        """The median over the rounds of one field of `Measured`."""
        return float(statistics.median(getattr(run, what) for run in self.runs[name]))

    def ratios(self, other: Name, what: str = "wall") -> list[float]:
        """fleetfuel ÷ another contender in each round that has both."""
        pairs = zip(self.runs["fleetfuel"], self.runs.get(other, ()), strict=False)
        return [getattr(own, what) / getattr(its, what) for own, its in pairs]


Scenario = Callable[[Stage, int], tuple[str, int, list[Contender]]]
"""Stage, records → title, records, contenders."""


def measure_scenario(name: str, stage: Stage, size: int, rounds: int) -> Result:
    """Run the contenders in turn, each round in another order, each from a fresh copy of its database."""
    title, records, contenders = SCENARIOS[name](stage, size)
    runs: dict[Name, list[Measured]] = {contender.name: [] for contender in contenders}
    for number in range(rounds):
        turn = number % len(contenders)
        for contender in contenders[turn:] + contenders[:turn]:
            if number and not contender.repeats:
                continue
            with stage.database(contender.base) as uri:
                measured = stage.run(
                    contender.command,
                    uri,
                    timeout=timeout_of(records),
                    settings=contender.settings,
                    python=contender.python,
                )
                contender.check(uri, measured)
            runs[contender.name].append(measured)
            print(f"{title}, {contender.name}, round {number + 1}: {measured.wall:.2f} s", file=sys.stderr)
    return Result(scenario=name, title=title, records=records, runs=runs)


# --- snapshots ------------------------------------------------------------------------------------------------------


def fresh(stage: Stage, size: int) -> tuple[str, int, list[Contender]]:
    path = stage.snapshot(size)
    holds = functools.partial(_holds, stage, size=size)

    def loaded(uri: str, run: Measured) -> None:
        _says({"inserts": size}, run)
        holds(uri, run)
        stage.adopt(uri, size)

    return _snapshot(
        f"fresh load of {size:,} records",
        size,
        Contender(name="fleetfuel", command=import_file(path), base=stage.migrated, check=loaded),
        Contender(name="floor", command=_script("fresh_floor", path), base=stage.migrated, check=holds),
        _naive(path, size, stage.migrated, holds),
    )


def unchanged(stage: Stage, size: int) -> tuple[str, int, list[Contender]]:
    path, base = stage.snapshot(size), stage.loaded(size)
    holds = functools.partial(_holds, stage, size=size)

    def reconciled(uri: str, run: Measured) -> None:
        _says({"unchanged": size, "inserts": 0, "updates": 0}, run)
        holds(uri, run)

    def joined(_uri: str, run: Measured) -> None:
        _equal("what it printed", json.loads(run.stdout), {"records": size, "same": size, "ids": _sum_of_ids(size)})

    return _snapshot(
        f"unchanged, {size:,} records",
        size,
        Contender(name="fleetfuel", command=import_file(path), base=base, check=reconciled),
        Contender(name="floor", command=_script("unchanged_floor", path, _seed()), base=base, check=joined),
        _naive(path, size, base, holds),
    )


def changed(stage: Stage, size: int) -> tuple[str, int, list[Contender]]:
    path, base = stage.snapshot(size, changed=True), stage.loaded(size)
    rows = int(size * CHANGED_SHARE)
    with stage.database(base) as uri:
        before = stage.query(uri, AMOUNTS)["amounts"]
    holds = functools.partial(_holds, stage, size=size, amounts=before + 50 * rows)

    def updated(uri: str, run: Measured) -> None:
        _says({"unchanged": size - rows, "updates": rows}, run)
        holds(uri, run)

    return _snapshot(
        f"1 % changed, {size:,} records",
        size,
        Contender(name="fleetfuel", command=import_file(path), base=base, check=updated),
        Contender(name="floor", command=_script("changed_floor", path, _seed()), base=base, check=holds),
        _naive(path, size, base, holds) if size <= REPEATED_MOST else None,
        Contender(
            name="unchanged",
            command=import_file(stage.snapshot(size)),
            base=base,
            check=lambda _uri, run: _says({"unchanged": size, "updates": 0}, run),
        ),
    )


def _snapshot(title: str, size: int, *contenders: Contender | None) -> tuple[str, int, list[Contender]]:
    return title, size, [each for each in contenders if each is not None]


def _naive(path: Path, size: int, base: str, check: Callable[[str, Measured], None]) -> Contender | None:
    if size > NAIVE_MOST or not has_psycopg():
        return None
    return Contender(
        name="naive",
        command=_script("naive", path),
        base=base,
        check=check,
        repeats=size <= REPEATED_MOST,
        python=Path(sys.executable),
    )


def has_psycopg() -> bool:
    """Whether the naive contender can run."""
    return importlib.util.find_spec("psycopg") is not None


# --- what one would pick instead ------------------------------------------------------------------------------------

LOADERS: Final[Mapping[Name, tuple[str, str]]] = {
    "dlt": ("with_dlt", "dlt[postgres]==1.31.0"),
    "target-postgres": ("with_target_postgres", "meltanolabs-target-postgres==0.8.1"),
}
"""Loader → its script among the contenders, and the package it needs, installed into an environment of its own."""


def loaders_first(stage: Stage, size: int) -> tuple[str, int, list[Contender]]:
    """A first load by fleetfuel and by each loader, which merges every record into a table of its own."""
    path = stage.snapshot(size)

    def held(uri: str, _run: Measured) -> None:
        found = stage.query(uri, "select count(*) as records, sum(id)::bigint as ids from loaded.records")
        _equal("loaded.records", (found["records"], found["ids"]), (size, _sum_of_ids(size)))

    contenders = [
        Contender(
            name="fleetfuel",
            command=import_file(path),
            base=stage.migrated,
            check=functools.partial(_holds, stage, size=size),
        )
    ]
    contenders += [
        Contender(
            name=name, command=_script(script, path), base=stage.migrated, check=held, python=stage.python_with(package)
        )
        for name, (script, package) in LOADERS.items()
    ]
    return f"fresh load of {size:,} records, next to other loaders", size, contenders


def loaders_again(stage: Stage, size: int) -> tuple[str, int, list[Contender]]:
    """The same snapshot once more, an hour later: what most hours are."""
    title, records, first = loaders_first(stage, size)
    del title
    again = [replace(contender, base=_loaded_by(stage, contender, size)) for contender in first]
    return f"unchanged, {size:,} records, next to other loaders", records, again


def _loaded_by(stage: Stage, contender: Contender, size: int) -> str:
    """A database into which this contender has loaded the snapshot."""
    if contender.name == "fleetfuel":
        return stage.loaded(size)
    name = stage.create(stage.migrated)
    stage.run(
        contender.command, stage.server.uri(name), timeout=timeout_of(size) + LOADERS_SLOW, python=contender.python
    )
    return name


LOADERS_SLOW: Final = 600
"""Seconds that a loader gets beyond what fleetfuel gets."""


# --- change files ---------------------------------------------------------------------------------------------------


def changes(stage: Stage, files: int) -> tuple[str, int, list[Contender]]:
    """So many change files, an hour apart, into an empty table."""
    producer, bodies = Producer(), dict[str, bytes]()
    for _ in range(files):
        producer.advance(1)
        key, body = producer.changes()
        bodies[key.replace("fuel_records/", f"changes-{files}/")] = body
    settings = stage.bucket(f"changes-{files}")
    stage.put(bodies)
    base = stage.migrated
    held: dict[str, Any] = {}

    def downloaded(_uri: str, run: Measured) -> None:
        _equal("what it printed", json.loads(run.stdout), {"files": files, "bytes": sum(map(len, bodies.values()))})

    def caught_up(uri: str, _run: Measured) -> None:
        found = stage.query(uri, "select count(*) as records, sum(id)::bigint as ids from fuel.records")
        _equal("fuel.records", found, held.setdefault("found", found))

    contenders = [
        Contender(
            name="fleetfuel",
            command=("-m", "fleetfuel", "import", "--changes", "--apply", "--json"),
            base=base,
            check=caught_up,
            settings=settings,
        ),
        Contender(
            name="floor",
            command=(str(CONTENDERS / "changes_floor.py"),),
            base=base,
            check=downloaded,
            settings=settings,
        ),
    ]
    if has_psycopg():
        contenders.append(
            Contender(
                name="naive",
                command=(str(CONTENDERS / "changes_naive.py"), "{uri}"),
                base=base,
                check=caught_up,
                settings=settings,
                python=Path(sys.executable),
            )
        )
    return f"{files:,} change files", files, contenders


# --- start-up -------------------------------------------------------------------------------------------------------


HELP_NEEDS: Final = (
    "import click, dataclasses, difflib, json, logging, urllib.parse, zoneinfo; click.Group('floor').main(['--help'])"
)
"""The libraries that its options, settings and logs need, and a help without a word."""


def help_(stage: Stage, _size: int) -> tuple[str, int, list[Contender]]:
    def helped(_uri: str, run: Measured) -> None:
        _equal("the help", "fleetfuel import --snapshot" in run.stdout, True)

    return (
        "fleetfuel --help",
        0,
        [
            Contender(name="fleetfuel", command=("-m", "fleetfuel", "--help"), base=stage.migrated, check=helped),
            Contender(name="floor", command=("-c", HELP_NEEDS), base=stage.migrated, check=lambda *_: None),
        ],
    )


def quiet_hour(stage: Stage, _size: int) -> tuple[str, int, list[Contender]]:
    return _hour(stage, "an hour without changes", {"unchanged": HOURLY}, is_changed=False)


def busy_hour(stage: Stage, _size: int) -> tuple[str, int, list[Contender]]:
    rows = int(HOURLY * CHANGED_SHARE)
    return _hour(stage, f"an hour with {rows} changes", {"updates": rows, "unchanged": HOURLY - rows}, is_changed=True)


def _hour(stage: Stage, title: str, counts: Mapping[str, int], *, is_changed: bool) -> tuple[str, int, list[Contender]]:
    """The hourly job itself, from the bucket, against importing the libraries it needs and connecting."""
    folder = "busy" if is_changed else "quiet"
    settings = stage.bucket(folder)
    stage.put({f"{folder}/latest.json": stage.snapshot(HOURLY, changed=is_changed).read_bytes()})
    base = stage.loaded(HOURLY)

    def done(_uri: str, run: Measured) -> None:
        _says(counts, run)

    return (
        f"{title}, {HOURLY:,} records",
        HOURLY,
        [
            Contender(
                name="fleetfuel",
                command=("-m", "fleetfuel", "import", "--snapshot", "--apply", "--json"),
                base=base,
                check=done,
                settings=settings,
            ),
            Contender(
                name="floor",
                command=(str(CONTENDERS / "start_floor.py"), "{uri}", *(["--judging"] if is_changed else [])),
                base=base,
                check=lambda *_: None,
                settings=settings,
            ),
        ],
    )


SCENARIOS: Final[Mapping[str, Scenario]] = {
    "fresh": fresh,
    "unchanged": unchanged,
    "changed": changed,
    "loaders_first": loaders_first,
    "loaders_again": loaders_again,
    "changes": changes,
    "help": help_,
    "quiet_hour": quiet_hour,
    "busy_hour": busy_hour,
}


# --- what a contender has to have done ------------------------------------------------------------------------------

AMOUNTS: Final = "select sum(amount_kes)::float8 as amounts from fuel.records"
"""Sums of whole shillings and halves: exact in a float."""


def _holds(stage: Stage, uri: str, _run: Measured, *, size: int, amounts: float | None = None) -> None:
    """The table holds each id once, and, if that is asked, amounts of this sum."""
    found = stage.query(
        uri, "select count(*) as records, sum(id)::bigint as ids, count(litres) as litres from fuel.records"
    )
    _equal("fuel.records", (found["records"], found["ids"]), (size, _sum_of_ids(size)))
    _equal("whether litres were derived", found["litres"] > size * 0.9, True)
    if amounts is not None:
        _equal("the sum of amounts", stage.query(uri, AMOUNTS)["amounts"], amounts)


def _says(counts: Mapping[str, int], run: Measured) -> None:
    """fleetfuel's own `--json` object tells these counts."""
    said = json.loads(run.stdout)["counts"]
    _equal("its counts", {name: said[name] for name in counts}, dict(counts))


def _equal(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise ContenderFailed(f"{what}: {found}, not {expected}")


def _sum_of_ids(size: int) -> int:
    return size * (size + 1) // 2


def _script(name: str, path: Path, *more: str) -> tuple[str, ...]:
    return (str(CONTENDERS / f"{name}.py"), str(path), "{uri}", *more)


@functools.cache
def _seed() -> str:
    """The seed of fingerprints under the shipped rules."""
    return str(int(load_rules().digest[:15], 16))


def sizes_of(results: Sequence[Result], scenario: str) -> Iterator[Result]:
    """The results of a scenario, the smallest size first."""
    yield from sorted((each for each in results if each.scenario == scenario), key=lambda each: each.records)
