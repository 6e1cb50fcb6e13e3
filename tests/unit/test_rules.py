"""rules/*.toml → Rules: what the shipped rules say, and every way a file can be refused, with its line."""

from __future__ import annotations

import dataclasses
import datetime
import re
import shutil
from pathlib import Path

import pytest

from fleetfuel import errors
from fleetfuel.packaged import packaged
from fleetfuel.rules.book import Rules, load_rules
from fleetfuel.rules.fields import NAMES
from fleetfuel.rules.figures import ANOMALY_LIMITS
from fleetfuel.rules.rows import rule_rows


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the shipped rules that a test may edit."""
    return Path(shutil.copytree(packaged("rules"), tmp_path / "rules"))


def edit(folder: Path, file: str, before: str, after: str) -> None:
    text = (folder / file).read_text(encoding="utf-8")
    assert before in text, f"{file} holds no {before!r}"
    (folder / file).write_text(text.replace(before, after, 1), encoding="utf-8")


def refusal(folder: Path) -> tuple[str, int, str]:
    with pytest.raises(errors.RulesError) as caught:
        load_rules(folder)
    facts = caught.value.facts
    assert caught.value.exit_code == 78
    assert isinstance(facts["line"], int)
    return Path(str(facts["file"])).name, facts["line"], str(facts["reason"])


# --- what the shipped rules say -----------------------------------------------------------------------------------


def test_the_shipped_rules_are_read_from_the_checkout() -> None:
    assert load_rules() == load_rules(packaged("rules"))


def test_a_field_has_its_names_in_rank_order() -> None:
    fields = load_rules().fields
    assert tuple(fields) == NAMES
    assert fields["filled_at"] == ("datetime", "fuel_date", "filled_at", "date")
    assert fields["litres"] == ("liters", "litres")


def test_personal_fields_are_never_shown() -> None:
    assert load_rules().personal == {"driver", "sender", "raw_message"}


def test_a_price_cycle_becomes_one_price_for_each_fuel() -> None:
    prices = {
        price.fuel_type: price.price_per_litre_kes
        for price in load_rules().pump_prices
        if price.valid_from == datetime.date(2026, 2, 15)
    }
    assert prices == {"PETROL": 178.28, "DIESEL": 166.54, "KEROSENE": 152.78}


def test_nothing_is_known_of_prices_after_the_last_cycle_nor_in_a_gap() -> None:
    prices = load_rules().pump_prices
    assert max(price.valid_to for price in prices) == datetime.date(2026, 3, 14)
    assert not [price for price in prices if price.valid_from <= datetime.date(2024, 9, 1) <= price.valid_to]


def test_the_default_vehicle_class_spans_from_car_to_heavy() -> None:
    classes = {item.name: item for item in load_rules().vehicle_classes}
    assert (classes["any"].litres_min, classes["any"].litres_max) == (
        classes["car"].litres_min,
        classes["heavy"].litres_max,
    )
    assert [name for name, item in classes.items() if item.default] == ["any"]


def test_no_shipped_check_stops_a_run_or_rejects_a_record() -> None:
    assert {check.severity for check in load_rules().checks} == {"warn"}


def test_a_check_knows_the_line_it_stands_on() -> None:
    check = load_rules().checks[3]
    assert Path(check.file).read_text(encoding="utf-8").splitlines()[check.line - 1] == "[[check]]"
    assert Path(check.file).read_text(encoding="utf-8").splitlines()[check.line] == f'code = "{check.code}"'


def test_every_anomaly_the_view_knows_is_in_the_rules() -> None:
    assert {anomaly.code for anomaly in load_rules().anomalies} == set(ANOMALY_LIMITS)


def test_rules_cannot_be_changed_by_whoever_holds_them() -> None:
    rules = load_rules()
    with pytest.raises(dataclasses.FrozenInstanceError):
        rules.digest = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        rules.fields["id"] = ("key",)  # type: ignore[index]


# --- the digest ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("checks.toml", "# When it was filled.", "# When."),
        ("checks.toml", 'why = "Without litres', 'why = "With no litres'),
        ("checks.toml", "good = [{ liters = 500 }]", "good = [{ liters = 499 }]"),
        ("fuel_types.toml", '"PETRO",', '"PETRO", "PETTROL",'),
        ("guards.toml", "share = 0.10", "share = 0.11"),
        ("anomalies.toml", "minutes = 20", "minutes = 15"),
        ("checks.toml", "max = 500\n", "max = 500.0\n"),
    ],
)
def test_the_digest_stays_if_validation_says_the_same_of_a_record(
    folder: Path, file: str, before: str, after: str
) -> None:
    digest = load_rules(folder).digest
    edit(folder, file, before, after)
    assert load_rules(folder).digest == digest


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("checks.toml", "max = 500\n", "max = 501\n"),
        ("checks.toml", 'severity = "warn"', 'severity = "reject"'),
        ("fields.toml", '"liters", "litres"', '"litres", "liters"'),
        ("fields.toml", "[fields]", '[[ignore]]\nfield = "row_number"\nwhy = "a counter"\n\n[fields]'),
        ("guards.toml", "future_source_time_hours = 24", "future_source_time_hours = 25"),
    ],
)
def test_the_digest_moves_if_validation_may_say_something_else(
    folder: Path, file: str, before: str, after: str
) -> None:
    digest = load_rules(folder).digest
    edit(folder, file, before, after)
    assert load_rules(folder).digest != digest


def test_the_digest_of_a_file_moves_with_what_it_says_only(folder: Path) -> None:
    digests = load_rules(folder).file_digests
    edit(folder, "departments.toml", "SALES = ", "# sellers\nSALES = ")
    assert load_rules(folder).file_digests == digests
    edit(folder, "departments.toml", '"SALE"', '"SALE", "SELLING"')
    moved = load_rules(folder).file_digests
    assert [file for file in digests if moved[file] != digests[file]] == ["departments.toml"]


# --- refusals -----------------------------------------------------------------------------------------------------

REFUSALS = {
    # file, text, its replacement with the line to be named marked by ← at its end, part of the reason
    "an unknown key at the top": (
        "guards.toml",
        "future_source_time_hours = 24",
        "limit = 24 ←",
        "unknown key `limit`",
    ),
    "an unknown table": ("anomalies.toml", "[efficiency]", "[eficiency] ←", "unknown key `eficiency`"),
    "an unknown block": ("checks.toml", "[[check]]", "[[chek]] ←", "unknown key `chek`"),
    "an unknown key in a check": ("checks.toml", "max = 500\n", "maximum = 500 ←\n", "unknown key `maximum`"),
    "an unknown key in a guard": ("guards.toml", "exempt_under_rows = 20", "exempt = 20 ←", "unknown key `exempt`"),
    "a key that is not for the file to set": (
        "checks.toml",
        "max = 500\n",
        "max = 500\nline = 3 ←\n",
        "unknown key `line`",
    ),
    "an unknown field": ("fields.toml", "sender = [", "colour = [] ←\nsender = [", "unknown field `colour`"),
    "no zone": ("fields.toml", 'zone = "Africa/Nairobi"\n', "", "`zone` is missing"),
    "a zone that is none": ("fields.toml", '"Africa/Nairobi"', '"Africa/Atlantis" ←', "is not the name of a time zone"),
    "an offset for a zone": ("fields.toml", '"Africa/Nairobi"', '"+03:00" ←', "is not the name of a time zone"),
    "a zone by its letters": ("fields.toml", '"Africa/Nairobi"', '"EAT" ←', "is not the name of a time zone"),
    "a zone outside": ("fields.toml", '"Africa/Nairobi"', '"../../etc/passwd" ←', "is not the name of a time zone"),
    "a zone that is SQL": (
        "fields.toml",
        '"Africa/Nairobi"',
        '"UTC\'; drop table x" ←',
        "is not the name of a time zone",
    ),
    "the zone of this machine": ("fields.toml", '"Africa/Nairobi"', '"localtime" ←', "is not the name of a time zone"),
    "a field without a name": ("fields.toml", '["department"]', "[] ←", "`department` needs at least one name"),
    "a name that is no name": ("fields.toml", '["odometer"]', '["odometer; drop"] ←', "cannot be a field's name"),
    "a name of two fields": (
        "fields.toml",
        '["odometer"]',
        '["odometer", "car"] ←',
        "claimed by `car` and by `odometer_km`",
    ),
    "a personal field nobody knows": (
        "fields.toml",
        '"driver", "sender"',
        '"chauffeur", "sender"',
        "unknown field `chauffeur`",
    ),
    "an ignored field that is read": (
        "fields.toml",
        "[fields]",
        '[[ignore]] ←\nfield = "car"\nwhy = "x"\n[fields]',
        "`car` is a name of field `car`",
    ),
    "a missing reason": (
        "checks.toml",
        'code = "litres_missing"\nwhy',
        'code = "litres_missing"\n#',
        "`why` is missing",
    ),
    "a wrong type": ("guards.toml", "share = 0.20", 'share = "a fifth" ←', "`share`: expected `float`, got `str`"),
    "a truth for a number": ("guards.toml", "share = 0.20", "share = true ←", "`share`: expected `float`, got `bool`"),
    "a text for a list": (
        "fuel_types.toml",
        'KEROSENE = ["KERO",',
        'WATER = "H2O" ←\nKEROSENE = ["KERO",',
        "expected `array`",
    ),
    "a share above one": ("guards.toml", "share = 0.20", "share = 20 ←", "`share`: must be at most 1"),
    "a number that is none": ("guards.toml", "share = 0.20", "share = nan ←", "`nan` is no number"),
    "an endless number": ("guards.toml", "share = 0.20", "share = 1e999 ←", "`1e999` is no number"),
    "rows below zero": ("guards.toml", "exempt_under_rows = 20", "exempt_under_rows = -1 ←", "must be at least 0"),
    "hours below zero": (
        "guards.toml",
        "future_source_time_hours = 24",
        "future_source_time_hours = -1 ←",
        "must be at least 0",
    ),
    "a spelling of two fuels": (
        "fuel_types.toml",
        '"PARAFIN"]',
        '"PARAFIN", "petrol."] ←',
        "claimed by `PETROL` and by `KEROSENE`",
    ),
    "a spelling of two departments, in other clothes": (
        "departments.toml",
        'STORES = ["STORE",',
        'STORES = [\n  "roll  out", ←\n  "STORE",',
        "the spelling `roll  out` is claimed by `ROLLOUT` and by `STORES`",
    ),
    "a department that differs in its suffix only": (
        "departments.toml",
        '["SALE"]',
        '["SALE", "Finance Dept."] ←',
        "the spelling `Finance Dept.` is claimed by `FINANCE` and by `SALES`",
    ),
    "a canonical name that is a spelling of another": (
        "departments.toml",
        'MANAGEMENT = ["MGMT"]',
        'MANAGEMENT = ["MGMT", "HR"] ←',
        "claimed by `HR` and by `MANAGEMENT`",
    ),
    "a canonical name in lower case": ("departments.toml", "SALES = ", "sales = [] ←\nSALES = ", "upper case"),
    "a spelling of punctuation": ("departments.toml", '["SALE"]', '["SALE", "--"] ←', "is no spelling"),
    "a spelling that cannot be printed": (
        "departments.toml",
        '["SALE"]',
        r'["SALE", "S\u0000"] ←',
        "nothing unprintable",
    ),
    "overlapping cycles": (
        "pump_prices.toml",
        "[[cycle]]\nvalid_from = 2022-04-15",
        "[[cycle]] ←\nvalid_from = 2022-04-14",
        "overlaps the one that ends on 2022-04-14",
    ),
    "a cycle that ends before it begins": (
        "pump_prices.toml",
        "valid_to = 2022-04-14",
        "valid_to = 2022-03-01 ←",
        "cannot end",
    ),
    "a day written as a text": ("pump_prices.toml", "valid_to = 2022-04-14", 'valid_to = "14 April" ←', "`valid_to`"),
    "a price of nothing": ("pump_prices.toml", "diesel = 115.60", "diesel = 0 ←", "`diesel`: must be more than 0"),
    "a missing price": (
        "pump_prices.toml",
        "[[cycle]]\nvalid_from",
        "[[cycle]] ←\n# valid_from",
        "`valid_from` is missing",
    ),
    "two classes of one name": (
        "vehicle_classes.toml",
        '[[vehicle_class]]\nname = "pickup"',
        '[[vehicle_class]] ←\nname = "car"',
        "twice",
    ),
    "two classes of one rank": ("vehicle_classes.toml", "rank = 3", "rank = 2 ←", "rank 2 is taken by class `car`"),
    "a range upside down": ("vehicle_classes.toml", "litres_min = 10", "litres_min = 100 ←", "litres_min"),
    "a pattern that is none": (
        "vehicle_classes.toml",
        '"^KM[A-Z]{2}[0-9]{3}[A-Z]?$"',
        '"^KM[A-Z" ←',
        "no regular expression",
    ),
    "a pattern that only Python knows": (
        "vehicle_classes.toml",
        '"^KM[A-Z]{2}[0-9]{3}[A-Z]?$"',
        '"^(?!KMA)KM" ←',
        "uses `(?!K`",
    ),
    "a number beyond all limits": (
        "anomalies.toml",
        "{ minutes = 20 }",
        "{ minutes = 1e300 } ←",
        "must be at most 1000000",
    ),
    "a number beyond Python's limits": ("guards.toml", "share = 0.20", "share = " + "9" * 5000, "not TOML: exceeds"),
    "a plate as people write it": (
        "vehicle_classes.toml",
        "plates = []",
        'plates = ["KCA 542Q"] ←',
        "A-Z and 0-9 only",
    ),
    "no default class": ("vehicle_classes.toml", "default = true", "default = false", "exactly one class"),
    "a code of two checks": ("checks.toml", '"litres_unreadable"', '"litres_missing" ←', "stands here twice"),
    "a code that is a number": ("checks.toml", '"litres_unreadable"', '"E101" ←', "snake_case"),
    "a field no check can see": (
        "checks.toml",
        'field = "litres"',
        'field = "raw_message" ←',
        "no check can look at `raw_message`",
    ),
    "an unknown severity": ("checks.toml", 'severity = "warn"', 'severity = "error" ←', "`severity`"),
    "two predicates": ("checks.toml", "max = 500\n", "max = 500\nrequired = true\n", "exactly one of"),
    "a predicate the field cannot answer": (
        "checks.toml",
        "max = 500\n",
        "max_hours_ahead = 500 ←\n",
        "cannot be asked of field `litres`",
    ),
    "a predicate that is not asked": ("checks.toml", "required = true", "required = false ←", "true or absent"),
    "a time against a number": ("checks.toml", "max = 500\n", "max = 2015-01-01T00:00:00Z ←\n", "must be a number"),
    "a time without a zone": (
        "checks.toml",
        "min = 2015-01-01T00:00:00+03:00",
        "min = 2015-01-01T00:00:00 ←",
        "with time and zone",
    ),
    "a number against a time": ("checks.toml", "min = 2015-01-01T00:00:00+03:00", "min = 2015 ←", "with time and zone"),
    "bounds upside down": ("checks.toml", "min = 1\nmax = 2000000", "min = 3 ←\nmax = 2", "greater than `max`"),
    "no good example": ("checks.toml", "good = [{ liters = 500 }]", "good = [] ←", "at least one `good` record"),
    "an example of no field": (
        "checks.toml",
        "good = [{ liters = 500 }]",
        "good = [{ litre = 500 }] ←",
        "`litre` is no name of a field",
    ),
    "an example JSON cannot hold": (
        "checks.toml",
        "good = [{ liters = 500 }]",
        "good = [{ liters = 2026-01-01 }] ←",
        "in quotes",
    ),
    "an anomaly nobody looks for": ("anomalies.toml", '"impossible_time"', '"fraud" ←', "unknown code `fraud`"),
    "an anomaly listed twice": ("anomalies.toml", '"odometer_missing"', '"odometer_rollback" ←', "stands here twice"),
    "an unknown limit": (
        "anomalies.toml",
        "{ minutes = 20 }",
        "{ minuets = 10 } ←",
        "the limits of `duplicate_fill` are minutes",
    ),
    "a limit of nothing": (
        "anomalies.toml",
        "max_span_km = 3000",
        "max_span_km = 0 ←",
        "`max_span_km`: must be more than 0",
    ),
    "no TOML": ("guards.toml", "share = 0.20", "share = = 0.20 ←", "not TOML: invalid value"),
    "a key set twice": ("departments.toml", "SALES = ", "SALES = []\nSALES = ", "not TOML: "),
}


@pytest.mark.parametrize("story", REFUSALS)
def test_a_wrong_rule_is_refused_with_its_line(folder: Path, story: str) -> None:
    file, before, after, reason = REFUSALS[story]
    edit(folder, file, before, after)
    lines = (folder / file).read_text(encoding="utf-8").splitlines()
    marked = [number for number, line in enumerate(lines, 1) if line.endswith("←")]
    (folder / file).write_text("\n".join(line.removesuffix("←").rstrip() for line in lines) + "\n", encoding="utf-8")
    where, line, said = refusal(folder)
    assert (where, reason in said) == (file, True), said
    if marked:
        assert line == marked[0], said


def test_a_check_without_a_predicate_is_refused(folder: Path) -> None:
    edit(folder, "checks.toml", "required = true\n", "")
    assert refusal(folder)[2].startswith("check `filled_at_missing` needs exactly one of required, readable")


def test_an_anomaly_cannot_be_left_out_silently(folder: Path) -> None:
    text = (folder / "anomalies.toml").read_text(encoding="utf-8")
    blocks = text.split("[[anomaly]]\n")
    (folder / "anomalies.toml").write_text("[[anomaly]]\n".join(blocks[:-1]), encoding="utf-8")
    assert "`missing_litres` is missing; to take it out of the view, say `enabled = false`" in refusal(folder)[2]


def test_a_file_that_is_missing_is_refused(folder: Path) -> None:
    (folder / "guards.toml").unlink()
    assert refusal(folder) == ("guards.toml", 1, "cannot be read: No such file or directory")


def test_a_file_nobody_reads_is_refused(folder: Path) -> None:
    (folder / "chekcs.toml").write_text("")
    assert refusal(folder)[0] == "chekcs.toml"


def test_a_folder_that_is_missing_is_refused(tmp_path: Path) -> None:
    assert "no such folder" in refusal(tmp_path / "rules")[2]


def test_a_file_in_another_encoding_is_refused_with_its_line(folder: Path) -> None:
    (folder / "departments.toml").write_bytes("[departments]\nSALES = []\nCAFÉ = []\n".encode("latin-1"))
    assert refusal(folder) == ("departments.toml", 3, "not UTF-8 text")


def test_windows_line_ends_and_a_byte_order_mark_change_nothing(folder: Path) -> None:
    rules = load_rules(folder)
    for path in folder.glob("*.toml"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert load_rules(folder) == rules


# --- rules as rows ------------------------------------------------------------------------------------------------


def rows(rules: Rules, table: str) -> list[dict[str, object]]:
    return list(rule_rows(rules)[table])


def test_a_canonical_name_is_a_spelling_of_itself() -> None:
    assert {"alias": "DIESEL", "canonical": "DIESEL"} in rows(load_rules(), "fuel_type_alias")


def test_the_rank_of_a_name_is_its_place_in_the_list() -> None:
    names = [row for row in rows(load_rules(), "source_field") if row["field"] == "car"]
    assert [(row["rank"], row["alias"]) for row in names] == [(1, "car"), (2, "plate"), (3, "vehicle")]


def test_a_class_with_listed_plates_gets_a_pattern_and_one_without_gets_one_that_fits_no_plate(folder: Path) -> None:
    edit(folder, "vehicle_classes.toml", "plates = []", 'plates = ["KCA542Q", "KDA717B"]')
    classes = {row["class"]: row["plate_pattern"] for row in rows(load_rules(folder), "vehicle_class")}
    assert classes == {
        "motorcycle": "^KM[A-Z]{2}[0-9]{3}[A-Z]?$",
        "car": "^(KCA542Q|KDA717B)$",
        "pickup": "^$",
        "heavy": "^$",
        "any": None,
    }


def test_a_check_without_numbers_is_one_row_and_a_check_switched_off_is_none(folder: Path) -> None:
    edit(folder, "anomalies.toml", 'code = "odd_hours"', 'code = "odd_hours"\nenabled = false')
    limits = rows(load_rules(folder), "check_limit")
    assert {"code": "odometer_rollback", "name": "enabled", "value": 1, "severity": "warn"} in limits
    assert "odd_hours" not in {row["code"] for row in limits}
    assert {"code": "efficiency", "name": "rolling_spans", "value": 10, "severity": None} in limits


# What somebody knows of single vehicles.

KNOWN = """
[[vehicle]]
plate = "kdx 101a"
also = ["KBA 717B"]
class = "pickup"
tank_litres = 80
fuel = "DIESEL"

[[vehicle]]
name = "Genset 2"
has_odometer = false
"""


def test_each_spelling_of_a_known_vehicle_is_a_row(folder: Path) -> None:
    assert rows(load_rules(folder), "known_vehicle") == []
    (folder / "vehicles.toml").write_text(KNOWN, encoding="utf-8")
    facts = {"vehicle": "KDX101A", "class": "pickup", "tank_litres": 80, "fuel_type": "DIESEL", "has_odometer": True}
    nothing = {"class": None, "tank_litres": None, "fuel_type": None}
    assert rows(load_rules(folder), "known_vehicle") == [
        {"plate": "KDX101A", **facts},
        {"plate": "KBA717B", **facts},
        {"plate": "GENSET2", "vehicle": "GENSET2", **nothing, "has_odometer": False},
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('plate = "KDX 101A"\nname = "GENSET"', "needs a `plate`, or a `name`"),
        ('plate = "-"', "no plate and no name"),
        ('plate = "KDX 101A"\nalso = ["KBA 717B"]\n\n[[vehicle]]\nplate = "kba717b"', "claimed by two vehicles"),
        ('plate = "KDX 101A"\nclass = "boat"', "unknown class `boat`"),
        ('plate = "KDX 101A"\nfuel = "Diesel"', "unknown fuel `Diesel`"),
        ('plate = "KDX 101A"\ntank_litres = 0', "tank_litres"),
        ('plate = "KDX 101A"\ntank = 80', "unknown key `tank`"),
    ],
)
def test_what_cannot_be_known_of_a_vehicle_is_refused(folder: Path, text: str, said: str) -> None:
    (folder / "vehicles.toml").write_text(f"[[vehicle]]\n{text}\n", encoding="utf-8")
    with pytest.raises(errors.RulesError, match=re.escape(said)):
        load_rules(folder)
