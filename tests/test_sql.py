"""The SQL that is shipped, read by PostgreSQL's own parser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pglast import ast, parse_sql
from pglast.parser import ParseError, scan

import fleetfuel
from fleetfuel.packaged import packaged
from fleetfuel.table.statements import named_sql, split_statements

MIGRATIONS = sorted(packaged("migrations").glob("*.sql"))
STATEMENTS = [
    statement
    for path in sorted((Path(fleetfuel.__file__).parent / "table" / "sql").iterdir())
    for statement in split_statements(path.read_text(encoding="utf-8"))
]
SCRIPTS = {"create_migration_ledger"}
"""Statements by name that are several: they are run like a migration."""


def steers_its_transaction(text: str) -> bool:
    return any(isinstance(each.stmt, ast.TransactionStmt) for each in parse_sql(text))


@pytest.mark.parametrize("migration", MIGRATIONS, ids=lambda path: path.stem)
def test_a_migration_leaves_its_transaction_to_the_runner(migration: Path) -> None:
    assert not steers_its_transaction(migration.read_text(encoding="utf-8"))


@pytest.mark.parametrize(("name", "text"), STATEMENTS, ids=[name for name, _ in STATEMENTS])
def test_a_statement_by_name_is_one(name: str, text: str) -> None:
    assert name in SCRIPTS or len(parse_sql(text)) == 1
    assert not steers_its_transaction(text)


def test_these_tests_can_fail() -> None:
    text = MIGRATIONS[0].read_text(encoding="utf-8")
    for spoilt in ("commit;", "start transaction;", "/* ; */ savepoint here;", "prepare transaction 'x';", "END"):
        assert steers_its_transaction(f"{text}\n{spoilt}")
    assert not steers_its_transaction("create function f() returns int begin atomic select 1; end; -- commit;")
    with pytest.raises(ParseError):
        parse_sql("crate table x")


def test_whoever_lists_our_views_lists_them_all() -> None:
    """Rights are given, and asked for before the first migration, view by view: a new one must not be forgotten."""
    migrations = {path.name: path.read_text(encoding="utf-8") for path in packaged("migrations").glob("*.sql")}
    ours = {name for text in migrations.values() for name in re.findall(r"create view reporting\.(\w+)", text)}
    assert len(ours) >= 6
    for where, text in (("rights", migrations["0009_rights.sql"]), ("needs", named_sql("read_migration_needs"))):
        assert ours <= set(re.findall(r"'(v_\w+)'", text)), where


def _plain_backslashes(text: str) -> list[str]:
    """Literals that mean another text if standard_conforming_strings is off, those in functions' bodies included."""
    found = []
    for token in scan(text):
        written = text[token.start : token.end + 1]
        if token.name != "SCONST" or "\\" not in written:
            continue
        if written.startswith("$"):
            found += _plain_backslashes(re.sub(r"\A\$\w*\$|\$\w*\$\Z", "", written))
        elif written[0] not in "eE":
            found.append(written)
    return found


FILES = [*MIGRATIONS, *sorted(Path(fleetfuel.__file__).parent.rglob("*.sql"))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_literal_with_a_backslash_means_the_same_whatever_the_server_is_set_to(path: Path) -> None:
    """A database of an older program may have standard_conforming_strings switched off."""
    assert _plain_backslashes(path.read_text(encoding="utf-8")) == []
    assert _plain_backslashes("select $f$ select '\\d' $f$, e'\\\\d'") == ["'\\d'"]
