"""Output that is closed, full, or read by somebody who has seen enough: one answer, whatever the command."""

from __future__ import annotations

import itertools
import json
import subprocess

import pytest
from table import spoken

from fleetfuel.cli.main import cli

from .stage import COMMAND, Stage, environment

LINES = {
    "import": ["import", "--snapshot"],
    "migrate": ["migrate"],
    "show": ["show", "REPORT"],
    "runs": ["runs"],
    "rejects": ["rejects", "--open"],
    "history": ["history", "1200"],
    "doctor": ["doctor"],
    "status": ["status"],
    "prune": ["prune", "--older-than", "1d"],
    "demo": ["demo", "--help"],
    "grafana": ["grafana"],
    "undo": ["undo", "last", "--skip-conflicts", "--max-deletes", "100%", "--max-updates", "100%"],
    "apply": ["apply", "--help"],
}
"""One command line of each command; all of them print something."""

UNWRITABLE = {"closed": ">&-", "full": ">/dev/full", "both closed": ">&- 2>&-"}
UNHEARD = {"closed": "2>&-", "full": "2>/dev/full"}


def shell(stage: Stage, words: list[str], redirection: str, **changed: str) -> subprocess.CompletedProcess[str]:
    """The command with a shell's redirection."""
    command = ["bash", "-c", f'"$@" {redirection}', "bash", *COMMAND, *words]
    given = environment(stage.env | changed)
    return subprocess.run(command, cwd=stage.folder, env=given, capture_output=True, text=True, check=False)


def of_stage(words: list[str], stage: Stage) -> list[str]:
    report = next(folder for folder in sorted((stage.folder / "reports").iterdir()))
    return [str(report) if word == "REPORT" else word for word in words]


def test_every_command_is_tried() -> None:
    assert set(LINES) == set(cli.commands)


@pytest.mark.parametrize(
    ("words", "how"),
    zip([*LINES.values(), [], ["--help"], ["--version"]], itertools.cycle(["full", "closed", "both closed", "full"])),
)
def test_an_outcome_that_cannot_be_written_is_73_and_no_bug(lived_in: Stage, words: list[str], how: str) -> None:
    done = shell(lived_in, of_stage(words, lived_in), UNWRITABLE[how])
    assert done.returncode == 73, done
    if how != "both closed":
        assert spoken(done.stderr).startswith("fleetfuel: The output cannot be written: ")
        assert "bug" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("how", UNHEARD)
@pytest.mark.parametrize(
    "words", [["runs"], ["import", "--snapshot"], ["import", "--nope"], ["history", "99"]], ids=str
)
def test_a_complaint_that_nobody_can_hear_changes_no_exit_code(lived_in: Stage, words: list[str], how: str) -> None:
    heard = shell(lived_in, words, "")
    unheard = shell(lived_in, words, UNHEARD[how])
    assert unheard.returncode == heard.returncode
    assert len(unheard.stdout.splitlines()) == len(heard.stdout.splitlines())
    assert "Traceback" not in unheard.stdout


@pytest.mark.parametrize("words", [LINES["doctor"], LINES["runs"], ["--help"]], ids=" ".join)
def test_a_reader_who_has_seen_enough_is_no_fault(lived_in: Stage, words: list[str]) -> None:
    words = of_stage(words, lived_in)
    whole = shell(lived_in, words, "")
    cut = shell(lived_in, words, '| head -1; exit "${PIPESTATUS[0]}"')
    assert cut.returncode == whole.returncode
    assert len(cut.stdout.splitlines()) == 1
    assert spoken(cut.stderr) == spoken(whole.stderr)


@pytest.mark.parametrize("how", UNWRITABLE)
def test_a_committed_run_whose_outcome_cannot_be_written_stands_and_says_so(stage: Stage, how: str) -> None:
    stage.snapshot()
    done = shell(stage, ["import", "--snapshot", "--apply"], UNWRITABLE[how])
    assert done.returncode == 73
    assert "Nothing was" not in done.stderr
    run = stage.done("runs", "last", "--json").json
    assert (run["status"], run["exit_code"]) == ("applied", 0)


def test_a_migration_whose_receipt_cannot_be_written_stands_and_says_so(empty_stage: Stage) -> None:
    done = shell(empty_stage, ["migrate"], ">/dev/full")
    assert done.returncode == 73
    assert "What was applied stays applied" in done.stderr
    assert empty_stage.done("migrate", "--status").out.splitlines()[-1].endswith("0 pending.")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_of_another_alphabet_loses_nothing(lived_in: Stage, encoding: str) -> None:
    plain = shell(lived_in, ["doctor", "--quick"], "", PYTHONIOENCODING=encoding)
    assert (plain.returncode, plain.stderr) == (0, "")
    words = ["import", "--snapshot", "--json", "--no-report"]
    said = [
        json.loads(shell(lived_in, words, "", PYTHONIOENCODING=each).stdout)["samples"] for each in (encoding, "utf-8")
    ]
    assert said[0] == said[1]
