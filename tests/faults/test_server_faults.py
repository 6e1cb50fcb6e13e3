"""The server dies, vanishes, fills up, refuses or keeps others waiting: a sentence, an exit code, no half load."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
from mortal import kill, restart, stop
from table import spoken

from fleetfuel.sandbox.postgres import PostgresServer, postgres_server
from fleetfuel.table.database import connect
from fleetfuel.table.statements import named_sql

from .conftest import Ground, Tally, administer, make_ground, query, until
from .footprint import take_footprint
from .program import Program, Zygote
from .proxy import Cut, proxy
from .slow import SLOW_COMMIT, SLOW_MERGE, is_sleeping

LOST = "fleetfuel: The database connection was lost ("

IDLE = "select 1 as x from pg_stat_activity where datname = current_database() and state = 'idle in transaction'"
IDLE_FOR_LONGER = f"{IDLE} and state_change < now() - interval '600 ms'"


@pytest.fixture(scope="module")
def mortal(forks: Zygote) -> Iterator[Ground]:
    """A server that syncs to disk, to be killed."""
    with (
        tempfile.TemporaryDirectory(prefix="fleetfuel-faults-") as folder,
        postgres_server(settings={"fsync": "on", "full_page_writes": "on"}) as server,
    ):
        yield make_ground(server, forks, Path(folder))


def check_refusal(program: Program, code: int, *words: str) -> None:
    """One sentence for a person, what to do next, and the exit code."""
    assert program.wait() == code, program.err
    assert spoken(program.err).startswith("fleetfuel: "), program.err
    assert "Traceback" not in program.err
    assert len(program.said) <= 3, program.err
    for word in words:
        assert word in program.err, program.err
    assert [*(program.folder / "tmp").iterdir()] == []


def check_completed_later(ground: Ground, uri: str, folder: Path, tally: Tally) -> None:
    """Nothing was loaded; running again loads it."""
    assert take_footprint(uri) == ground.before
    again = ground.forks.start(folder / "again", [*ground.argv, "--wait", "60"], database=uri)
    assert again.wait() == 0, again.err
    found = take_footprint(uri)
    tally.add("rows lost", found.lost_from(ground.once))
    assert found == ground.once, found.differences_from(ground.once)


# --- the server is killed -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["sql read_rows", "batch", "sql merge_writes", "sql write_run"])
def test_the_server_is_killed(mortal: Ground, tally: Tally, tmp_path: Path, step: str) -> None:
    uri = mortal.reset()
    program = mortal.forks.start(tmp_path / "1", mortal.argv, database=uri, stops=[step])
    program.reach(step)
    kill(mortal.server)
    program.go_on()
    check_refusal(program, 69, LOST, "repeat the command")
    tally.add("faults tried")
    restart(mortal.server)
    check_completed_later(mortal, uri, tmp_path, tally)


def test_the_server_is_killed_in_the_middle_of_the_merge(mortal: Ground, tally: Tally, tmp_path: Path) -> None:
    with mortal.database() as uri:
        administer(mortal.server, SLOW_MERGE, uri)
        program = mortal.forks.start(tmp_path / "1", mortal.argv, database=uri)
        until(lambda: is_sleeping(uri))
        kill(mortal.server)
        check_refusal(program, 69, LOST)
        tally.add("faults tried")
        restart(mortal.server)
        administer(mortal.server, "drop trigger dawdle on fuel.records", uri)
        check_completed_later(mortal, uri, tmp_path, tally)


@pytest.mark.parametrize("comes_back", [True, False])
def test_the_server_is_killed_at_the_commit(mortal: Ground, tally: Tally, tmp_path: Path, comes_back: bool) -> None:
    """Back in time, it is asked what became of the run; else the run says that it cannot know."""
    with mortal.database() as uri:
        administer(mortal.server, SLOW_COMMIT, uri)
        settings = {"fleetfuel.table.load:SETTLING": 60 if comes_back else 1}
        program = mortal.forks.start(tmp_path / "1", mortal.argv, database=uri, settings=settings)
        program.reach("commit")
        until(lambda: is_sleeping(uri))
        kill(mortal.server)
        if comes_back:
            restart(mortal.server)
            check_refusal(program, 69, LOST, "it did not commit")
        else:
            check_refusal(program, 69, "while the commit of run", "running again is safe either way")
            restart(mortal.server)
        tally.add("faults tried")
        administer(mortal.server, "drop trigger dawdle on fuel.ingest_runs", uri)
        check_completed_later(mortal, uri, tmp_path, tally)


def test_the_server_is_killed_right_after_the_commit(mortal: Ground, tally: Tally, tmp_path: Path) -> None:
    """What it said it committed, it has."""
    uri = mortal.reset()
    program = mortal.forks.start(tmp_path / "1", mortal.argv, database=uri, stops=["committed"])
    program.reach("committed")
    kill(mortal.server)
    program.go_on()
    assert program.wait() == 0, program.err
    tally.add("faults tried")
    restart(mortal.server)
    found = take_footprint(uri)
    tally.add("rows lost", found.lost_from(mortal.once))
    assert found == mortal.once


def test_the_server_is_shut_down(mortal: Ground, tally: Tally, tmp_path: Path) -> None:
    uri = mortal.reset()
    program = mortal.forks.start(tmp_path / "1", mortal.argv, database=uri, stops=["sql merge_inserts"])
    program.reach("sql merge_inserts")
    stop(mortal.server)
    program.go_on()
    check_refusal(program, 69, LOST, "terminating connection due to administrator command")
    tally.add("faults tried")
    restart(mortal.server)
    check_completed_later(mortal, uri, tmp_path, tally)


def test_no_server(mortal: Ground, tally: Tally, tmp_path: Path) -> None:
    uri = mortal.reset()
    stop(mortal.server)
    program = mortal.forks.start(tmp_path / "1", mortal.argv, database=uri)
    check_refusal(program, 69, "Connection refused", "check that the server runs")
    assert mortal.server.password not in program.err
    tally.add("faults tried")
    restart(mortal.server)
    check_completed_later(mortal, uri, tmp_path, tally)


# --- the connection is cut ----------------------------------------------------------------------------------------


def first_words(statement: str) -> bytes:
    """The statement as it goes over the wire, up to its first parameter or so."""
    return named_sql(statement).encode()[:60]


@pytest.mark.parametrize("statement", ["take_lock", "read_rows", "create_stage", "merge_writes", "write_mark"])
def test_the_connection_is_cut(ground: Ground, tally: Tally, tmp_path: Path, statement: str) -> None:
    uri = ground.reset()
    with proxy(ground.server.host, ground.server.port) as between:
        between.needle = first_words(statement)
        program = ground.forks.start(tmp_path / "1", ground.argv, database=between.uri(uri))
        check_refusal(program, 69, LOST)
        assert between.cuts == 1
        tally.add("faults tried")
    check_completed_later(ground, uri, tmp_path, tally)


def test_the_connection_is_cut_in_the_stream(ground: Ground, tally: Tally, tmp_path: Path) -> None:
    uri = ground.reset()
    with proxy(ground.server.host, ground.server.port) as between:
        between.needle = b"PGCOPY\n\xff\r\n\x00"
        program = ground.forks.start(tmp_path / "1", ground.argv, database=between.uri(uri))
        check_refusal(program, 69, LOST)
        assert between.cuts == 1
        tally.add("faults tried")
    check_completed_later(ground, uri, tmp_path, tally)


COMMIT = b"COMMIT"


@pytest.mark.parametrize("cut", ["before", "answer", "silence"])
def test_the_connection_is_cut_at_the_commit(ground: Ground, tally: Tally, tmp_path: Path, cut: Cut) -> None:
    """The run asks, by another connection, whether it was committed, and says which."""
    uri = ground.reset()
    with proxy(ground.server.host, ground.server.port) as between:
        program = ground.forks.start(
            tmp_path / "1", ground.argv, database=between.uri(uri), stops=["commit"],
            settings={"fleetfuel.table.load:LINGERING": 0.5},
        )  # fmt: skip
        program.reach("commit")
        between.needle, between.cut = COMMIT, cut
        program.go_on()
        if cut == "answer":
            assert program.wait() == 0, program.err
            assert spoken(program.err).startswith("warning: The answer to the commit was lost")
            assert "it was committed" in program.err
            assert take_footprint(uri) == ground.once
        else:
            check_refusal(program, 69, LOST, "it did not commit")
            check_completed_later(ground, uri, tmp_path, tally)
        assert between.cuts == 1
        tally.add("faults tried")


@pytest.mark.parametrize("cut", ["before", "answer"])
def test_nobody_can_say_whether_it_committed(ground: Ground, tally: Tally, tmp_path: Path, cut: Cut) -> None:
    uri = ground.reset()
    with proxy(ground.server.host, ground.server.port) as between:
        program = ground.forks.start(
            tmp_path / "1", ground.argv, database=between.uri(uri), stops=["commit"],
            settings={"fleetfuel.table.load:SETTLING": 1},
        )  # fmt: skip
        program.reach("commit")
        between.needle, between.cut, between.refuses = COMMIT, cut, True
        program.go_on()
        check_refusal(program, 69, "while the commit of run", "running again is safe either way")
        tally.add("faults tried")
    # The next run finds out, and puts the report right.
    was_committed = cut == "answer"
    assert take_footprint(uri) == (ground.once if was_committed else ground.before)
    again = ground.forks.start(tmp_path / "again", ground.argv, database=uri)
    assert again.wait() == 0, again.err
    assert ("was cut short after its commit" in again.err) == was_committed
    assert take_footprint(uri) == (ground.twice if was_committed else ground.once)


def test_an_interruption_while_it_asks_whether_it_committed(ground: Ground, tally: Tally, tmp_path: Path) -> None:
    uri = ground.reset()
    with proxy(ground.server.host, ground.server.port) as between:
        program = ground.forks.start(tmp_path / "1", ground.argv, database=between.uri(uri), stops=["commit"])
        program.reach("commit")
        between.needle, between.cut, between.refuses = COMMIT, "answer", True
        program.go_on()
        until(lambda: between.cuts == 1)
        time.sleep(1)
        program.kill(signal.SIGINT)
        check_refusal(program, 69, "while the commit of run")
        tally.add("faults tried")


# --- full, slow, locked, read-only --------------------------------------------------------------------------------


def with_option(uri: str, *options: str) -> str:
    return f"{uri}?options={quote(' '.join(f'-c {option}' for option in options))}"


def can_mount() -> bool:
    with tempfile.TemporaryDirectory(prefix="fleetfuel-disk-") as folder, small_disk(Path(folder)) as is_mounted:
        return is_mounted


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """A file system of a few megabytes, if this user may mount one."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m,mode=755", "none", str(folder)]
    is_mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield is_mounted
    finally:
        if is_mounted:
            subprocess.run(["umount", str(folder)], check=True)


FULL = ["a quota", *(["a small disk"] if can_mount() else [])]
"""Only root can have a disk that fills up; everybody can have a quota of temporary files."""


@pytest.mark.parametrize("what", FULL)
def test_there_is_no_room_left(ground: Ground, tally: Tally, tmp_path: Path, what: str) -> None:
    if what == "a quota":
        uri = ground.reset()
        spilling = (
            "select count(*) as wrong, 0 as versions from (select * from generate_series(1, 200000) x order by x desc)"
        )
        program = ground.forks.start(
            tmp_path / "1",
            ground.argv,
            database=with_option(uri, "temp_file_limit=0", "work_mem=64kB"),
            sql={"prove_merge": spilling},
        )
        check_refusal(program, 69, "temporary file size exceeds")
        check_completed_later(ground, uri, tmp_path, tally)
    else:
        with tempfile.TemporaryDirectory(prefix="fleetfuel-disk-") as name, small_disk(Path(name)):
            check_full_disk(ground, Path(name), tmp_path, tally)
    tally.add("faults tried")


def fill_up(path: Path) -> None:
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


def check_full_disk(ground: Ground, disk: Path, folder: Path, tally: Tally) -> None:
    """The records lie in a tablespace on a small disk, which something else fills."""
    space, filler = disk / "space", disk / "filler"
    space.mkdir()
    owner = ground.server.data.stat()
    os.chown(space, owner.st_uid, owner.st_gid)
    administer(ground.server, f"create tablespace small location '{space}'")
    with ground.database() as uri:
        for table in ("records", "record_versions"):
            administer(ground.server, f"alter table fuel.{table} set tablespace small", uri)
        fill_up(filler)
        program = ground.forks.start(folder / "1", ground.argv, database=uri)
        check_refusal(program, 69, "No space left on device")
        filler.unlink()
        check_completed_later(ground, uri, folder, tally)
    administer(ground.server, "drop tablespace small")


@pytest.mark.parametrize("step", ["fetch", "report"])
def test_there_is_no_room_for_our_own_files(ground: Ground, tally: Tally, tmp_path: Path, step: str) -> None:
    """The download, or the report, does not fit: nothing is loaded, because evidence comes first."""
    uri = ground.reset()
    program = ground.forks.start(tmp_path / "1", ground.argv, database=uri, stops=[step])
    program.reach(step)
    resource.prlimit(program.pid, resource.RLIMIT_FSIZE, (600, 600))
    program.go_on()
    check_refusal(program, 73, "File too large")
    tally.add("faults tried")
    assert not (tmp_path / "reports").exists() or not [*(tmp_path / "reports").iterdir()]
    check_completed_later(ground, uri, tmp_path, tally)


def test_the_report_is_gone_when_it_should_say_applied(ground: Ground, tally: Tally, tmp_path: Path) -> None:
    """What is committed is a success, whatever comes after it."""
    uri = ground.reset()
    program = ground.forks.start(tmp_path / "1", ground.argv, database=uri, stops=["committed"])
    program.reach("committed")
    shutil.rmtree(tmp_path / "reports")
    program.go_on()
    assert program.wait() == 0, program.err
    tally.add("faults tried")
    assert spoken(program.err).startswith("warning: The run is applied, but its report")
    assert take_footprint(uri) == ground.once


def test_a_statement_takes_too_long(ground: Ground, tally: Tally, tmp_path: Path) -> None:
    with ground.database() as uri:
        administer(ground.server, SLOW_MERGE, uri)
        program = ground.forks.start(tmp_path / "1", ground.argv, database=with_option(uri, "statement_timeout=1s"))
        check_refusal(program, 69, "canceling statement due to statement timeout")
        tally.add("faults tried")
        administer(ground.server, "drop trigger dawdle on fuel.records", uri)
        check_completed_later(ground, uri, tmp_path, tally)


def test_the_server_does_not_let_transactions_idle(ground: Ground, tally: Tally, tmp_path: Path) -> None:
    """What a run does between two statements takes as long as it takes; only a frozen run is ended."""
    uri = ground.reset()
    impatient = with_option(uri, "idle_in_transaction_session_timeout=300ms")
    program = ground.forks.start(tmp_path / "0", ground.argv, database=impatient, stops=["apply"])
    program.reach("apply")
    until(lambda: bool(query(uri, IDLE_FOR_LONGER)))
    program.go_on()
    assert program.wait() == 0, program.err
    tally.add("faults tried")
    assert take_footprint(uri) == ground.once
    uri = ground.reset()
    limit = named_sql("limit_idleness")
    assert "15min" in limit
    short = {"limit_idleness": limit.replace("15min", "4s")}
    program = ground.forks.start(tmp_path / "1", ground.argv, database=uri, stops=["apply"], sql=short)
    program.reach("apply")  # in a transaction, as the first trial has shown
    until(lambda: not query(uri, IDLE))
    program.go_on()
    check_refusal(program, 69, LOST, "idle-in-transaction timeout")
    tally.add("faults tried")
    check_completed_later(ground, uri, tmp_path, tally)


@pytest.mark.parametrize("where", ["the URL", "fleetfuel"])
def test_somebody_else_holds_the_table(ground: Ground, tally: Tally, tmp_path: Path, where: str) -> None:
    """No longer than lock_timeout, which fleetfuel sets if nobody else does."""
    limit = named_sql("limit_lock_waits")
    assert "30s" in limit
    uri = ground.reset()
    with ground.locked(uri):
        program = ground.forks.start(
            tmp_path / "1",
            ground.argv,
            database=with_option(uri, "lock_timeout=1s") if where == "the URL" else uri,
            sql={} if where == "the URL" else {"limit_lock_waits": limit.replace("30s", "1s")},
        )
        check_refusal(program, 75, "did not let go in time", "canceling statement due to lock timeout")
    tally.add("faults tried")
    check_completed_later(ground, uri, tmp_path, tally)


def test_a_lock_timeout_of_the_role_or_the_url_is_kept(ground: Ground) -> None:
    uri = ground.reset()
    for given, seen in ((uri, "30s"), (with_option(uri, "lock_timeout=7s"), "7s")):
        with connect(given) as database:
            database.begin()
            cursor = database._connection.cursor()
            for expected in (seen, "7s" if seen == "7s" else "0"):  # what was set ends with the transaction
                database.rows("read_server")
                cursor.execute("select current_setting('lock_timeout') as lock_timeout")
                assert cursor.fetchone() == (expected,)
                database._driver.call(database._connection.rollback)
            cursor.close()


def test_a_database_that_is_set_to_read_only_is_respected(ground: Ground, tally: Tally, tmp_path: Path) -> None:
    uri = ground.reset()
    program = ground.forks.start(
        tmp_path / "1", ground.argv, database=with_option(uri, "default_transaction_read_only=on")
    )
    check_refusal(program, 78, "set to read only (default_transaction_read_only)")
    tally.add("faults tried")
    check_completed_later(ground, uri, tmp_path, tally)


@contextmanager
def standby_of(primary: PostgresServer, folder: Path) -> Iterator[PostgresServer]:
    """A copy of the server that follows it and takes no writes."""
    login = ["-h", primary.host, "-p", str(primary.port), "-U", primary.user]
    subprocess.run(
        [primary.bin / "pg_basebackup", "-D", folder / "cluster", "-R", "-c", "fast", *login],
        env={"PGPASSWORD": primary.password, "LC_ALL": "C"},
        check=True,
        capture_output=True,
    )
    shutil.copy(primary.data / "password", folder)
    owner = primary.data.stat()
    for each in (folder, *folder.rglob("*")):
        os.chown(each, owner.st_uid, owner.st_gid)
    with postgres_server(folder) as standby:
        yield standby


def test_the_server_is_a_standby(mortal: Ground, tally: Tally, tmp_path: Path) -> None:
    """A dry run works there; an import that is to write is refused."""
    mortal.reset()
    with (
        tempfile.TemporaryDirectory(prefix="fleetfuel-standby-") as name,
        standby_of(mortal.server, Path(name)) as other,
    ):
        uri = other.uri(f"{mortal.template}_arena")
        dry = mortal.forks.start(tmp_path / "dry", [each for each in mortal.argv if each != "--apply"], database=uri)
        assert dry.wait() == 0, dry.err
        check_refusal(mortal.forks.start(tmp_path / "1", mortal.argv, database=uri), 69, "replica")
        tally.add("faults tried")
