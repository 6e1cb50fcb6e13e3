"""What the README and its stories show is what happens, what they name exists, and what they advise works."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from table import NewRole

from fleetfuel.cli.main import cli
from fleetfuel.settings import VARIABLES

from . import transcripts
from .blocks import MARKED
from .stage import Stage
from .test_command_line import all_errors
from .transcripts import DOCUMENTS, README, World, replay, shape, statements

TEXT = "\n".join(document.read_text() for document in DOCUMENTS)
REPORTS = README.parent / "migrations" / "README.md"
OTHERS = [
    README.parent / folder / "README.md" for folder in ("fleetfuel", "migrations", "rules", "tests", "tests/bench")
]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with transcripts.world() as world:
        yield world


def test_every_transcript_is_true(world: World) -> None:
    wrong = [
        (command, reported, today)
        for command, reported, today in replay(TEXT, world)
        if shape(reported) != shape(today)
    ]
    assert wrong == [], "python -m tests.operators.transcripts --write refreshes them: read the diff"


def test_the_alert_rises_when_no_snapshot_is_applied_and_grafana_may_read_it(stage: Stage, new_role: NewRole) -> None:
    alert, rejects = statements(REPORTS.read_text())[-2:]
    login = "grafana"
    new_role(stage.url, "grafana_ro", "nologin")
    new_role(stage.url, login, "login password 'reader' in role grafana_ro")
    stage.done("migrate")
    reader = replace(
        stage, url=f"postgresql://{login}:reader@{stage.url.rpartition('@')[2]}", bucket=f"{stage.bucket}-b"
    )
    assert float(reader.sql(alert)[0]["hours"]) == 999
    stage.snapshot()
    stage.done("import", "--snapshot", "--apply")
    assert float(reader.sql(alert)[0]["hours"]) < 1
    assert reader.sql(rejects)[0]["open_rejects"] == 1
    stage.sql("update fuel.ingest_runs set finished_at = finished_at - interval '3 hours'")
    assert stage.run("import", "--snapshot", "--apply", RUSTFS_PREFIX="elsewhere/").code == 66
    assert 3 <= float(reader.sql(alert)[0]["hours"]) < 4


def test_undoing_a_run_puts_the_table_back(stage: Stage) -> None:
    def table() -> list[dict[str, object]]:
        return stage.sql(
            "select id, raw::text as raw, deleted_at, plate from fuel.records where absent_since is null order by id"
        )

    stage.snapshot()
    stage.done("import", "--snapshot", "--apply")
    before = table()
    stage.snapshot(fills=2, edits=5, hard_deletes=30, soft_deletes=3)
    bad = stage.done("import", "--snapshot", "--apply", "--json").json
    assert bad["counts"]["inserts"] == 2
    assert table() != before
    stage.done("undo", bad["run_id"])
    assert table() != before
    stage.done("undo", bad["run_id"], "--apply")
    assert table() == before
    assert stage.run("import", "--snapshot", "--apply").code == 3
    again = stage.done("import", "--snapshot", "--apply", "--allow-undone", "--json").json
    assert again["counts"]["soft_deletes"] == bad["counts"]["soft_deletes"]


def test_every_exit_code_is_reported_and_no_other() -> None:
    section = TEXT.partition("## Exit codes")[2].partition("\n## ")[0]
    reported = {int(code) for code in re.findall(r"^\| (\d+) \|", section, re.MULTILINE)}
    assert reported == {error.exit_code for error in all_errors()} | {0, 1, 2}


def test_every_command_and_setting_it_names_exists() -> None:
    named = set(re.findall(r"fleetfuel (?:-v )?([a-z]{3,})", re.sub(r"--rm.*", "", TEXT)))
    assert set(cli.commands) <= named
    assert named & {"runs", "doctor", "import"}
    variables = set(re.findall(r"\b((?:RUSTFS|FLEETFUEL)_[A-Z_]+)\b", TEXT))
    assert variables - {"FLEETFUEL_TEST_POSTGRES"} <= set(VARIABLES)


def test_every_option_it_names_exists() -> None:
    known = {name for command in cli.commands.values() for option in command.params for name in option.opts}
    known |= {"--help", "--verbose", "--write", "--no-sync", "--check"}
    shell = {"--rm", "--env-file", "--now", "--with", "--extra", "--no-dev", "--no-deps"}
    shown = MARKED.sub("", TEXT)  # the commands of others are run by tests of their own
    assert set(re.findall(r"(?<![\w-])(--[a-z][a-z-]+)", shown)) - known - shell == set()


@pytest.mark.parametrize("document", [*DOCUMENTS, *OTHERS], ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_link_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", document.read_text()):
        if not target.startswith("https:"):
            file, _, heading = target.partition("#")
            place = document.parent / file if file else document
            assert place.exists(), target
            assert not heading or heading in headings(place), target


def headings(document: Path) -> set[str]:
    lines = [line.lstrip("# ").lower() for line in document.read_text().splitlines() if line.startswith("#")]
    return {re.sub(r"[^a-z0-9 _-]", "", line).replace(" ", "-") for line in lines}


def test_the_readme_is_read_in_one_sitting() -> None:
    assert len(README.read_text().splitlines()) <= 260


def test_the_env_example_explains_every_setting() -> None:
    example = (README.parent / ".env.example").read_text()
    assert set(re.findall(r"^([A-Z_]+)=", example, re.MULTILINE)) == set(VARIABLES)


def test_the_timers_and_schedules_name_commands_that_exist() -> None:
    hourly = "fleetfuel migrate && fleetfuel import --snapshot --apply"
    assert TEXT.count(hourly) >= 3
    assert "ExecStart=/opt/fleetfuel/bin/fleetfuel import --snapshot --apply" in TEXT
