"""Whatever the store does, an import ends in the right table or with an exit code that says what is wrong."""

from __future__ import annotations

import json
import random
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import adbc_driver_postgresql.dbapi as adbc
import pytest
from table import EVERYTHING, Row, Table

from fleetfuel import errors
from fleetfuel.feed import bucket, deliver, download
from fleetfuel.pipeline import Outcome, Request
from fleetfuel.pipeline import run as run_import
from fleetfuel.report.text import render_summary
from fleetfuel.sandbox.postgres import PostgresServer
from fleetfuel.settings import Settings

from . import misbehaving_proxy as faults
from .conftest import FEW, FIRST_HOUR, MANY, Witness, change_body, change_key, feed
from .misbehaving_proxy import Fault, Proxy

pytestmark = pytest.mark.usefixtures("hasty")

AT_SEVEN: Final = [hour for hour in range(FEW) if "T07-" in change_key(hour)]
"""Hours whose files a fault "at 07:00" befalls."""


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name.startswith("fleetfuel") and name != "fleetfuel-database"]


def records(hours: int) -> dict[int, Row]:
    """What the files of the first so many hours say."""
    return {hour: json.loads(change_body(hour))["records"][0] for hour in range(hours)}


def held(table: Table) -> dict[int, Row]:
    return {row["id"]: json.loads(row["raw"]) for row in table.query("select id, raw::text as raw from fuel.records")}


def catch_up(table: Table, settings: Settings, **more: Any) -> Outcome:
    request = Request(**{"mode": "changes", "apply": True, "wants_report": False, "overrides": EVERYTHING, **more})
    return run_import(request, replace(settings, reports=table.folder, lookback_hours=2 * MANY), table.uri)


# --- 2,500 keys ---------------------------------------------------------------------------------------------------

Clone = Callable[[Table | None], Table]


@pytest.fixture(scope="module")
def clone(postgres: PostgresServer, _template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    """Makes a table of its own: a fresh one, or one that begins as another is now."""
    tables: list[Table] = []

    def make(like: Table | None) -> Table:
        if like:
            like.close()
        name, template = f"test_{uuid.uuid4().hex}", like.uri.rsplit("/", 1)[1].split("?")[0] if like else _template
        with adbc.connect(postgres.uri(), autocommit=True) as connection, connection.cursor() as cursor:
            cursor.executescript(f"create database {name} template {template} strategy = file_copy")
        tables.append(Table(postgres.uri(name), tmp_path_factory.mktemp("table"), is_filled=like is not None))
        return tables[-1]

    yield make
    for each in tables:
        each.close()


@pytest.fixture(scope="module")
def nine_tenths(seaweed: Witness, clone: Clone) -> Table:
    """A table that lacks every tenth of the 2,500 files, on each page of a listing: what they said, and that they are
    read. The witness that it was made from had them all."""
    table = clone(None)
    outcome = catch_up(table, seaweed.many)
    assert outcome.exit_code == 0
    assert held(table) == records(MANY)
    table.write("delete from fuel.records where id % 10 = 3")
    keys = ", ".join(f"'many/changes/{change_key(hour)}'" for hour in range(3, MANY, 10))
    table.write(f"delete from fuel.ingest_files where key in ({keys})")
    return table


def test_2500_change_files_are_listed_in_time_order_and_fetched_whole(witness: Witness) -> None:
    settings = witness.many
    listing = deliver.list_changes(settings)
    assert [each.key for each in listing.files] == [f"many/changes/{key}" for key in feed(MANY)]
    assert [each.at for each in listing.files] == [FIRST_HOUR + timedelta(hours=hour) for hour in range(MANY)]
    assert listing.notices == ()
    step = 20 if witness.name == "moto" else 1  # it answers 150 requests a second
    wanted = listing.files[::step]
    with deliver.fetch_changes(settings, wanted) as delivery:
        assert [bytes(each.content) for each in delivery.files] == list(feed(MANY).values())[::step]
        assert [(each.key, each.etag) for each in delivery.files] == [(each.key, each.etag) for each in wanted]
        assert delivery.unreadable == ()
        assert delivery.notices == ()


def read_from(witness: Witness, table: Table) -> None:
    """The ledger as if its files came from this witness: a version of a file is its key, its ETag and when that store
    got it, and each got them at another second."""
    listed = deliver.list_changes(witness.many).files
    times = ", ".join(f"('{each.key}', timestamptz '{each.modified_at.isoformat()}')" for each in listed)
    table.write(
        "update fuel.ingest_files as f set modified_at = t.modified_at"
        f" from (values {times}) as t (key, modified_at) where f.key = t.key"
    )


@pytest.mark.parametrize("name", ["seaweed", "swift", "moto"])
def test_2500_change_files_end_in_the_same_table(
    name: str, nine_tenths: Table, clone: Clone, request: pytest.FixtureRequest
) -> None:
    witness: Witness = request.getfixturevalue(name)
    table = clone(nine_tenths)
    read_from(witness, table)
    outcome = catch_up(table, witness.many)
    assert outcome.exit_code == 0
    assert held(table) == records(MANY)
    assert len(outcome.run["files"]) == MANY // 10
    again = catch_up(table, witness.many)
    assert again.run["files"] == []


@pytest.mark.parametrize(
    "fault",
    [
        faults.no_continuation_token,
        faults.inclusive_start_after,
        faults.false_is_truncated,
        faults.empty_page_between,
        faults.page_out_of_order,
        faults.truncated_listing,
        faults.flaky_500,
    ],
)
def test_the_files_not_yet_read_are_found_among_2500_in_spite_of(
    fault: Fault, nine_tenths: Table, clone: Clone, seaweed: Witness, proxy: Proxy
) -> None:
    table = clone(nine_tenths)
    with proxy.misbehave(fault):
        outcome = catch_up(table, replace(seaweed.many, endpoint=proxy.endpoint))
    assert outcome.exit_code == 0
    assert held(table) == records(MANY)
    read = [file["key"].removeprefix("many/changes/") for file in outcome.run["files"]]
    assert read == [change_key(hour) for hour in range(3, MANY, 10)]


@pytest.mark.parametrize("fault", [faults.always_truncated, faults.same_page_again, faults.same_page_with_new_tokens])
def test_a_listing_that_does_not_get_on_loads_nothing(
    fault: Fault, nine_tenths: Table, clone: Clone, seaweed: Witness, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket, "FRUITLESS_PAGES", 3)
    table = clone(nine_tenths)
    left = table.everything()
    with proxy.misbehave(fault), pytest.raises(errors.BucketUnavailable) as caught:
        catch_up(table, replace(seaweed.many, endpoint=proxy.endpoint))
    assert caught.value.exit_code == 69
    assert table.everything() == left


# --- bodies -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        faults.listed_key_404_twice,
        faults.no_etag,
        faults.flaky_500,
        faults.slow_drip,
        faults.reset_in_mid_body,
        faults.corrupted_once,
        faults.ignores_ranges,
        faults.foreign_etag,
    ],
)
def test_changes_and_snapshot_end_in_the_right_table_in_spite_of(
    fault: Fault, table: Table, through: Settings, proxy: Proxy
) -> None:
    with proxy.misbehave(fault):
        outcome = catch_up(table, through)
        assert (outcome.exit_code, held(table)) == (0, records(FEW))
        snapshot = catch_up(table, through, mode="snapshot")
    assert snapshot.exit_code == 0
    assert table.live() == {1: {"id": 1, "liters": 40.50}}
    noticed = any("is not the MD5 of its bytes" in remark for remark in snapshot.run["remarks"])
    assert noticed == (fault is faults.foreign_etag)


@pytest.mark.parametrize(
    "fault",
    [
        faults.listed_key_404,
        faults.empty_truncated_body,
        faults.shortened_body,
        faults.corrupted_anew,
        faults.denied_at_seven,
        faults.unavailable_at_seven,
    ],
)
def test_a_file_that_cannot_be_had_stops_the_run_before_it_until_it_can(
    fault: Fault, table: Table, through: Settings, proxy: Proxy
) -> None:
    with proxy.misbehave(fault):
        stopped = catch_up(table, through)
        assert isinstance(stopped.error, errors.BadChangeFile)
        assert stopped.exit_code == 65
        assert change_key(AT_SEVEN[0]) in str(stopped.error)
        assert held(table) == records(AT_SEVEN[0])

        skipped = catch_up(table, through, skip_bad_files=True)
        assert skipped.exit_code == 0
        assert held(table) == {hour: row for hour, row in records(FEW).items() if hour not in AT_SEVEN}
        assert [file["status"] for file in skipped.run["files"]].count("unread") == len(AT_SEVEN)

    healed = catch_up(table, through)
    assert (healed.exit_code, held(table)) == (0, records(FEW))
    assert [file["key"] for file in healed.run["files"]] == [f"few/changes/{change_key(hour)}" for hour in AT_SEVEN]


REFUSED: Final[dict[str, tuple[Fault, int, int]]] = {
    "every body breaks off": (faults.truncated_body, 65, 65),
    "bodies trickle": (faults.trickle, 65, 65),
    "no object may be read": (faults.denied_403, 77, 77),
    "every object answers 503": (faults.lasting_503, 69, 69),
    "the clock is wrong": (faults.clock_skew_403, 77, 77),
    "the region is wrong": (faults.wrong_region_400, 78, 78),
    "the region moved": (faults.permanent_redirect_301, 78, 78),
    "it is a console": (faults.console_instead_of_s3, 69, 69),
    "a gateway stands before it": (faults.gateway_502, 69, 69),
    "a front door redirects": (faults.redirect_302, 78, 78),
}
"""What is wrong with the whole store → how changes and a snapshot exit."""


@pytest.mark.parametrize("wrong", REFUSED)
def test_a_store_that_cannot_be_read_loads_nothing_and_says_why(
    wrong: str, clone_of_few: Table, through: Settings, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault, *exits = REFUSED[wrong]
    monkeypatch.setattr(download, "STALL_SECONDS", 0.15)
    monkeypatch.setattr(download, "RESUMPTIONS", 1)
    left = clone_of_few.everything()
    with proxy.misbehave(fault):
        for mode, code in zip(("changes", "snapshot"), exits, strict=True):
            error = exit_of(clone_of_few, through, mode)
            assert error.exit_code == code
            assert "fleetfuel has a bug" not in str(error)
    assert clone_of_few.everything() == left


def exit_of(table: Table, settings: Settings, mode: str) -> errors.FleetfuelError:
    try:
        outcome = catch_up(table, settings, mode=mode)
    except errors.FleetfuelError as error:
        return error
    assert outcome.error
    return outcome.error


@pytest.fixture(scope="module")
def clone_of_few(clone: Clone) -> Table:
    """An empty table that nothing may be loaded into."""
    return clone(None)


@pytest.mark.parametrize(
    ("setting", "value"), [("bucket", "fuel-of-yesterday"), ("prefix", "nowhere/"), ("secret_key", "wr0ng-s3cret")]
)
def test_a_wrong_setting_has_its_own_exit(setting: str, value: str, clone_of_few: Table, seaweed: Witness) -> None:
    settings = replace(seaweed.under("few/"), **{setting: value})  # type: ignore[arg-type]
    error = exit_of(clone_of_few, settings, "snapshot")
    assert error.exit_code == (77 if setting == "secret_key" else 66)
    assert value not in str(error) or setting != "secret_key"


def test_a_folder_without_changes_loads_nothing_and_moves_nothing(table: Table, seaweed: Witness) -> None:
    """What a listing lacks is never the proof that something is gone."""
    catch_up(table, seaweed.under("few/"))
    left = table.everything()
    outcome = catch_up(table, seaweed.under("nowhere/"))
    assert (outcome.exit_code, outcome.run["files"]) == (0, [])
    assert table.everything() == left


SESSIONS: Final = """
    select state, backend_xid is not null or backend_xmin is not null as has_snapshot
    from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid() and application_name like 'fleetfuel%'
"""


def test_no_transaction_is_open_while_the_store_is_asked(table: Table, through: Settings, proxy: Proxy) -> None:
    """Whatever the store is asked for, a look, a listing or a file, the run's session is idle meanwhile: a download as
    long as one likes is no idle transaction."""
    seen: dict[str, list[Row]] = {"HEAD": [], "listing": [], "GET": []}

    def look(_proxy: Proxy, asked: faults.Asked, answer: faults.Answer) -> faults.Answer:
        with adbc.connect(table.uri, autocommit=True) as connection, connection.cursor() as cursor:
            cursor.execute(SESSIONS)
            kind = "listing" if asked.is_listing else asked.method
            seen[kind] += cursor.fetch_arrow_table().to_pylist()
        return answer

    with proxy.misbehave(look):
        for mode in ("changes", "snapshot", "snapshot"):
            for applies in (False, True):
                assert catch_up(table, through, mode=mode, apply=applies).exit_code == 0
    idle = {"state": "idle", "has_snapshot": False}
    assert {kind: [row for row in rows if row != idle] for kind, rows in seen.items()} == {
        "HEAD": [],
        "listing": [],
        "GET": [],
    }
    assert all(seen.values())


GREAT: Final = random.Random(4).randbytes(2_000).hex()
"""4,000 characters that no index can make short."""


def great_names(_proxy: Proxy, asked: faults.Asked, answer: faults.Answer) -> faults.Answer:
    """Keys and ETags are longer than S3 has them, and than an entry of an index may be."""
    if asked.is_listing:
        answer.body = re.sub(rb"(<Key>few/changes/)", rb"\1" + GREAT.encode() + b" ", answer.body)
        answer.body = re.sub(rb"<ETag>.*?</ETag>", b"<ETag>" + GREAT.encode() + b"</ETag>", answer.body)
        written = b"<LastModified>2026-01-20T00:00:00.000Z</LastModified>"
        answer.body = re.sub(rb"<LastModified>.*?</LastModified>", written, answer.body)
    elif asked.is_body and GREAT in asked.key:
        name = asked.key.rpartition(" ")[2]
        body = next(change_body(hour) for hour in range(FEW) if change_key(hour) == name)
        return faults.Answer(200, {"etag": f'"{GREAT}"', "last-modified": "Tue, 20 Jan 2026 00:00:00 GMT"}, body)
    return answer


def test_keys_and_etags_of_4_kb_are_read_kept_whole_and_known_again(
    table: Table, through: Settings, proxy: Proxy
) -> None:
    with proxy.misbehave(great_names):
        first = catch_up(table, through)
        assert (first.exit_code, held(table)) == (0, records(FEW))
        kept = table.query("select key, etag from fuel.ingest_files order by key")
        assert {row["key"] for row in kept} == {f"few/changes/{GREAT} {change_key(hour)}" for hour in range(FEW)}
        assert {row["etag"] for row in kept} == {GREAT}
        assert table.query("select length(key) > 4000 as is_whole from fuel.ingest_state") == [{"is_whole": True}]
        assert max(map(len, render_summary(first.summary, width=100).splitlines())) < 10_000
        assert catch_up(table, through).run["files"] == []
