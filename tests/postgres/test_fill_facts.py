"""Stored facts of fills: the views never show an old one, whoever edits when, and read nothing they need not."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from table import Table, at, fill

from fleetfuel.course import upkeep
from fleetfuel.packaged import packaged
from fleetfuel.report.migrations import render_receipt
from fleetfuel.rules.book import load_rules
from fleetfuel.sandbox.producer import Producer
from fleetfuel.table.database import connect
from fleetfuel.table.migrate import apply_migrations, plan_migrations

from .conftest import Session

DIFFERENCES = """
    select count(*) from (
        (table fuel.current_fill_facts except all table fuel.computed_fill_facts)
        union all
        (table fuel.computed_fill_facts except all table fuel.current_fill_facts)
    ) as found
"""
WRONG_IN_STORE = """
    select count(*) from (
        (table fuel.fill_facts except all select * from fuel.computed_fill_facts where not is_apart)
        union all
        (select * from fuel.computed_fill_facts where not is_apart except all table fuel.fill_facts)
    ) as found
"""


def trip(session: Session, car: str = "KCA 542Q", first_id: int = 1) -> None:
    """Four fills of a vehicle, one a day, 400 km apart."""
    session.insert(
        (
            {
                "car": car, "datetime": f"2026-02-{16 + day:02}-09-00", "odometer": 10_000 + 400 * day,
                "liters": 40, "amount": 6640, "type": "DIESEL", "driver": "Asha Mto",
            }
            for day in range(4)
        ),
        first_id=first_id,
    )  # fmt: skip


def stale(session: Session) -> set[str]:
    return {vehicle for (vehicle,) in session.ask("select vehicle from fuel.stale_vehicles")}


def refresh(session: Session, fills: int = 1000) -> tuple[int, ...]:
    """Vehicles done, fills done, vehicles left."""
    (row,) = session.ask("select vehicles, fills, vehicles_left from fuel.refresh_fill_facts($1::bigint)", fills)
    return row


@pytest.fixture
def stored(session: Session) -> Session:
    """Two vehicles, their facts stored."""
    trip(session)
    trip(session, "KDA 717B", first_id=11)
    assert refresh(session) == (2, 8, 0)
    assert session.one(WRONG_IN_STORE) == 0
    return session


def test_a_table_of_facts_is_what_the_formula_gives(session: Session) -> None:
    columns = [
        session.ask(
            "select attname::text, format_type(atttypid, atttypmod) from pg_attribute"
            f" where attrelid = 'fuel.{relation}'::regclass and attnum > 0 order by attnum"
        )
        for relation in ("fill_facts", "computed_fill_facts", "current_fill_facts")
    ]
    assert columns[0] == columns[1] == columns[2]


# --- marks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("edit", "marked"),
    [
        ("update fuel.records set raw = raw || '{\"liters\": 50}' where id = 2", {"KCA542Q"}),
        ("update fuel.records set raw = raw || '{\"driver\": \"Baraka Jua\"}' where id = 2", {"KCA542Q"}),
        ("update fuel.records set raw = raw || '{\"car\": \"KDB 001A\"}' where id = 2", {"KCA542Q", "KDB001A"}),
        ("update fuel.records set raw = raw || '{\"car\": null}' where id = 2", {"KCA542Q"}),
        ("update fuel.records set raw = raw || '{\"sender\": \"?\"}' where id = 2", set()),
        ("update fuel.records set source_key = 'x', source_at = now()", set()),
        ("update fuel.records set deleted_at = now() where id = 12", {"KDA717B"}),
        ("update fuel.records set absent_since = now() where id = 12", {"KDA717B"}),
        ("update fuel.records set id = 99 where id = 12", {"KDA717B"}),
        ("delete from fuel.records where id = 2", {"KCA542Q"}),
        ("delete from fuel.records", {"KCA542Q", "KDA717B"}),
        ("update fuel.check_limit set value = 300 where name = 'max_span_km'", {"KCA542Q", "KDA717B"}),
        ("update fuel.check_limit set value = 1 where code = 'odd_hours'", {"KCA542Q", "KDA717B"}),
        ("update fuel.records set raw = raw || '{\"department\": \"OPS\"}' where id = 2", {"KCA542Q"}),
        ("insert into fuel.known_vehicle (plate, vehicle, has_odometer) values ('KCA542Q', 'KCA542Q', true)",
         {"KCA542Q", "KDA717B"}),
        ("update fuel.check_limit set severity = 'alarm'", set()),
        ("delete from fuel.check_limit where code = 'odometer_jump'", set()),
        ("update fuel.vehicle_class set litres_max = 20", {"KCA542Q", "KDA717B"}),
        ("update fuel.vehicle_class set km_per_litre_max = km_per_litre_max", set()),
        ("update fuel.pump_prices set price_per_litre_kes = 100", {"KCA542Q", "KDA717B"}),
        ("begin; update fuel.records set deleted_at = now(); rollback", set()),
        ("begin; savepoint a; delete from fuel.records; rollback to a; delete from fuel.records where id = 1; commit",
         {"KCA542Q"}),
    ],
)  # fmt: skip
def test_whatever_alters_a_fact_marks_its_vehicle(stored: Session, edit: str, marked: set[str]) -> None:
    stored.run(edit)
    assert stale(stored) == marked
    assert stored.one(DIFFERENCES) == 0
    refresh(stored)
    assert stale(stored) == set()
    assert stored.one(WRONG_IN_STORE) == 0


def test_a_truncated_table_has_no_facts(stored: Session) -> None:
    stored.run("begin; update fuel.records set deleted_at = now() where id = 1; truncate fuel.records; commit")
    assert stored.one("select count(*) from fuel.fill_facts") == 0
    assert stored.one(DIFFERENCES) == 0


def test_records_written_with_triggers_off_need_a_word(session: Session) -> None:
    session.run(
        "begin; set local session_replication_role = replica;"
        "insert into fuel.records (id, raw, plate, vehicle, filled_at, odometer_km)"
        " values (1, '{}', 'KCA542Q', 'KCA542Q', now(), 1);"
        "commit; select fuel.mark_every_vehicle()"
    )
    assert session.one(DIFFERENCES) == 0


def test_a_load_marks_what_it_touched_and_then_stores_its_facts(session: Session, table: Table) -> None:
    looking = Session(table.uri)
    table.snapshot([fill(1), fill(2, car="KDA 717B"), fill(3, car=None), fill(4, datetime=None)])
    assert stale(looking) == set()
    assert looking.ask("select plate, id from fuel.fill_facts order by 1") == [("KCA542Q", 1), ("KDA717B", 2)]
    trip(looking, "KDB 001A", first_id=11)
    assert stale(looking) == {"KDB001A"}
    table.changes([fill(1, car="KDC 001A")])  # both its vehicles, and what somebody's edit left
    assert stale(looking) == set()
    assert looking.one(WRONG_IN_STORE) == 0
    looking.close()


def test_a_load_marks_what_newer_evidence_alone_makes_readable(session: Session, table: Table) -> None:
    looking = Session(table.uri)
    early = fill(2, datetime=None, created_at="2026-06-20 10:00:00")  # by the file's time, reported nine days ahead
    table.snapshot([fill(1), early])
    assert looking.ask("select id, filled_at is null from reporting.v_fuel_fills order by id") == [
        (1, False),
        (2, True),
    ]
    # The same again, otherwise written, in a file of a later day: its report can be believed, and it stands there.
    assert table.snapshot([fill(1), dict(reversed(early.items()))], at(24 * 20)) == {"unchanged": 2}
    assert looking.ask("select id, filled_on::text from reporting.v_fuel_fills order by id") == [
        (1, "2026-06-10"),
        (2, "2026-06-20"),
    ]
    assert looking.one(DIFFERENCES) == 0
    looking.close()


# --- refreshing ---------------------------------------------------------------------------------------------------


def test_a_refresh_does_at_least_one_vehicle_and_stays_within_its_budget(session: Session) -> None:
    for number in range(5):
        trip(session, f"KCA 10{number}A", first_id=1 + 10 * number)
    assert refresh(session, 1) == (1, 4, 4)
    assert refresh(session, 11) == (2, 8, 2)
    assert session.one(DIFFERENCES) == 0
    assert refresh(session, 0) == (1, 4, 1)
    assert refresh(session, 4) == (1, 4, 0)
    assert refresh(session, 4) == (0, 0, 0)
    assert session.one(WRONG_IN_STORE) == 0


def test_facts_are_refreshed_with_fresh_snapshots_only(stored: Session) -> None:
    stored.run("delete from fuel.records where id = 1")
    stored.run("begin isolation level repeatable read")
    with pytest.raises(Exception, match="read committed"):
        refresh(stored)
    stored.run("rollback")


def test_migrate_refreshes_whatever_is_stale_and_says_how_much(session: Session) -> None:
    trip(session)
    trip(session, "KDA 717B", first_id=11)
    for vehicles in (2, 0):
        with connect(session.uri) as database:
            receipt = apply_migrations(database, plan_migrations(database, packaged("migrations")), load_rules())
        assert receipt.refreshed == vehicles
        assert receipt.is_empty == (vehicles == 0)
        assert ("Facts of 2 vehicles computed anew." in render_receipt(receipt)) == (vehicles == 2)
    assert session.one(WRONG_IN_STORE) == 0


def test_an_import_is_applied_though_its_facts_cannot_be_refreshed(
    session: Session, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    session.run("create rule broken as on insert to fuel.fill_facts do also select 1 / 0")
    table = Table(session.uri, tmp_path)
    assert table.snapshot([fill(1)]) == {"inserts": 1}
    table.close()
    assert "facts of fills were not computed anew" in caplog.text
    assert stale(session) == {"KCA542Q"}
    assert session.one("select count(*) from reporting.v_fuel_efficiency") == 1


def test_an_import_that_finds_nothing_new_refreshes_what_an_edit_left(session: Session, tmp_path: Path) -> None:
    table = Table(session.uri, tmp_path)
    table.snapshot([fill(1)])
    session.run("update fuel.records set filled_at = filled_at, raw = raw || '{\"liters\": 41}' where id = 1")
    table.changes([])
    assert stale(session) == set()
    assert session.one("select litres::int from fuel.fill_facts") == 41
    version = session.one("select xmin::text from fuel.fill_facts")
    table.changes([])
    assert session.one("select xmin::text from fuel.fill_facts") == version
    table.close()


def test_the_feed_of_the_demo_has_something_for_every_check(session: Session) -> None:
    session.insert(row for row in Producer().truth.values() if not row["deleted_at"])
    refresh(session, 10_000)
    checks = {code for (code,) in session.ask("select code from fuel.enabled_check")}
    assert {code for (code,) in session.ask("select distinct code from reporting.v_fuel_anomalies")} == checks
    # Both reports find the same, though each has its own way to edited plates.
    assert session.ask(
        "select id, worst_severity, array_to_string(finding_codes, ',') from reporting.v_fuel_fills"
        " where worst_severity is not null or finding_codes <> '{}' order by id"
    ) == session.ask(
        "select id, max(severity), string_agg(code, ',' order by code) from reporting.v_fuel_anomalies"
        " group by id order by id"
    )


# --- two at once --------------------------------------------------------------------------------------------------


@pytest.fixture
def another(session: Session) -> Iterator[Session]:
    opened = Session(session.uri)
    opened.run("set lock_timeout = '5s'")
    yield opened
    opened.close()


def test_a_refresh_neither_waits_for_an_edit_nor_unmarks_it(stored: Session, another: Session) -> None:
    stored.run("delete from fuel.records where id = 1")
    another.run("begin; update fuel.records set raw = raw || '{\"liters\": 80}' where id = 3")
    assert refresh(stored) == (1, 3, 0)
    another.run("commit")
    assert stale(stored) == {"KCA542Q"}
    assert stored.one(DIFFERENCES) == 0
    refresh(stored)
    assert stored.one(WRONG_IN_STORE) == 0


@pytest.mark.parametrize("commits", ["before the facts are computed", "after"])
def test_an_edit_between_unmarking_and_computing_is_never_lost(stored: Session, another: Session, commits: str) -> None:
    """The refresh is held where it has deleted the marks and not yet computed."""
    stored.run(
        "create function pause() returns trigger language plpgsql as"
        " $$ begin perform pg_advisory_xact_lock(1); return null; end $$;"
        "create trigger pause before delete on fuel.fill_facts for each statement execute function pause();"
        "delete from fuel.records where id = 1; select pg_advisory_lock(1)"
    )
    refreshing = Session(stored.uri)
    done: list[Any] = []
    thread = threading.Thread(target=lambda: done.append(refresh(refreshing)))
    thread.start()
    while not stored.one("select count(*) from pg_locks where locktype = 'advisory' and not granted"):
        pass
    another.run("begin; update fuel.records set raw = raw || '{\"liters\": 80}' where id = 3")
    if commits != "after":
        another.run("commit")
    stored.run("select pg_advisory_unlock(1)")
    thread.join()
    if commits == "after":
        assert stored.one("select litres::int from fuel.fill_facts where id = 3") == 40
        another.run("commit")
    else:
        assert stored.one("select litres::int from fuel.fill_facts where id = 3") == 80
    refreshing.close()
    assert done[0][0] == 1
    assert stale(stored) == {"KCA542Q"}
    assert stored.one(DIFFERENCES) == 0


def test_a_refresh_leaves_a_change_of_rules_alone(stored: Session, another: Session) -> None:
    stored.run("delete from fuel.records where id = 1")
    another.run("begin; update fuel.check_limit set value = 300 where name = 'max_span_km'")
    assert refresh(stored) == (0, 0, 1)
    another.run("commit")
    assert refresh(stored)[0] == 2
    assert stored.one(WRONG_IN_STORE) == 0


def test_a_first_load_stores_the_facts_of_every_vehicle_and_an_hour_those_of_a_few(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session(table.uri)
    monkeypatch.setattr(upkeep, "FILLS_A_RUN", 1)
    cars = ("KCA 542Q", "KDA 717B", "KDB 112C")
    table.snapshot([fill(key, car=car) for key, car in enumerate(cars)])
    assert stale(session) == set()
    table.snapshot([fill(key, car=car, liters=41) for key, car in enumerate(cars)], at(1))
    assert len(stale(session)) == 2
    session.close()


def test_an_edit_of_the_same_vehicle_does_not_hold_up_an_import(table: Table) -> None:
    table.snapshot([fill(1), fill(2)])
    other = Session(table.uri)
    other.run("begin; update fuel.records set raw = raw || '{\"liters\": 50}' where id = 1")
    assert table.changes([fill(2, liters=60)]) == {"updates": 1}
    other.run("commit")
    assert stale(other) == {"KCA542Q"}
    assert other.one(DIFFERENCES) == 0
    other.close()


# --- what a large fleet costs -------------------------------------------------------------------------------------

FILLS = 40_000
VEHICLES = 400


@pytest.fixture
def fleet(session: Session) -> Session:
    """A fleet with devices, its facts stored, as autovacuum leaves it. No worker helps its session: each would
    read some tables once more."""
    session.run(
        "set max_parallel_workers_per_gather = 0;"
        "create schema tracksolid; create table tracksolid.devices (imei text primary key, vehicle_number text);"
        "insert into tracksolid.devices select n::text, 'KCA ' || lpad(n::text, 3, '0') || 'A'"
        " from generate_series(1, 200) as n;"
        "select said from fuel.copy_devices(true);"
        "alter table fuel.records disable trigger user;"
        "insert into fuel.records (id, raw, plate, vehicle, filled_at, fuel_type, litres, amount_kes,"
        " price_per_litre_kes, odometer_km, driver)"
        f" select n, '{{}}', 'KCA' || lpad((n % {VEHICLES})::text, 3, '0') || 'A',"
        f" 'KCA' || lpad((n % {VEHICLES})::text, 3, '0') || 'A',"
        " '2024-01-01Z'::timestamptz + n * interval '10 min', 'DIESEL', 40, 6640, 166,"
        f" case when n % 43 > 0 then n / {VEHICLES} * 400 + 1 end, 'Asha' from generate_series(1, {FILLS}) as n;"
        "alter table fuel.records enable trigger user;"
        "select fuel.mark_every_vehicle()"
    )
    return session


def store(session: Session) -> None:
    assert refresh(session, 10**9) == (VEHICLES, FILLS, 0)
    session.run("vacuum analyze")


def test_a_first_load_is_analysed_before_its_facts_are_computed(fleet: Session) -> None:
    """Without statistics the planner takes the fleet for a handful of fills, and it takes four times as long."""
    analysed = "exists (select from pg_stats where schemaname = 'fuel' and tablename = '{}')"
    fleet.run(
        "create function public.demand_statistics() returns trigger language plpgsql as $$ begin"
        f" if not {analysed.format('records')} then raise exception 'not analysed'; end if; return null; end $$;"
        "create trigger demand_statistics before insert on fuel.fill_facts for each statement"
        " execute function public.demand_statistics()"
    )
    assert refresh(fleet, 10**9) == (VEHICLES, FILLS, 0)
    assert fleet.ask(f"select {analysed.format('fill_facts')}") == [(True,)]


ABOUT = {
    "whole": "true",
    "plate": "plate = 'KCA007A'",
    "time": "filled_at >= '2024-03-01Z' and filled_at < '2024-03-08Z'",
    "plate and time": "plate = 'KCA007A' and filled_at >= '2024-03-01Z' and filled_at < '2024-03-08Z'",
}
VIEWS = ("v_fuel_fills", "v_fuel_efficiency", "v_fuel_anomalies")


def read(nodes: list[dict[str, Any]], *relations: str) -> int:
    """Rows looked at in these tables, filtered ones too."""
    return sum(
        round(node["Actual Loops"]) * round(node["Actual Rows"] + node.get("Rows Removed by Filter", 0))
        for node in nodes
        if node.get("Relation Name") in relations
    )


def check_plan(nodes: list[dict[str, Any]]) -> None:
    for node in nodes:
        assert node.get("Sort Space Type", "Memory") == "Memory", node
        assert node.get("Hash Batches", 1) == 1, node
        assert node.get("Disk Usage", 0) == 0, node
        joined = node.get("Rows Removed by Join Filter", 0) * node["Actual Loops"]
        assert joined <= FILLS * 16, node  # a finding meets the lines of rules/, no fill every other fill or device
        if node.get("Relation Name") == "devices":
            assert node["Actual Loops"] <= 1, node
        if node["Node Type"] == "Seq Scan" and node.get("Relation Name") in ("records", "fill_facts"):
            assert node["Actual Loops"] <= 1, node


def test_stored_facts_are_read_without_computing(fleet: Session) -> None:
    store(fleet)
    for view in VIEWS:
        for about, condition in ABOUT.items():
            nodes = fleet.plan(f"select * from reporting.{view} where {condition}")
            check_plan(nodes)
            worked = [node for node in nodes if node["Actual Loops"] * node["Actual Rows"]]
            if view == "v_fuel_efficiency":
                # The devices of the fleet are sorted, and read as far as they are needed, or the fills of one vehicle.
                assert [node for node in worked if node["Node Type"] == "WindowAgg"] == [], about
                large = [node for node in worked if node["Actual Loops"] * node["Actual Rows"] > 100]
                keys = [str(node["Sort Key"]) for node in large if node["Node Type"] == "Sort"]
                assert [key for key in keys if "imei" not in key] == [], about
            # A week has 1,008 fills, the vehicle 100.
            most = {"whole": FILLS, "plate": 100, "time": 1008, "plate and time": 100}[about]
            fills = read(nodes, "fill_facts")
            assert fills <= most, (view, about, fills)
            if view == "v_fuel_efficiency":
                assert read(nodes, "records") == 0, about


def test_a_report_reads_and_looks_up_what_it_shows(fleet: Session) -> None:
    store(fleet)
    for about, fills in (("where plate = 'KCA007A'", 100), ("order by filled_at desc limit 100", 100)):
        nodes = fleet.plan(f"select * from reporting.v_fuel_fills {about}")
        check_plan(nodes)
        assert read(nodes, "fill_facts") <= fills + 1, about
        looked_up = [node["Actual Loops"] for node in nodes if node.get("Index Name") == "records_live_by_reading"]
        # Each fill's edited plate twice at most: for its severity and for its codes.
        assert 0 < sum(looked_up) <= 2 * fills, about


def test_edited_plates_are_looked_for_among_the_fills_that_share_a_reading(fleet: Session) -> None:
    """Comparing a fleet's fills with each other was half of what its findings of a month took."""
    fleet.run(
        "alter table fuel.records disable trigger user;"
        # The vehicles have the same readings, on different days; but of two pairs, on the same day.
        "update fuel.records set source_at = now(),"
        f" source_created_at = filled_at + id % {VEHICLES} * interval '1 day';"
        "update fuel.records set source_created_at = filled_at where id in (1007, 1008, 30007, 30008);"
        "alter table fuel.records enable trigger user"
    )
    store(fleet)
    found = "select id, other_id from reporting.v_fuel_anomalies where code = 'edited_plate' order by id"
    pairs = [(1007, 1008), (1008, 1007), (30007, 30008), (30008, 30007)]
    # Remembered are readings, one a vehicle, however many fills agree.
    assert fleet.one("select count(*) from fuel.equal_readings") == 4
    # Of 100 readings that every vehicle has, two make a pair; those of a stale vehicle are all looked up.
    shared = 2 * VEHICLES + 4
    for stale, most in ("where false", shared), ("where plate = 'KCA009A' limit 1", shared + 2 * 100):
        fleet.run(f"insert into fuel.stale_vehicles (vehicle) select vehicle from fuel.records {stale}")
        assert fleet.ask(found) == pairs
        for about in ("true", ABOUT["time"]):
            nodes = fleet.plan(f"select id, code from reporting.v_fuel_anomalies where {about}")
            check_plan(nodes)
            looked_up = [node["Actual Loops"] for node in nodes if node.get("Index Name") == "records_live_by_reading"]
            assert 0 < sum(looked_up) <= most, (stale, about)


def test_an_edited_plate_is_found_whichever_vehicle_was_computed_last(session: Session) -> None:
    found = "select id, other_id from reporting.v_fuel_anomalies where code = 'edited_plate' order by id"
    session.insert([fill(1, created_at="2026-06-10 10:00:00")])
    refresh(session, 10**9)
    session.insert([fill(2, created_at="2026-06-10 10:05:00", car="KDC 400D")], first_id=2)
    assert session.ask(found) == [(1, 2), (2, 1)]
    # The first is not computed again: it is the second that sees it.
    assert refresh(session, 10**9) == (1, 1, 0)
    assert session.ask(found) == [(1, 2), (2, 1)]
    session.run('update fuel.records set raw = raw || \'{"car": "KDC 401D"}\' where id = 2')
    for _ in range(3):  # KDC400D, which has no fill any more, then KDC401D
        assert session.ask(found) == [(1, 2), (2, 1)]
        refresh(session, 1)
    session.run("update fuel.records set raw = raw || '{\"liters\": 41}' where id = 2")
    refresh(session, 10**9)
    assert session.ask(found) == []
    assert session.ask("select vehicle from fuel.equal_readings") == []


def computed(nodes: list[dict[str, Any]]) -> tuple[int, int]:
    """How many vehicles were computed for an answer, and about how many fills in all."""
    calls = [node for node in nodes if node.get("Function Name") == "facts_of"]
    fills = sum(node["Actual Loops"] * (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) for node in calls)
    return sum(node["Actual Loops"] for node in calls), round(fills)


def test_a_stale_vehicle_costs_itself(fleet: Session) -> None:
    store(fleet)
    fleet.run('update fuel.records set litres = 41, raw = \'{"car": "KCA007A", "litres": 41}\' where id = 7')
    assert stale(fleet) == {"KCA007A"}
    for view in VIEWS[1:]:
        for condition in ABOUT.values():
            nodes = fleet.plan(f"select * from reporting.{view} where {condition}")
            check_plan(nodes)
            assert computed(nodes) == (1, 99)  # the edited fill has lost its time
        assert computed(fleet.plan(f"select * from reporting.{view} where plate = 'KCA008A'")) == (0, 0)
    nodes = fleet.plan("select * from fuel.computed_fill_facts where vehicle = 'KCA007A' and not is_apart")
    check_plan(nodes)
    scans = [node for node in nodes if node.get("Index Name") == "records_live_by_vehicle"]
    # Once for knowing the vehicle, with the fill that has no time, once for walking through its other fills.
    assert sum(node["Actual Loops"] * node["Actual Rows"] for node in scans) == 100 + 99


def test_the_fills_of_a_vehicle_are_found_by_its_name(fleet: Session) -> None:
    """A range of readings that every fill is in must not lead the planner to an index of the whole fleet: at a million
    fills it took that for cheaper than skipping the times of one vehicle's, and read 120 MB for each vehicle."""
    store(fleet)
    nodes = fleet.plan("select * from fuel.computed_fill_facts where vehicle = 'KCA007A' and not is_apart")
    scans = [node for node in nodes if node.get("Index Name", "").startswith("records_")]
    conditions = {node.get("Index Cond", "") for node in scans}
    assert len(scans) >= 3
    for condition in conditions:
        assert re.match(r"\(+(vehicle IS NOT NULL\) AND \()?(vehicle|id) = ", condition), conditions


def test_a_fleet_that_is_all_stale_is_computed_vehicle_by_vehicle(fleet: Session) -> None:
    fleet.run("vacuum analyze")
    for view in VIEWS[1:]:
        for about, condition in ABOUT.items():
            nodes = fleet.plan(f"select * from reporting.{view} where {condition}")
            check_plan(nodes)
            vehicles, fills = computed(nodes)
            assert vehicles == (1 if "plate" in about else VEHICLES), about
            assert 99 * vehicles <= fills <= 101 * vehicles, about  # means of all calls, rounded


def test_the_formula_is_never_compiled(session: Session) -> None:
    """The tests' servers may have no compiler, most others do: it would take longer than all the fills."""
    found = session.ask("select proname::text from pg_proc where proconfig @> '{jit=off}' order by proname")
    assert found == [("facts_apart",), ("facts_of",), ("refresh_fill_facts",)]
