"""reporting.v_fuel_fills: live fills, one device at most, East Africa Time next to the instant."""

from __future__ import annotations

import pytest
from table import NewRole

from fleetfuel.packaged import packaged
from fleetfuel.rules.book import load_rules
from fleetfuel.sandbox.postgres import PostgresServer
from fleetfuel.table.database import connect
from fleetfuel.table.migrate import apply_migrations, plan_migrations

from .conftest import Session

COLUMNS = [
    "id", "filled_at", "filled_at_eat", "filled_on", "plate", "car", "driver", "department", "fuel_type", "litres",
    "amount_kes", "price_per_litre_kes", "odometer_km", "imei", "cost_centre", "assigned_city",
    "filled_at_is_assumed", "reported_at", "driver_name", "vehicle_class", "pump_price_cap_kes", "superseded_by",
    "worst_severity", "finding_codes", "changed_at",
]  # fmt: skip

PICKUP = ("352100000000009", "CC-7", "Thika")
"""Of the two devices on KDX101A the one with a cost centre, though its imei is the greater one."""
CAR = ("352300000000001", None, "Nairobi")
"""Found by `KDX 202B (SALOON)`; its cost centre is a blank, which is none."""
MOTORCYCLE = ("352200000000002", "CC-4", None)
"""Two devices with a cost centre: the lower imei."""
NONE = (None, None, None)

MONTH = [
    # KDX101A, written in three ways; 166 KES a litre all month. 7 is deleted, 58 is gone from the snapshot.
    (1, "2026-02-15 08:00", "2026-02-15", "KDX101A", "DIESEL", "40", "6640", "166", 50000, *PICKUP),
    (2, "2026-02-18 08:00", "2026-02-18", "KDX101A", "DIESEL", "50", "8300", "166", 50400, *PICKUP),
    (3, "2026-02-21 08:00", "2026-02-21", "KDX101A", "DIESEL", "38", "6308", "166", 508000, *PICKUP),
    (4, "2026-02-24 08:00", "2026-02-24", "KDX101A", "DIESEL", "42", "6972", "166", 51200, *PICKUP),  # 05:00Z
    (5, "2026-02-27 08:00", "2026-02-27", "KDX101A", "DIESEL", "30", "4980", "166", None, *PICKUP),
    (6, "2026-03-02 08:00", "2026-03-02", "KDX101A", "DIESEL", "40", "6640", "166", 51900, *PICKUP),
    (8, "2026-03-06 08:00", "2026-03-06", "KDX101A", "DIESEL", "50", "8300", "166", 52400, *PICKUP),
    (9, "2026-03-09 08:00", "2026-03-09", "KDX101A", "DIESEL", "45", "7470", "166", 5290, *PICKUP),
    (10, "2026-03-12 08:00", "2026-03-12", "KDX101A", "DIESEL", "45", "7470", "166", 53300, *PICKUP),
    # KDX202B; 178 KES a litre. Without litres there is no price a litre.
    (11, "2026-02-16 09:00", "2026-02-16", "KDX202B", "PETROL", "30", "5340", "178", 80000, *CAR),
    (12, "2026-02-20 09:00", "2026-02-20", "KDX202B", "PETROL", None, "5340", None, 80360, *CAR),
    (13, "2026-02-24 09:00", "2026-02-24", "KDX202B", "PETROL", "30", "5340", "178", 80720, *CAR),
    (14, "2026-02-28 09:00", "2026-02-28", "KDX202B", "PETROL", "30", "5340", "178", 120, *CAR),
    (15, "2026-03-03 09:00", "2026-03-03", "KDX202B", "PETROL", "30", "5340", "178", 480, *CAR),
    (16, "2026-03-05 09:00", "2026-03-05", "KDX202B", "PETROL", "10", "1780", "178", 480, *CAR),
    (17, "2026-03-09 09:00", "2026-03-09", "KDX202B", "PETROL", "36", "6408", "178", 4900, *CAR),
    (18, "2026-03-13 09:00", "2026-03-13", "KDX202B", "PETROL", "36", "6408", "178", 5260, *CAR),
    # KMEA303C; 20 writes a letter O for a zero.
    (19, "2026-02-17 10:00", "2026-02-17", "KMEA303C", "PETROL", "8", "1424", "178", 9000, *MOTORCYCLE),
    (20, "2026-02-22 10:00", "2026-02-22", "KMEA303C", "PETROL", "8", "1424", "178", 9320, *MOTORCYCLE),
    (21, "2026-02-27 10:00", "2026-02-27", "KMEA303C", "PETROL", "10", "1780", "178", 9640, *MOTORCYCLE),
    (22, "2026-03-04 10:00", "2026-03-04", "KMEA303C", "PETROL", "80", "14240", "178", 9960, *MOTORCYCLE),
    # KCE505E has no device. Prices: 8800 / 40 = 220, 7994 / 40 = 199.85, 166 / 40 = 4.15, 6.64 / 40 = 0.166.
    (30, "2026-02-20 09:00", "2026-02-20", "KCE505E", "DIESEL", "40", "6640", "166", 20000, *NONE),
    (31, "2026-02-20 09:05", "2026-02-20", "KCE505E", "DIESEL", "40", "6640", "166", 20000, *NONE),
    (32, "2026-02-20 18:00", "2026-02-20", "KCE505E", "DIESEL", "20", "3320", "166", 20100, *NONE),
    (33, "2026-02-25 10:00", "2026-02-25", "KCE505E", "PETROL", "40", "7120", "178", 20500, *NONE),
    (34, "2026-03-01 10:00", "2026-03-01", "KCE505E", "V-POWER", "40", "8800", "220", 20900, *NONE),
    (35, "2026-03-05 10:00", "2026-03-05", "KCE505E", "DIESEL", "40", "7994", "199.85", 21300, *NONE),
    (36, "2026-03-08 10:00", "2026-03-08", "KCE505E", "DIESEL", "40", "166", "4.15", 21700, *NONE),
    (37, "2026-03-11 10:00", "2026-03-11", "KCE505E", "DIESEL", "40", "6.64", "0.166", 22100, *NONE),
    (38, "2026-03-13 10:00", "2026-03-13", "KCE505E", "DIESEL", "40", "66400", "1660", 23060, *NONE),
    # 21:30Z on the last of February is half past midnight on the first of March here; a date alone is its midnight.
    (40, "2026-03-01 00:30", "2026-03-01", "KCF606F", "DIESEL", "40", "6640", "166", 70000, *NONE),
    (41, "2026-03-02 23:59", "2026-03-02", "KCF606F", "DIESEL", "40", "6640", "166", 70400, *NONE),
    (42, "2026-03-05 00:00", "2026-03-05", "KCF606F", "DIESEL", "40", "6640", "166", 70800, *NONE),
    # What is not known stays null, and the fill stays in the list.
    (50, "2026-02-20 11:00", "2026-02-20", "OFFICEGENSET", "DIESEL", "20", "3320", "166", None, *NONE),
    (51, "2026-02-21 11:00", "2026-02-21", None, "DIESEL", "20", "3320", "166", None, *NONE),
    (52, "2026-02-22 11:00", "2026-02-22", "47CG456A", None, "30", None, None, 40000, *NONE),
    # No time of the fill: it stands at its report, 10:00Z.
    (53, "2026-03-14 13:00", "2026-03-14", "KDX101A", "DIESEL", "20", "3320", "166", 53400, *PICKUP),
    # Dated 2199, long after its report.
    (54, "2026-03-14 13:00", "2026-03-14", "KAA123", "DIESEL", "30", "4980", "166", 15000, *NONE),
]

FILLS = (
    "select id, to_char(filled_at_eat, 'YYYY-MM-DD HH24:MI'), filled_on::text, plate, fuel_type,"
    " trim_scale(litres)::text, trim_scale(amount_kes)::text, trim_scale(price_per_litre_kes)::text, odometer_km,"
    " imei, cost_centre, assigned_city from reporting.v_fuel_fills order by id"
)


def columns(session: Session) -> list[str]:
    return [
        name
        for (name,) in session.ask(
            "select attname::text from pg_attribute where attrelid = 'reporting.v_fuel_fills'::regclass"
            " and attnum > 0 order by attnum"
        )
    ]


def test_the_month_with_its_devices(fleet_month: Session) -> None:
    assert columns(fleet_month) == COLUMNS
    assert fleet_month.ask(FILLS) == MONTH


def test_the_month_without_a_table_of_devices(fleet_month_without_devices: Session) -> None:
    session = fleet_month_without_devices
    assert columns(session) == COLUMNS
    assert session.ask(FILLS) == [(*row[:-3], None, None, None) for row in MONTH]


def test_what_the_source_wrote_stands_next_to_what_it_means(fleet_month: Session) -> None:
    assert fleet_month.ask(
        "select car, driver, department, filled_at at time zone 'UTC' = filled_at_eat - interval '3 hours'"
        " from reporting.v_fuel_fills where id in (2, 3, 32) order by id"
    ) == [
        ("kdx101a", "Asha Mto", "LOGISTICS", True),
        ("KDX-101A PICKUP", "Asha Mto", "OPERATIONS", True),
        ("KCE 505E", "Baraka Jua", "OPERATIONS", True),
    ]


def test_times_do_not_depend_on_the_zone_of_the_session(fleet_month: Session) -> None:
    fleet_month.run("set timezone = 'America/New_York'")
    assert fleet_month.ask(FILLS) == MONTH


# The table of devices belongs to somebody else: it comes, goes and changes.

DEVICE = "select imei, cost_centre, assigned_city from reporting.v_fuel_fills"


@pytest.fixture
def one_fill(session: Session) -> Session:
    session.insert([{"car": "KCA 542Q", "datetime": "2026-06-11-17-24"}])
    return session


def test_devices_are_picked_up_once_they_appear(one_fill: Session) -> None:
    assert "does not exist" in one_fill.one("select said from fuel.copy_devices(true)")
    assert one_fill.ask(DEVICE) == [(None, None, None)]
    one_fill.run(
        "create schema tracksolid;"
        "create table tracksolid.devices (imei text, vehicle_number text, cost_centre text, assigned_city text);"
        "insert into tracksolid.devices values ('1', 'kca-542q', 'CC', 'Nairobi')"
    )
    said = one_fill.one("select said from fuel.copy_devices(true)")
    assert "it gives imei, cost_centre, assigned_city" in said
    assert one_fill.ask(DEVICE) == [("1", "CC", "Nairobi")]


@pytest.mark.parametrize(
    ("definition", "row", "expected"),
    [
        ("vehicle_number text", "'KCA 542Q'", (None, None, None)),
        ("vehicle_number text, imei bigint", "'KCA 542Q', 1", ("1", None, None)),
        ("vehicle_number text, assigned_city varchar(20)", "'KCA 542Q', 'Nairobi'", (None, None, "Nairobi")),
        ("vehicle_number text, cost_centre integer", "'KCA 542Q', 7", (None, "7", None)),
        ("imei text, cost_centre text", "'1', 'CC'", (None, None, None)),
    ],
)
def test_a_table_of_devices_may_lack_columns_and_have_other_types(
    one_fill: Session, definition: str, row: str, expected: tuple[str | None, ...]
) -> None:
    one_fill.run(
        f"create schema tracksolid; create table tracksolid.devices ({definition});"
        f"insert into tracksolid.devices values ({row})"
    )
    one_fill.one("select said from fuel.copy_devices(true)")
    assert one_fill.ask(DEVICE) == [expected]
    assert columns(one_fill) == COLUMNS


def test_a_column_that_appears_later_is_picked_up(one_fill: Session) -> None:
    one_fill.run(
        "create schema tracksolid; create table tracksolid.devices (vehicle_number text, imei text);"
        "insert into tracksolid.devices values ('KCA 542Q', '1');"
        "select said from fuel.copy_devices(true);"
        "alter table tracksolid.devices add cost_centre text default 'CC';"
        "select said from fuel.copy_devices(true)"
    )
    assert one_fill.ask(DEVICE) == [("1", "CC", None)]


def test_devices_that_go_away_on_purpose_leave_a_view_without_them(one_fill: Session) -> None:
    one_fill.run(
        "create schema tracksolid; create table tracksolid.devices (vehicle_number text, imei text);"
        "insert into tracksolid.devices values ('KCA 542Q', '1');"
        "select said from fuel.copy_devices(true);"
        "drop table tracksolid.devices"
    )
    assert "does not exist" in one_fill.one("select said from fuel.copy_devices(true)")
    assert one_fill.ask(DEVICE) == [(None, None, None)]


def test_copying_again_writes_nothing(fleet_month: Session) -> None:
    written = " union all ".join(
        f"select xmin::text, ctid::text from fuel.{name}" for name in ("devices", "devices_state")
    )
    before = fleet_month.ask(written)
    assert len(before) == 4
    fleet_month.one("select said from fuel.copy_devices(false)")
    assert fleet_month.ask(written) == before


def test_a_copy_follows_the_table(fleet_month: Session) -> None:
    fleet_month.run(
        "update tracksolid.devices set cost_centre = 'CC-NEW' where imei = '352100000000009';"
        "delete from tracksolid.devices where imei <> '352100000000009'"
    )
    assert fleet_month.one("select is_broken from fuel.copy_devices(false)") is False
    assert fleet_month.ask("select imei, cost_centre from fuel.devices") == [("352100000000009", "CC-NEW")]


def test_nothing_of_ours_depends_on_the_table_of_devices(one_fill: Session) -> None:
    """Its owner drops and alters as he likes; the views of reports stay."""
    one_fill.run(
        "create schema tracksolid; create table tracksolid.devices (vehicle_number text, imei text, cost_centre text);"
        "insert into tracksolid.devices values ('KCA 542Q', '1', 'CC');"
        "select said from fuel.copy_devices(true);"
        "alter table tracksolid.devices alter imei type bigint using imei::bigint;"
        "alter table tracksolid.devices drop cost_centre;"
        "drop table tracksolid.devices"
    )
    assert one_fill.ask(DEVICE) == [("1", "CC", None)]


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        ("drop table tracksolid.devices", "does not exist any more"),
        ("alter table tracksolid.devices rename to others", "does not exist any more"),
        ("alter table tracksolid.devices rename cost_centre to centre", "no longer gives cost_centre"),
        ("alter table tracksolid.devices rename vehicle_number to plate", "has no vehicle_number"),
    ],
)
def test_what_breaks_between_runs_leaves_the_last_copy_until_somebody_migrates(
    one_fill: Session, harm: str, said: str
) -> None:
    one_fill.run(
        "create schema tracksolid; create table tracksolid.devices (vehicle_number text, imei text, cost_centre text);"
        "insert into tracksolid.devices values ('KCA 542Q', '1', 'CC');"
        f"select said from fuel.copy_devices(true); {harm}"
    )
    for _ in range(2):
        ((reported, is_broken),) = one_fill.ask("select said, is_broken from fuel.copy_devices(false)")
        assert said in reported
        assert is_broken
        assert one_fill.ask(DEVICE) == [("1", "CC", None)]
    assert one_fill.one("select is_broken from fuel.copy_devices(true)") is False
    assert one_fill.ask(DEVICE) != [("1", "CC", None)]


def test_a_table_that_somebody_holds_is_not_waited_for(one_fill: Session) -> None:
    one_fill.run(
        "create schema tracksolid; create table tracksolid.devices (vehicle_number text, imei text);"
        "insert into tracksolid.devices values ('KCA 542Q', '1'); select said from fuel.copy_devices(true)"
    )
    holder = Session(one_fill.uri)
    holder.run("begin; lock table tracksolid.devices")
    assert "lock timeout" in one_fill.one("select said from fuel.copy_devices(false)")
    holder.run("rollback")
    holder.close()
    assert one_fill.one("select is_broken from fuel.copy_devices(false)") is False


EVIL = "language plpgsql as $$ begin raise exception 'evil ran as %', current_user; end $$"


@pytest.mark.parametrize(
    "trap",
    [
        # A view, a type with a cast, and a policy, each of which would run what another made.
        "create view tracksolid.devices as select vehicle_number, tracksolid.evil(vehicle_number) as imei from others",
        (
            "create type tracksolid.plate as (x text);"
            f" create function tracksolid.cast_it(tracksolid.plate) returns text {EVIL};"
            " create cast (tracksolid.plate as text) with function tracksolid.cast_it(tracksolid.plate);"
            "create table tracksolid.devices (vehicle_number tracksolid.plate, imei text);"
            "insert into tracksolid.devices values (row('KCA 542Q'), '1')"
        ),
        (
            "create table tracksolid.devices (vehicle_number text, imei text);"
            "insert into tracksolid.devices values ('KCA 542Q', '1');"
            "alter table tracksolid.devices enable row level security;"
            "create policy trap on tracksolid.devices using (tracksolid.evil(imei) is not null)"
        ),
    ],
    ids=["view", "cast", "policy"],
)
def test_nothing_that_the_owner_of_the_devices_made_runs_with_our_rights(
    empty_database: str, postgres: PostgresServer, new_role: NewRole, trap: str
) -> None:
    name = empty_database.rsplit("/", 1)[1].partition("?")[0]
    for role in ("fuel_owner", "tracksolid_owner"):
        new_role(empty_database, role, "login password 'only here'")
    admin = Session(empty_database)
    admin.run(f"grant create on database {name} to fuel_owner, tracksolid_owner")
    tracker = Session(postgres.uri(name, user="tracksolid_owner", password="only here"))
    tracker.run(
        "create schema tracksolid; set search_path = tracksolid;"
        "create table others (vehicle_number text); insert into others values ('KCA 542Q');"
        f"create function tracksolid.evil(value text) returns text {EVIL}; {trap};"
        "grant usage on schema tracksolid to fuel_owner; grant select on tracksolid.devices to fuel_owner"
    )
    with connect(postgres.uri(name, user="fuel_owner", password="only here")) as database:
        said = apply_migrations(database, plan_migrations(database, packaged("migrations")), load_rules()).devices
    assert said is not None
    assert "evil" not in said
    assert "it gives" not in said
    tracker.close()
    admin.close()


def test_many_devices_on_one_plate_do_not_multiply_fills(one_fill: Session) -> None:
    one_fill.run(
        "create schema tracksolid;"
        "create table tracksolid.devices (imei text, vehicle_number text, cost_centre text, assigned_city text);"
        "insert into tracksolid.devices"
        " select (n % 7)::text, 'KCA 542Q', case n % 3 when 0 then 'CC-' || n % 2 end, 'City ' || n % 5"
        " from generate_series(1, 500) as n;"
        "select said from fuel.copy_devices(true)"
    )
    # Those with a cost centre, of these the lowest imei, of these the first cost centre, of these the first city.
    assert one_fill.ask(DEVICE) == [("0", "CC-0", "City 0")]


def test_devices_are_met_without_a_search_of_all_for_each_fill(session: Session) -> None:
    session.run(
        "alter table fuel.records disable trigger user;"
        "insert into fuel.records (id, raw, plate, vehicle, filled_at)"
        " select n, '{}', 'KCA' || lpad((n % 1000)::text, 3, '0') || 'A',"
        " 'KCA' || lpad((n % 1000)::text, 3, '0') || 'A', now() - n * interval '1 minute'"
        " from generate_series(1, 100000) as n;"
        "create schema tracksolid;"
        "create table tracksolid.devices (imei text, vehicle_number text, cost_centre text, assigned_city text);"
        "insert into tracksolid.devices select n, 'KCA ' || lpad(n::text, 3, '0') || 'A', 'CC', 'Nairobi'"
        " from generate_series(1, 999) as n;"
        "analyze fuel.records, tracksolid.devices;"
        "select fuel.mark_every_vehicle(); select fuel.refresh_fill_facts(1000000);"
        "analyze fuel.fill_facts, fuel.stale_vehicles;"
        "select said from fuel.copy_devices(true)"
    )
    for query, index in (
        ("select * from reporting.v_fuel_fills", None),
        ("select * from reporting.v_fuel_fills order by filled_at desc limit 100", None),
        ("select * from reporting.v_fuel_fills where plate = 'KCA007A'", "fill_facts_by_plate"),
        ("select * from reporting.v_fuel_fills where filled_at > now() - interval '1 hour'", "fill_facts_by_time"),
    ):
        nodes = session.plan(query)
        for node in nodes:
            if node.get("Relation Name") == "devices" and node["Node Type"] == "Seq Scan":
                assert node["Actual Loops"] == 1, query
        assert all(node.get("Sort Space Type") != "Disk" for node in nodes), query
        assert all(node.get("Hash Batches", 1) == 1 for node in nodes), query
        indexes = {node.get("Index Name") for node in nodes}
        assert index is None or index in indexes, (query, indexes)
