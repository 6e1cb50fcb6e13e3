"""Help that teaches, errors of three lines at most, logs for people and for machines, progress on a terminal alone."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios

import click
import pytest
from table import spoken

from fleetfuel import errors
from fleetfuel.cli import progress
from fleetfuel.cli.main import cli

from .stage import COMMAND, Stage, environment

COMMANDS = sorted(cli.commands)
HEAVY = ("polars", "pyarrow", "boto3", "botocore", "pandera", "adbc_driver_postgresql", "msgspec", "numpy")


def helped(*arguments: str) -> str:
    done = subprocess.run(
        [*COMMAND, *arguments, "--help"],
        env=environment({"COLUMNS": "100"}),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


# --- help ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_has_an_example(command: str) -> None:
    assert f"\n  fleetfuel {command}" in helped(command)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_says_what_it_does(command: str) -> None:
    options = [each for each in cli.commands[command].params if isinstance(each, click.Option)]
    assert [each.name for each in options if not each.help] == []


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["import", "--help"], ["import", "--snapshoot"], ["nope"]]
)
def test_help_and_refusals_import_nothing_heavy(arguments: list[str]) -> None:
    program = (
        "import sys\nfrom fleetfuel.cli.main import main\ntry:\n    main()\nexcept SystemExit:\n"
        f"    print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], env=environment({}), capture_output=True, text=True, check=True
    )
    assert done.stderr.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("arguments", "suggested"),
    [
        (["imprt"], "Did you mean 'import'?"),
        (["histroy", "1"], "Did you mean 'history'?"),
        (["import", "--snapsht"], "'--snapshot'"),
        (["import", "--max-delete", "4"], "'--max-deletes'"),
    ],
)
def test_a_mistyped_word_is_answered_with_the_nearest(stage: Stage, arguments: list[str], suggested: str) -> None:
    refused = stage.run(*arguments)
    assert refused.code == 64
    assert suggested in refused.err
    assert refused.err.splitlines()[-1].startswith("`fleetfuel ")
    assert refused.out == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ("import", "--snapshot", "--max-deletes", "nan%"),
        ("import", "--snapshot", "--as-of", "all"),
        ("import", "--snapshot", "--as-of", "0001-01-01"),
        ("import", "--changes", "--reseed", "9999-12-31T23:59:59-12:00"),
        ("import", "--snapshot", "--deep", "--skip-unchanged"),
        ("import", "--changes", "--skip-unchanged"),
        ("import", "--changes", "--force-old-snapshot"),
        ("prune", "--older-than", "²d"),
        ("prune", "--older-than", "9" * 5000 + "d"),
        ("history", "9" * 20),
        ("runs", "--last", "9" * 20),
        ("rejects", "--last", "9" * 20),
        ("show", "reports", "--rows", "--limit", "9" * 20),
    ],
    ids=lambda words: " ".join(words)[:40],
)
def test_a_value_that_cannot_be_meant_is_refused(stage: Stage, arguments: tuple[str, ...]) -> None:
    refused = stage.run(*arguments)
    assert (refused.code, refused.out) == (64, ""), refused.err


def test_an_empty_id_is_no_run(stage: Stage) -> None:
    """As of a variable that is not set: it is no beginning of every id."""
    for command in ("runs", "undo"):
        assert stage.run(command, "").code == 66


@pytest.mark.parametrize("asked", ["nonsense", "bash_complete"])
def test_a_completion_that_no_shell_asks_for_is_refused(stage: Stage, asked: str) -> None:
    assert stage.run(_FLEETFUEL_COMPLETE=asked, COMP_WORDS=None).code == 64


# --- errors -------------------------------------------------------------------------------------------------------


def all_errors(of: type[errors.FleetfuelError] = errors.FleetfuelError) -> list[type[errors.FleetfuelError]]:
    return [of, *(each for below in of.__subclasses__() for each in all_errors(below))]


@pytest.mark.parametrize("error", all_errors(), ids=lambda each: each.__name__)
def test_an_error_takes_three_lines_at_most(error: type[errors.FleetfuelError]) -> None:
    assert "message" in vars(error)
    assert 1 <= len(error.message.strip().splitlines()) <= 3


def test_what_the_environment_lacks_is_said_in_three_lines(stage: Stage) -> None:
    for missing in ("DATABASE_URL", "RUSTFS_ENDPOINT", "RUSTFS_SECRET_KEY"):
        refused = stage.run("import", "--snapshot", **{missing: None})
        assert refused.code == 78
        assert len(refused.err.splitlines()) <= 3
        assert spoken(refused.err).startswith(f"fleetfuel: {missing} is not set.")


# --- logs ---------------------------------------------------------------------------------------------------------


def test_cron_gets_the_summary_and_nothing_else(stage: Stage) -> None:
    stage.snapshot()
    done = stage.done("import", "--snapshot", "--apply")
    assert done.err == ""
    assert done.out.startswith("fleetfuel snapshot · applied")


def test_verbose_tells_every_step(stage: Stage) -> None:
    stage.snapshot()
    done = stage.done("--verbose", "import", "--snapshot", "--apply")
    assert [line.split(":")[0] for line in spoken(done.err).splitlines()] == ["fetch", "read", "stage", "merge"]
    assert "\r" not in done.err


def test_shared_options_stand_before_the_command_or_after_it(stage: Stage) -> None:
    stage.snapshot()
    said = [
        [line.split(":")[0] for line in spoken(stage.done(*words).err).splitlines()]
        for words in (["-v", "import", "--snapshot"], ["import", "--snapshot", "-v"], ["import", "-v", "--snapshot"])
    ]
    assert said[0] == said[1] == said[2] != []
    (stage.folder / "other.env").write_text(f"DATABASE_URL={stage.url}\n")
    for words in (["--env-file", "other.env", "runs"], ["runs", "--env-file", "other.env"]):
        assert stage.done(*words, DATABASE_URL=None).err == ""
    refused = stage.run("runs", "--env-file", "nowhere.env")
    assert (refused.code, spoken(refused.err).splitlines()[0]) == (
        78,
        "fleetfuel: --env-file: nowhere.env does not exist.",
    )


def test_a_pipe_in_place_of_settings_or_of_a_report_is_refused(stage: Stage) -> None:
    os.mkfifo(stage.folder / ".env")
    refused = stage.run("runs", DATABASE_URL=None)
    assert (refused.code, spoken(refused.err).splitlines()) == (
        78,
        [
            "fleetfuel: .env cannot be read: it is a pipe, and nobody writes to it.",
            "Name a file with --env-file, or set the variables instead.",
        ],
    )
    (stage.folder / ".env").unlink()
    stage.snapshot()
    stage.done("import", "--snapshot", "--report", "kept")
    for name in ("changes.parquet", "plan.json"):
        (stage.folder / "kept" / name).unlink()
        os.mkfifo(stage.folder / "kept" / name)
        assert stage.run("apply", "kept").code in (65, 66)


def test_the_name_alone_is_answered_with_the_help(stage: Stage) -> None:
    alone = stage.done()
    assert alone.out == stage.done("--help").out
    assert alone.out.startswith("Usage: fleetfuel")


def test_json_logs_are_one_object_a_line_with_the_run_in_each(stage: Stage) -> None:
    stage.snapshot()
    done = stage.done("-v", "import", "--snapshot", "--apply", "--json", FLEETFUEL_LOG="json")
    lines = [json.loads(line) for line in done.err.splitlines()]
    assert {line["run_id"] for line in lines} == {done.json["run_id"]}
    assert {line["level"] for line in lines} == {"info"}
    assert all({"at", "message"} <= line.keys() for line in lines)


def test_an_error_is_one_json_line_too_and_the_ledger_knows_it_by_the_same_run(stage: Stage) -> None:
    refused = stage.run("import", "--snapshot", "--apply", FLEETFUEL_LOG="json")
    line = json.loads(refused.err)
    assert refused.err.count("\n") == 1
    assert (line["level"], line["error"], line["exit_code"]) == ("error", "SourceNotFound", refused.code)
    assert stage.done("runs", "last", "--json").json["run_id"] == line["run_id"]
    usage = json.loads(stage.run("import", "--nope", FLEETFUEL_LOG="json").err)
    assert (usage["error"], usage["exit_code"]) == ("Usage", 64)


def test_logs_can_be_chosen_in_the_env_file(stage: Stage) -> None:
    (stage.folder / ".env").write_text("FLEETFUEL_LOG=json\n")
    assert json.loads(stage.run("runs", DATABASE_URL=None).err)["exit_code"] == 78


# --- terminals ----------------------------------------------------------------------------------------------------


def on_a_terminal(stage: Stage, *arguments: str, columns: int = 60, **changed: str) -> str:
    """What a terminal of that width receives on stderr; stdout goes elsewhere."""
    screen, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    given = environment({**stage.env, "TERM": "xterm", "COLUMNS": str(columns), **changed})
    process = subprocess.Popen(
        [*COMMAND, *arguments], cwd=stage.folder, env=given, stdout=subprocess.DEVNULL, stderr=terminal
    )
    os.close(terminal)
    received = b""
    try:
        while piece := os.read(screen, 65536):
            received += piece
    except OSError:  # Linux: the other end is closed
        pass
    os.close(screen)
    assert process.wait() == 0
    return received.decode()


def test_a_terminal_sees_progress_that_is_gone_in_the_end(stage: Stage) -> None:
    stage.snapshot()
    seen = on_a_terminal(stage, "import", "--snapshot", "--apply")
    drawn = [line.removesuffix("\x1b[K") for line in seen.split("\r") if line not in ("", "\x1b[K")]
    assert {line.split()[0] for line in drawn} == {"fetch", "read", "stage", "merge"}
    assert max(map(len, drawn)) < 60
    assert seen.endswith("\r\x1b[K")
    assert "\x1b[3" not in seen


def test_a_dumb_terminal_sees_none(stage: Stage) -> None:
    stage.snapshot()
    assert on_a_terminal(stage, "import", "--snapshot", TERM="dumb") == ""


def test_a_log_line_does_not_run_into_the_bar(stage: Stage) -> None:
    stage.snapshot()
    seen = on_a_terminal(stage, "-v", "import", "--snapshot")
    assert "\r\x1b[Kfetch: " in seen


@pytest.mark.parametrize(("no_color", "is_coloured"), [("", True), ("1", False)])
def test_colours_are_for_terminals_that_want_them(stage: Stage, no_color: str, is_coloured: bool) -> None:
    screen, terminal = pty.openpty()
    given = environment({**stage.env, "TERM": "xterm", "NO_COLOR": no_color or None})
    done = subprocess.Popen([*COMMAND, "doctor", "--quick"], cwd=stage.folder, env=given, stdout=terminal)
    os.close(terminal)
    received = b""
    try:
        while piece := os.read(screen, 65536):
            received += piece
    except OSError:
        pass
    os.close(screen)
    done.wait()
    assert (b"\x1b[32m" in received) == is_coloured
    assert "\x1b" not in stage.run("doctor", "--quick").out


@pytest.mark.parametrize("width", [40, 60, 78])
def test_a_bar_is_as_wide_as_it_may_be(width: int) -> None:
    for done, total in ((0, 0), (0, 10), (5, 10), (10, 10), (123_456_789, 987_654_321)):
        assert len(progress.bar("fetch", done, total, width)) <= width
        assert len(progress.bar("read", done, total, width)) <= width
