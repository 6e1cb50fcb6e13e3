"""What is no file is refused where it would be read for ever: a pipe that nobody writes to, a device, a socket."""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

from fleetfuel import errors
from fleetfuel.feed import deliver, local
from fleetfuel.packaged import packaged
from fleetfuel.report import plan_file
from fleetfuel.rules.book import load_rules
from fleetfuel.settings import Settings, read_settings
from fleetfuel.table.migration_files import read_migrations


def folder_of(kind: str) -> Callable[[Path], Path]:
    """A copy of the shipped files, without the first."""

    def copy(path: Path) -> Path:
        shutil.copytree(packaged(kind), path.parent / kind)  # type: ignore[arg-type]
        first = min(path for path in (path.parent / kind).iterdir() if path.suffix in (".toml", ".sql"))
        first.unlink()
        return first

    return copy


def report(path: Path) -> Path:
    (path.parent / "report").mkdir()
    return path.parent / "report" / "plan.json"


def itself(path: Path) -> Path:
    return path


def dot_env(path: Path) -> Path:
    os.chdir(path.parent)
    return Path(".env")


def take_in(path: Path) -> None:
    with local.open_files([path], reading="changes", timezone=UTC):
        pass


NEEDED: Final = dict.fromkeys(("DATABASE_URL", "RUSTFS_ENDPOINT", "RUSTFS_ACCESS_KEY", "RUSTFS_SECRET_KEY"), "x://y/z")

READERS: Final[dict[str, tuple[Callable[[Path], Path], Callable[[Path], object], int]]] = {
    ".env": (dot_env, lambda _: read_settings({}), 78),
    "--env-file": (itself, lambda path: read_settings(dict(NEEDED), path), 78),
    "a file of rules": (folder_of("rules"), lambda path: load_rules(path.parent), 78),
    "a migration": (folder_of("migrations"), lambda path: read_migrations(path.parent), 78),
    "RUSTFS_CA_BUNDLE": (
        itself,
        lambda path: deliver.look_at_snapshot(
            Settings(endpoint="https://127.0.0.1:9", access_key="a", secret_key="b", ca_bundle=path)
        ),
        78,
    ),
    "a report's plan.json": (
        report,
        lambda path: plan_file.read_plan(path.parent, "run", datetime.now(UTC)),
        66,
    ),
}


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(os.path.relpath(path))


def a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [a_pipe, a_socket, a_device])
@pytest.mark.parametrize("name", READERS)
def test_what_is_no_file_is_refused(
    name: str, make: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    place, read, code = READERS[name]
    path = place(tmp_path / "file")
    make(path)
    with pytest.raises(errors.FleetfuelError) as refused:
        read(path)
    assert refused.value.exit_code == code
    assert path.name in str(refused.value) or path.parent.name in str(refused.value)


def test_a_pipe_for_settings_that_the_environment_has_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo(".env")
    given = {**NEEDED, "DATABASE_URL": "postgresql:///x", "RUSTFS_ENDPOINT": "http://127.0.0.1:1"}
    assert read_settings(given).remarks == (".env was not read: it is a pipe, and nobody writes to it",)


def test_no_settings_are_no_file(tmp_path: Path) -> None:
    assert read_settings({}, Path("/dev/null")).bucket == "fuel"


def test_a_file_to_import_may_be_a_pipe_if_somebody_writes_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = tmp_path / "changes.json"
    os.mkfifo(pipe)
    content = b'{"records": [' + b'{"id": 1}, ' * 100_000 + b'{"id": 1}]}'

    def write() -> None:
        time.sleep(0.2)
        pipe.write_bytes(content)

    writer = threading.Thread(target=write)
    writer.start()
    with local.open_files([pipe], reading="changes", timezone=UTC) as delivery:
        assert bytes(delivery.files[0].content) == content
    writer.join()
    monkeypatch.setattr(local, "PATIENCE", 0.1)
    with pytest.raises(errors.SourceNotFound, match="it is a pipe, and nobody writes to it"):
        take_in(pipe)


def test_a_pipe_without_a_name_may_be_empty() -> None:
    reader, writer = os.pipe()
    os.close(writer)
    try:
        with local.open_files([Path(f"/dev/fd/{reader}")], reading="changes", timezone=UTC) as delivery:
            assert bytes(delivery.files[0].content) == b""
    finally:
        os.close(reader)
