"""What arrives again, later, otherwise, or not at all: through the command line, with a real bucket."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bucket import misbehaving_proxy as faults
from bucket.misbehaving_proxy import Answer, Asked, Fault, Proxy, misbehaving_proxy
from table import fill

from fleetfuel.model.plan import Mode
from fleetfuel.plan.limits import Allowance, Overrides

from .conftest import START, Feed, delta, key_of

HOUR = timedelta(hours=1)
ALL_MAY_GO = Overrides(max_deletes=Allowance(number=100, is_share=True))
OTHERS = [fill(key) for key in range(101, 121)]
"""Enough rows that nobody touches for one deletion to be few."""


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a command said, and how it ended."""

    code: int
    run: Any
    err: str


def started(feed: Feed, *options: str) -> subprocess.CompletedProcess[str]:
    """`fleetfuel import … --no-report`, in a process of its own."""
    settings = feed.settings
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ},
        "DATABASE_URL": feed.table.uri,
        "RUSTFS_ENDPOINT": str(settings.endpoint),
        "RUSTFS_ACCESS_KEY": str(settings.access_key),
        "RUSTFS_SECRET_KEY": str(settings.secret_key),
        "RUSTFS_PREFIX": feed.prefix,
    }
    command = [sys.executable, "-m", "fleetfuel", "import", *options, "--no-report"]
    return subprocess.run(command, check=False, cwd=feed.table.folder, env=environment, capture_output=True, text=True)


def program(feed: Feed, *options: str) -> Said:
    """What it says to a program."""
    done = started(feed, *options, "--json")
    return Said(code=done.returncode, run=json.loads(done.stdout) if done.stdout else None, err=done.stderr)


def both(feed: Feed, mode: Mode, *options: str, **same: Any) -> Said:
    """A dry run, in this process, then `fleetfuel import --<mode> <options> --apply`: they have to agree."""
    dry, done = feed.run(mode=mode, apply=False, **same), program(feed, f"--{mode}", *options, "--apply")
    assert done.run, done.err
    assert (dry.exit_code, dry.run["counts"], dry.run["guards"]) == (done.code, done.run["counts"], done.run["guards"])
    return done


def reported(said: Said) -> dict[str, int]:
    left_out = ("records", "warned", "skipped")
    return {name: rows for name, rows in said.run["counts"].items() if rows and name not in left_out}


def modified(feed: Feed, name: str) -> datetime:
    found: datetime = feed.client.head_object(Bucket="fuel", Key=f"{feed.prefix}{name}")["LastModified"]
    return found


def put_later(feed: Feed, name: str, body: bytes) -> None:
    """Write an object again, in another second than before: stores tell no less."""
    before = modified(feed, name)
    while True:
        feed.client.put_object(Bucket="fuel", Key=f"{feed.prefix}{name}", Body=body)
        if modified(feed, name) > before:
            return
        time.sleep(0.2)


@pytest.fixture
def proxy(feed: Feed) -> Iterator[Proxy]:
    """The feed, seen through a proxy that can misbehave."""
    assert feed.settings.endpoint
    with misbehaving_proxy(feed.settings.endpoint) as running:
        feed.settings = replace(feed.settings, endpoint=running.endpoint)
        yield running


# --- the same snapshot again --------------------------------------------------------------------------------------


def test_the_same_bytes_written_again_speak_of_every_row_anew(feed: Feed) -> None:
    bare = json.dumps([fill(7, amount=1), *OTHERS]).encode()
    feed.client.put_object(Bucket="fuel", Key=f"{feed.prefix}latest.json", Body=bare)
    assert reported(both(feed, "snapshot")) == {"inserts": 21}
    time.sleep(1.1)  # a change of the second after
    now = datetime.now(UTC)
    feed.put(f"{now:%Y-%m-%dT%H:%M:%S}.000Z.json", delta(now, fill(7, amount=2), fill(8)))
    assert reported(both(feed, "changes")) == {"inserts": 1, "updates": 1}

    read_again = both(feed, "snapshot")
    assert reported(read_again) == {"stale": 1, "unchanged": 20}, "it is older than the change"

    time.sleep(1.1)
    put_later(feed, "latest.json", bare)
    again = both(feed, "snapshot")

    assert reported(again) == {"updates": 1, "unchanged": 20, "soft_deletes": 1, "soft_deletes_absent": 1}
    assert feed.table.row(7)["raw"]["amount"] == 1
    assert sorted(feed.table.live()) == [7, *range(101, 121)]


def was_read(said: Said) -> bool:
    return not any("nothing was downloaded" in remark for remark in said.run["remarks"])


def dated(moment: str) -> Fault:
    def bend(_proxy: Proxy, asked: Asked, answer: Answer) -> Answer:
        if asked.key:
            answer.headers["last-modified"] = moment
        return answer

    return bend


def test_the_shortcut_needs_the_etag_and_the_time_of_writing(feed: Feed, proxy: Proxy) -> None:
    first, later = "Thu, 01 Jan 2026 00:00:10 GMT", "Thu, 01 Jan 2026 00:00:11 GMT"
    feed.put_snapshot(START, OTHERS)
    with proxy.misbehave(dated(first)):
        assert was_read(program(feed, "--snapshot", "--apply"))
        assert not was_read(program(feed, "--snapshot", "--apply"))
    with proxy.misbehave(dated(later)):
        assert was_read(program(feed, "--snapshot", "--apply")), "the same bytes, written later"
        assert not was_read(program(feed, "--snapshot", "--apply"))
        feed.put_snapshot(START, [*OTHERS[:-1], fill(120, amount=5)])
        assert was_read(program(feed, "--snapshot", "--apply")), "other bytes, of the same second"
    assert feed.table.row(120)["raw"]["amount"] == 5


def test_an_empty_snapshot_let_through_once_is_refused_again(feed: Feed) -> None:
    feed.put_snapshot(START, OTHERS)
    assert both(feed, "snapshot").code == 0
    feed.put_snapshot(START + HOUR, [])
    assert both(feed, "snapshot").code == 3
    assert both(feed, "snapshot", "--max-deletes", "100%", overrides=ALL_MAY_GO).code == 0
    assert feed.table.live() == {}

    repeated = both(feed, "snapshot")

    assert repeated.code == 3
    assert [guard["code"] for guard in repeated.run["guards"]] == ["empty_snapshot"]
    assert both(feed, "snapshot", "--max-deletes", "100%", overrides=ALL_MAY_GO).code == 0


# --- change files -------------------------------------------------------------------------------------------------


def broken(name: str) -> Fault:
    """Asking for one object answers 500, for ever."""

    def bend(_proxy: Proxy, asked: Asked, answer: Answer) -> Answer:
        return faults.error(500, "InternalError") if asked.is_body and asked.key.endswith(name) else answer

    return bend


def test_a_file_that_the_store_does_not_give_is_remembered_and_read_later(feed: Feed, proxy: Proxy) -> None:
    lost = key_of(START + HOUR)
    for hours in (0, 1, 500):
        feed.put_changes(START + hours * HOUR, fill(hours + 1))

    with proxy.misbehave(broken(lost)):
        stopped = program(feed, "--changes", "--apply")
        assert (stopped.code, list(feed.table.live())) == (65, [1])
        skipped = both(feed, "changes", "--skip-bad-files", skip_bad_files=True)
        assert (skipped.code, list(feed.table.live())) == (0, [1, 501])
        [file] = [file for file in skipped.run["files"] if file["key"].endswith(lost)]
        assert file["status"] == "unread"
        assert "500" in file["reason"]
        shown = started(feed, "--changes", "--skip-bad-files", "--apply")
        assert lost in shown.stdout, shown
        assert program(feed, "--changes", "--apply").code == 65, "it is asked for, far before the look-back"

    healed = both(feed, "changes")

    assert (healed.code, reported(healed)) == (0, {"inserts": 1})
    assert [file["key"].rsplit("/", 1)[-1] for file in healed.run["files"]] == [lost]
    assert list(feed.table.live()) == [1, 2, 501]
    assert program(feed, "--changes", "--apply").run["files"] == []


def test_a_version_that_comes_back_is_read_a_third_time(feed: Feed) -> None:
    name = f"changes/{key_of(START)}"
    feed.put_changes(START, fill(1, amount=2))
    assert reported(program(feed, "--changes", "--apply")) == {"inserts": 1}
    put_later(feed, name, delta(START, fill(1, amount=3)))
    assert reported(both(feed, "changes")) == {"updates": 1}

    put_later(feed, name, delta(START, fill(1, amount=2)))

    assert reported(both(feed, "changes")) == {"updates": 1}
    assert feed.table.row(1)["raw"]["amount"] == 2
    assert program(feed, "--changes", "--apply").run["files"] == []


def test_an_error_in_place_of_changes_is_a_bad_file_until_it_changes(feed: Feed) -> None:
    bad = key_of(START + HOUR)
    feed.put_changes(START, fill(1))
    feed.put(bad, json.dumps({"error": "upstream timed out", "code": 500}).encode())
    feed.put_changes(START + 2 * HOUR, fill(3))

    for _ in range(2):
        stopped = program(feed, "--changes", "--apply")
        assert (stopped.code, list(feed.table.live())) == (65, [1])
        assert bad in stopped.err
    assert both(feed, "changes", "--skip-bad-files", skip_bad_files=True).code == 0
    assert list(feed.table.live()) == [1, 3]
    assert program(feed, "--changes", "--apply").run["files"] == []

    put_later(feed, f"changes/{bad}", delta(START + HOUR, fill(2)))

    assert reported(both(feed, "changes")) == {"inserts": 1}
    assert list(feed.table.live()) == [1, 2, 3]


def test_times_of_change_that_are_not_believed_are_noticed_in_one_sentence(feed: Feed) -> None:
    feed.put_snapshot(START, [fill(7, updated_at="2046-01-01 00:00:00"), fill(8, updated_at="2046-02-01"), *OTHERS])
    said = both(feed, "snapshot")
    feed.put_changes(
        START + HOUR, fill(7, amount=3, updated_at="2026-01-02 00:59:00"), fill(8, amount=3, updated_at="2026-01-09")
    )
    changes = both(feed, "changes")

    [noticed] = [remark for remark in said.run["remarks"] if "not believed" in remark]
    assert noticed == (
        "2 records say that they were changed more than 24 hours after their file's time: their updated_at is not"
        " believed (id 7, for one)"
    )
    [noticed] = [remark for remark in changes.run["remarks"] if "not believed" in remark]
    assert noticed.startswith("1 record says that it was changed more than 24 hours after its file's time")
    assert "(id 8)" in noticed
    assert reported(changes) == {"updates": 2}
