"""The house tests its own walls: which room may use what, and that nothing lies about unused or unsaid."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

import fleetfuel
from fleetfuel import settings
from fleetfuel.packaged import packaged
from fleetfuel.records import judge
from fleetfuel.rules.book import load_rules
from fleetfuel.table.statements import split_statements

HOUSE: Final = Path(fleetfuel.__file__).parent
ROOMS: Final = sorted(
    str(path.relative_to(HOUSE).with_suffix("")).replace("/", ".")
    for path in HOUSE.rglob("*.py")
    if path.name != "__init__.py"
)
"""Modules by dotted name: `pipeline`, `table.load`."""
STATEMENTS: Final = [
    (path.stem, *statement)
    for path in sorted((HOUSE / "table" / "sql").iterdir())
    for statement in split_statements(path.read_text(encoding="utf-8"))
]
"""Room, name and text of every statement."""
NAMES: Final = [name for _, name, _ in STATEMENTS]

ONLY: Final = {
    "adbc_driver_postgresql": {"table.database", "table.driver", "table.refusals"},
    "adbc_driver_manager": {"table.database"},
    "pandera": {"records.judge"},
    "boto3": {"feed.client", "sandbox.demo"},
    "botocore": {"feed.client", "feed.bucket", "feed.answers", "sandbox.demo"},
    "click": {
        f"cli.{room}"
        for room in (
            "main",
            "import_",
            "plans",
            "runs",
            "look",
            "show",
            "grafana",
            "keep",
            "doctor",
            "options",
            "terminal",
        )
    },
    "dotenv": {"settings"},
    "subprocess": {"sandbox.process"},
    "hashlib": {"feed.spool", "table.knock", "report.html", "report.plan_file", "rules.book", "table.migration_files"},
    "tomllib": {"rules.file"},
}
"""Module → the rooms that may use it."""

PURE: Final = (
    *(room for room in ROOMS if room.startswith(("model.", "records.", "plan."))),
    *("report.summary", "report.text", "feed.gaps", "feed.keys", "rules.rows"),
    *("database_url", "printable", "writes"),
)
"""Rooms where the same arguments always give the same value."""

OUTSIDE: Final = {
    *("os", "sys", "logging", "time", "click", "subprocess", "socket", "shutil", "tempfile", "random", "secrets"),
    *("fleetfuel.settings", "fleetfuel.pipeline", "fleetfuel.feed", "fleetfuel.table", "fleetfuel.cli"),
}
"""The world, and the rooms that touch it."""

FLOORS: Final = (
    *("errors", "side", "database_url", "printable", "packaged", "readable", "model", "settings"),
    *("rules", "feed", "records", "writes", "table", "plan", "report"),
    *("course", "pipeline", "sandbox", "cli", "__main__"),
)
"""Folders and rooms, from the lowest floor up: each imports only what lies below it, and the rooms of its own folder.
The table knows nothing of deciding; that deciding knows nothing of the table is said by `OUTSIDE`.
A folder that is not among them yet needs a place."""


def tree(room: str) -> ast.Module:
    return ast.parse(source(room))


def imported(node: ast.AST) -> Iterator[str]:
    """Full names of what is imported anywhere in a module, type checking apart."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module:
            yield child.module
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        yield from imported(child)


def neighbours(room: str) -> set[str]:
    """The rooms that a room imports."""
    names = {name.removeprefix("fleetfuel.") for name in imported(tree(room)) if "fleetfuel." in name}
    return names & set(ROOMS)


@pytest.mark.parametrize("module", ONLY)
def test_a_foreign_module_is_used_in_its_rooms_only(module: str) -> None:
    users = {room for room in ROOMS if any(name.split(".")[0] == module for name in imported(tree(room)))}
    assert users <= ONLY[module]


@pytest.mark.parametrize("room", PURE)
def test_a_pure_room_never_looks_outside(room: str) -> None:
    used = {part for name in imported(tree(room)) for part in (name, ".".join(name.split(".")[:2]), name.split(".")[0])}
    own = {"fleetfuel.feed"} if room.startswith("feed.") else set()
    assert used & (OUTSIDE - own) == set()


@pytest.mark.parametrize("room", PURE)
def test_a_pure_room_asks_no_clock_and_opens_no_file(room: str) -> None:
    called = {ast.unparse(node.func) for node in ast.walk(tree(room)) if isinstance(node, ast.Call)}
    assert called & {"datetime.now", "datetime.today", "date.today", "open", "print", "input", "Path"} == set()


@pytest.mark.parametrize("room", ROOMS)
def test_imports_go_down(room: str) -> None:
    folder, *others = (name.split(".")[0] for name in (room, *neighbours(room)))
    assert [other for other in others if other != folder and FLOORS.index(other) > FLOORS.index(folder)] == []


def test_a_constant_that_a_room_names_exists() -> None:
    """`judge.NOTICES` in a docstring leads somewhere."""
    named = {pair for room in ROOMS for pair in re.findall(r"`([a-z_]+)\.([A-Z][A-Z_]+)`", source(room))}
    assert named
    for name, constant in named:
        rooms = [importlib.import_module(f"fleetfuel.{room}") for room in ROOMS if room.rpartition(".")[2] == name]
        assert any(hasattr(room, constant) for room in rooms), f"{name}.{constant}"


def test_the_path_has_no_circles() -> None:
    known = {room: neighbours(room) - {room} for room in ROOMS}
    while known:
        ends = {room for room, needs in known.items() if not needs & known.keys()}
        assert ends, f"these import each other: {sorted(known)}"
        known = {room: needs for room, needs in known.items() if room not in ends}


@pytest.mark.parametrize("room", [room for room in ROOMS if not room.startswith("cli.") and room != "sandbox.process"])
def test_only_the_command_line_speaks_on_stdout_and_ends_the_program(room: str) -> None:
    calls = [node for node in ast.walk(tree(room)) if isinstance(node, ast.Call)]
    said = [ast.unparse(call) for call in calls if ast.unparse(call.func) in ("print", "click.echo", "sys.exit")]
    assert [call for call in said if "file=sys.stderr" not in call] == []
    assert "sys.stdout" not in source(room)


def test_only_the_settings_read_the_environment_of_fleetfuel() -> None:
    readers = {room for room in ROOMS if re.search(r"environ(\.get\(|\[)[^)\]]*(DATABASE_URL|RUSTFS_)", source(room))}
    assert readers <= {"settings"}


def source(room: str) -> str:
    return (HOUSE / f"{room.replace('.', '/')}.py").read_text(encoding="utf-8")


# --- SQL ----------------------------------------------------------------------------------------------------------

SQL: Final = re.compile(
    r"^\s*(select\s.+\sfrom|insert\s+into|update\s+\S+\s+set|delete\s+from|create\s+(table|temp)|truncate|merge\s+into|with\s+\w+\s+as)\b",
    re.IGNORECASE | re.DOTALL,
)


@pytest.mark.parametrize("room", ROOMS)
def test_sql_is_written_in_files(room: str) -> None:
    texts = [
        node.value for node in ast.walk(tree(room)) if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert [text for text in texts if SQL.match(text)] == []


def test_a_statement_has_one_name_and_says_first_what_it_is_for() -> None:
    assert sorted(set(NAMES)) == sorted(NAMES)
    for _, name, text in STATEMENTS:
        first, *rest = text.splitlines()
        assert re.fullmatch(r"-- \S.{10,}[.:;]?", first), name
        assert any(line and not line.startswith("--") for line in rest), name


def test_a_file_of_statements_says_first_what_they_are_for_and_holds_nothing_else() -> None:
    for path in (HOUSE / "table" / "sql").iterdir():
        text = path.read_text(encoding="utf-8")
        assert re.match(r"-- \S.{10,}\n\n-- name: ", text), path
        assert len(re.findall("^-- *name", text, re.MULTILINE)) == [room for room, _, _ in STATEMENTS].count(path.stem)


@pytest.mark.parametrize("statement", NAMES)
def test_a_statement_is_used(statement: str) -> None:
    users = [room for room in ROOMS if re.search(rf'"{statement}"', source(room))]
    made_up = statement.startswith("call_") and '"call_{' in source("table.migrate")
    assert users or made_up


def test_every_statement_that_is_called_exists() -> None:
    called = {
        call.args[0].value
        for room in ROOMS
        for call in ast.walk(tree(room))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in ("rows", "table", "execute", "stream")
        and call.args
        and isinstance(call.args[0], ast.Constant)
        and isinstance(call.args[0].value, str)
    }
    assert called
    assert called <= set(NAMES)


# --- words --------------------------------------------------------------------------------------------------------

GONE: Final = {
    r"\bset(?:s|ting)?[ _]aside\b": "rejected",
    r"\b(?:refused|quarantined) records?\b": "rejected",
    r"\bbeside\b": "next to",
    r"\bby turns\b": "in turn",
    r"\blets? go of\b": "released",
    r"\btold\b(?! (?:to|apart|otherwise)\b)": "reported",
    r"\bbehind (?:it|its|the (?:commit|first|last)|a (?:comma|record))\b": "after",
    r"(?:\bNone|(?<!is )(?<!not )\b[Nn]ull|\b[Ee]mpty|`) where\b|\bRaises `\w+` where\b": "if",
}
"""Words that went (a regular expression each), and the one that says the same everywhere."""


def test_one_word_for_each_thing() -> None:
    """In code, messages, comments and documents alike."""
    folders = ("fleetfuel", "migrations", "rules", "tests")
    files = [path for folder in folders for path in (HOUSE.parent / folder).rglob("*.*") if path != Path(__file__)]
    written = {".py", ".sql", ".toml", ".md", ".j2", ".js", ".css"}
    texts = {path: path.read_text(encoding="utf-8") for path in files if path.suffix in written}
    texts |= {path: path.read_text(encoding="utf-8") for path in HOUSE.parent.glob("*.md")}
    found = [
        f"{path}: {match[0]!r}: say {better!r}"
        for path, text in texts.items()
        for gone, better in GONE.items()
        for match in re.finditer(gone, text)
    ]
    assert found == []


# --- what is promised elsewhere -----------------------------------------------------------------------------------


def test_the_example_of_settings_lists_them_all_and_no_other() -> None:
    example = (HOUSE.parent / ".env.example").read_text(encoding="utf-8")
    assert re.findall(r"^([A-Z_]+)=", example, re.MULTILINE) == list(settings.VARIABLES)
    assert set(settings.VARIABLES.values()) == {field.name for field in dataclasses.fields(settings.Settings)} - {
        "env_file",
        "remarks",
        "timezone",  # a rule
    }


def test_every_rule_proves_itself() -> None:
    judge.prove_rules(load_rules())


def test_every_migration_and_rule_travels_with_the_package() -> None:
    assert names(packaged("migrations"), "*.sql") == names(HOUSE.parent / "migrations", "*.sql")
    assert names(packaged("rules"), "*.toml") == names(HOUSE.parent / "rules", "*.toml")


def names(folder: Path, pattern: str) -> list[str]:
    return sorted(path.name for path in folder.glob(pattern))


HEAVY: Final = (
    "fleetfuel.model",
    "webbrowser",
    "polars",
    "pyarrow",
    "boto3",
    "pandera",
    "adbc_driver_postgresql",
    "msgspec",
    "pandas",
)


@pytest.mark.parametrize(
    "words", [["--help"], ["import", "--help"], ["import", "--snapshot", "--changes"], ["--version"]]
)
def test_help_and_a_refused_option_load_nothing_heavy(words: list[str]) -> None:
    program = (
        "import sys; sys.argv[1:] = " + repr(words) + "\n"
        "from fleetfuel.cli.main import main\n"
        "try: main()\n"
        "finally: print(*sorted(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    loaded = done.stderr.splitlines()[-1].split()
    assert "click" in loaded
    assert [module for module in HEAVY if module in loaded] == []


def test_no_name_says_nothing() -> None:
    files = [path.stem for path in [*HOUSE.rglob("*.py"), *HOUSE.parent.joinpath("tests").rglob("*.py")]]
    assert {"utils", "util", "common", "helpers", "core", "manager", "base", "misc"} & set(files) == set()


@pytest.mark.parametrize("room", ROOMS)
def test_no_pattern_takes_what_the_oldest_python_reads_wrongly(room: str) -> None:
    """Possessive quantifiers and atomic groups: `re` of Debian 12's Python, 3.11.2, matches other texts by them."""
    texts = [
        node.value
        for node in ast.walk(tree(room))
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes) and len(node.value) < 2_000
    ]
    assert [text for text in texts if takes_greedily(text)] == []
    assert takes_greedily("a++b")
    assert takes_greedily("(?>a|ab)c")


def takes_greedily(text: str | bytes) -> bool:
    """Whether the text, read as a pattern, has a possessive quantifier or an atomic group."""
    try:
        parsed = importlib.import_module("re._parser").parse(text)
    except (re.error, OverflowError, RecursionError):
        return False
    return re.search("POSSESSIVE_REPEAT|ATOMIC_GROUP", repr(parsed)) is not None


INSTANT: Final = re.compile(r"(?<=:)%Y-%m-%d.%H:%M[^}\"]*}.{0,6}")


def test_an_instant_is_told_in_one_form() -> None:
    """`2026-06-11 12:00:00Z` to people, with its seconds or without: the day and the clock next to it, UTC."""
    texts = {path: path.read_text(encoding="utf-8") for path in HOUSE.rglob("*.py")}
    found = {form for path, text in texts.items() if "sandbox" not in path.parts for form in INSTANT.findall(text)}
    assert {form for form in found if not re.fullmatch(r"%Y-%m-%d %H:%M((:%S)?Z}.*|} there.*)", form)} == set()
