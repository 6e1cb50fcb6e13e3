"""A run is reported to whoever watches: pings to a real server, one event for each end, lines with time and run."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fleetfuel.cli import ping

from .stage import Stage


class Watcher(ThreadingHTTPServer):
    """Remembers (path, body) of what it was reported."""

    daemon_threads = True

    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/ping/5d2f?k=v"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        assert isinstance(self.server, Watcher)
        self.server.heard.append((self.path, body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def watcher() -> Iterator[Watcher]:
    with Watcher() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_the_watcher_hears_the_start_the_success_and_the_failure_with_its_code(stage: Stage, watcher: Watcher) -> None:
    stage.snapshot()
    run = stage.done("import", "--snapshot", "--apply", "--json", FLEETFUEL_PING_URL=watcher.url).json["run_id"]
    assert [path for path, _ in watcher.heard] == ["/ping/5d2f/start?k=v", "/ping/5d2f?k=v"]
    assert all(run in body for _, body in watcher.heard)
    watcher.heard.clear()
    failed = stage.run("import", "--snapshot", "--apply", FLEETFUEL_PING_URL=watcher.url, RUSTFS_PREFIX="elsewhere/")
    assert [path for path, _ in watcher.heard] == ["/ping/5d2f/start?k=v", f"/ping/5d2f/{failed.code}?k=v"]
    watcher.heard.clear()
    stage.done("import", "--snapshot", FLEETFUEL_PING_URL=watcher.url)
    assert watcher.heard == []


def test_what_becomes_of_a_ping_changes_no_run(stage: Stage) -> None:
    """Nobody listens; a name nobody knows; somebody who accepts and is silent."""
    stage.snapshot()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for url in ("http://127.0.0.1:1/x", "http://nobody.invalid/x", f"http://127.0.0.1:{silent.getsockname()[1]}/x"):
            began = time.monotonic()
            done = stage.done("import", "--snapshot", "--apply", FLEETFUEL_PING_URL=url)
            assert time.monotonic() - began < 2 * ping.PATIENCE + 60
            assert done.err.count("did not take the ping") == 2
    assert stage.run("import", "--snapshot", FLEETFUEL_PING_URL="ftp://x").code == 78


def test_as_json_every_end_is_one_event(stage: Stage) -> None:
    stage.snapshot()
    for words, code, command in (
        (["import", "--snapshot", "--apply"], 0, "import"),
        (["status"], 0, "status"),
        (["migrate", "--status"], 0, "migrate"),
        (["import", "--snapshot", "--apply"], 66, "import"),
    ):
        changed = {"RUSTFS_PREFIX": "elsewhere/"} if code else {}
        done = stage.run(*words, FLEETFUEL_LOG="json", **changed)
        assert done.code == code
        ends = [line for line in map(json.loads, done.err.splitlines()) if line.get("event") == "end"]
        assert [each["exit_code"] for each in ends] == [code]
        assert ends[0]["at"].endswith("Z")
        if not code:
            assert ends[0]["command"] == command
    applied = stage.run("import", "--snapshot", "--apply", "--json", FLEETFUEL_LOG="json")
    (end,) = map(json.loads, applied.err.splitlines())
    assert (end["run_id"], end["applied"]) == (applied.json["run_id"], True)
    assert end["counts"]["records"] == applied.json["counts"]["records"]


def test_a_line_in_a_file_says_when_and_of_which_run(stage: Stage) -> None:
    failed = stage.run("import", "--snapshot", "--apply", RUSTFS_PREFIX="elsewhere/")
    run = stage.done("runs", "last", "--json").json["run_id"]
    assert re.match(rf"\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ {run} fleetfuel: ", failed.err)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (
            ["--snapshot", "--max-deletes", "25%", "--allow-lost-columns"],
            r"apply reports/\S+ --max-deletes 25% --allow-lost-columns$",
        ),
        (
            ["--snapshot", "--max-deletes=1,000,000", "--report", "a b", "--wait", "5"],
            r"apply 'a b' --max-deletes 1000000 --wait 5",
        ),
        (
            ["--snapshot", "--no-report", "--max-rejects", "3"],
            r"import --snapshot --no-report --max-rejects 3 --apply$",
        ),
    ],
)
def test_the_next_command_keeps_what_was_asked(stage: Stage, given: list[str], kept: str) -> None:
    stage.snapshot()
    done = stage.done("import", *given)
    assert re.search(rf"^Next    fleetfuel {kept}", done.out, re.MULTILINE), done.out


def test_the_next_command_can_be_pasted_whatever_the_file_is_called(stage: Stage) -> None:
    name = "tuesday's feed; $(id).json"
    (stage.folder / name).write_bytes(stage.producer.snapshot()[1])
    done = stage.done("import", "--file", name, "--as", "snapshot")
    command = re.search(r"^Next    fleetfuel (.+)$", done.out, re.MULTILINE)
    assert command
    applied = stage.shell(f"fleetfuel {command[1]} --json")
    assert json.loads(applied)["applied"] is True


def test_quiet_says_nothing_if_nothing_changed(stage: Stage) -> None:
    stage.snapshot()
    assert stage.done("import", "--snapshot", "--apply", "--quiet").out.startswith("fleetfuel snapshot")
    stage.put(("fuel_records/latest.json", b'{"metadata": {}, "records": []}'))
    assert stage.run("import", "--snapshot", "--apply", "--quiet").out.startswith("fleetfuel snapshot · REFUSED")
