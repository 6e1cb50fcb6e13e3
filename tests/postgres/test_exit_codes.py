"""The command as cron and people see it: exit codes, one clear message, nothing half-done, no secret."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.parse
from pathlib import Path

import pytest
from table import Table, at, envelope, fill, spoken


def run(*words: str, folder: Path, url: str | None = None, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("DATABASE", "RUSTFS", "PG"))
    }
    environment |= {"DATABASE_URL": url or "", **more}
    command = [sys.executable, "-m", "fleetfuel", *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    return done


def written(table: Table, content: bytes, name: str = "feed.json") -> str:
    (table.folder / name).write_bytes(content)
    return name


def with_parts(url: str, **parts: str) -> str:
    split = urllib.parse.urlsplit(url)
    user, password = parts.get("user", split.username or ""), parts.get("password", split.password or "")
    port, path = parts.get("port", str(split.port)), parts.get("path", split.path)
    return urllib.parse.urlunsplit((split.scheme, f"{user}:{password}@{split.hostname}:{port}", path, split.query, ""))


def test_from_the_dry_run_to_no_changes(table: Table) -> None:
    feed = written(table, envelope([fill(1), fill(2)], at(0)))
    words = ("import", "--file", feed, "--as", "snapshot")
    dry = run(*words, "--detailed-exitcode", folder=table.folder, url=table.uri)
    assert (dry.returncode, table.rows()) == (2, {})
    assert "fleetfuel apply " in dry.stdout

    done = run(*words, "--apply", "--json", folder=table.folder, url=table.uri)
    assert done.returncode == 0
    said = json.loads(done.stdout)
    assert (said["applied"], said["counts"]["inserts"]) == (True, 2)
    assert sorted(table.live()) == [1, 2]

    again = run(*words, "--apply", folder=table.folder, url=table.uri)
    assert (again.returncode, "No changes." in again.stdout) == (0, True)
    assert run(*words, "--detailed-exitcode", folder=table.folder, url=table.uri).returncode == 0


def test_a_guard_is_exit_3_and_names_the_option_that_then_works(table: Table) -> None:
    table.snapshot([fill(key) for key in range(20)], at(0))
    words = ("import", "--file", written(table, envelope([fill(1)], at(1))), "--as", "snapshot", "--apply")
    refused = run(*words, folder=table.folder, url=table.uri)
    assert (refused.returncode, len(table.live())) == (3, 20)
    assert "--max-deletes 19" in refused.stdout
    assert run(*words, "--max-deletes", "19", folder=table.folder, url=table.uri).returncode == 0
    assert list(table.live()) == [1]


def test_strict_is_exit_65_if_records_were_rejected(table: Table) -> None:
    feed = written(table, envelope([fill(1), fill(None)], at(0)))
    assert run("import", "--file", feed, "--strict", folder=table.folder, url=table.uri).returncode == 65
    assert run("import", "--file", feed, folder=table.folder, url=table.uri).returncode == 0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"not json", "is not JSON"),
        (b'{"records": [{"id": 1}, {"id"', "at byte 29 of 29"),
        (b'{"foo": 1}', "an object with the fields foo"),
        (b"", "it is empty, it ends too early"),
        (b" \n", "nothing but white space"),
        (b"<!DOCTYPE html>\n<html><body>502</body></html>", "it is an HTML page"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "it is XML"),
        (b"PK\3\4\0\0records.json", "it is a ZIP archive"),
        ('{"records": []}'.encode("utf-16"), "it is UTF-16, not UTF-8"),
    ],
)
def test_a_bad_file_is_exit_65_with_the_byte_or_the_shape_and_a_line_in_the_ledger(
    table: Table, content: bytes, said: str
) -> None:
    done = run("import", "--file", written(table, content), "--apply", folder=table.folder, url=table.uri)
    assert done.returncode == 65
    assert said in done.stderr
    assert (done.stdout, table.rows()) == ("", {})
    [line] = table.query("select status, exit_code from fuel.ingest_runs")
    assert line == {"status": "failed", "exit_code": 65}


def test_a_missing_file_is_exit_66(table: Table) -> None:
    done = run("import", "--file", "nowhere.json", folder=table.folder, url=table.uri)
    assert (done.returncode, "nowhere.json" in done.stderr) == (66, True)


@pytest.mark.parametrize(
    "words",
    [
        ("import",),
        ("import", "--snapshot", "--changes"),
        ("import", "--changes", "--as", "snapshot"),
        ("import", "--file", "a.json", "--max-deletes", "many"),
        ("import", "--file", "a.json", "--max-deletes", "101%"),
        ("import", "--fiel", "a.json"),
        ("imprt",),
    ],
)
def test_a_mistyped_command_is_exit_64(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert run(*words, folder=tmp_path).returncode == 64


def test_without_a_database_url_the_exit_is_78_and_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[]")
    done = run("import", "--file", "a.json", folder=tmp_path)
    assert done.returncode == 78
    assert all(word in done.stderr for word in ("DATABASE_URL", ".env.example", "--embedded"))


def test_a_login_or_a_server_that_is_not_there_is_reported_without_the_password(table: Table) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    feed = written(table, envelope([fill(1)], at(0)))
    cases = (
        (with_parts(table.uri, user="nobody_here", password="hunter2"), {69, 77}, "nobody_here"),
        (with_parts(table.uri, path="/no_such_database", password="hunter2"), {69, 77}, "no_such_database"),
        (with_parts(table.uri, port=port, password="hunter2"), {69}, port),
    )
    for url, codes, named in cases:
        done = run("import", "--file", feed, "--apply", folder=table.folder, url=url)
        assert done.returncode in codes
        assert named in done.stderr
        assert "hunter2" not in done.stderr + done.stdout


def test_a_database_without_the_schema_is_exit_78_and_says_migrate(empty_database: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[]")
    done = run("import", "--file", "a.json", "--apply", folder=tmp_path, url=empty_database)
    assert done.returncode == 78
    assert "fleetfuel migrate" in done.stderr


def test_a_report_that_cannot_be_written_is_exit_73_and_loads_nothing(table: Table) -> None:
    feed = written(table, envelope([fill(1)], at(0)))
    written(table, b"", "taken")
    words = ("import", "--file", feed, "--apply", "--report", "taken/report")
    assert run(*words, folder=table.folder, url=table.uri).returncode == 73
    assert table.rows() == {}


def test_the_same_file_named_twice_is_read_twice_and_recorded_once(table: Table) -> None:
    feed = written(table, envelope([fill(1)], at(0)))
    done = run("import", "--file", feed, "--file", feed, "--apply", folder=table.folder, url=table.uri)
    assert done.returncode == 0
    assert table.query("select count(*) as files from fuel.ingest_files") == [{"files": 1}]


def test_a_full_disk_behind_stdout_is_no_bug_and_the_run_stands(table: Table) -> None:
    path = table.folder / "full.json"
    path.write_bytes(envelope([fill(1)]))
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "fleetfuel", "import", "--file", str(path), "--no-report", "--apply"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "DATABASE_URL": table.uri},
            check=False,
        )
    assert (done.returncode, list(table.live())) == (73, [1])
    assert spoken(done.stderr).splitlines() == [
        "fleetfuel: The output cannot be written: No space left on device.",
        "The run is applied all the same: `fleetfuel runs last` shows it.",
    ]
