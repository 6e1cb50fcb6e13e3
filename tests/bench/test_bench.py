"""The harness runs end to end and every contender does its work; how long any of it takes is nobody's business here."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from .__main__ import main
from .scenarios import has_psycopg


def test_every_contender_does_its_work_and_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plot = tmp_path / "plot.svg"

    code = main(["--sizes", "1k", "--only", "fresh,changed", "--rounds", "1", "--here", "--json", "--plot", str(plot)])

    assert code == 0
    reported = json.loads(capsys.readouterr().out)
    assert [result["scenario"] for result in reported["results"]] == ["fresh", "changed"]
    expected = ["fleetfuel", "floor", *(["naive"] if has_psycopg() else [])]
    for result, more in zip(reported["results"], [[], ["unchanged"]], strict=True):
        assert list(result["runs"]) == [*expected, *more]
        assert all(len(runs) == 1 for runs in result["runs"].values())
    assert 1.25 in [target["limit"] for target in reported["targets"]]
    assert ElementTree.fromstring(plot.read_text()).tag == "{http://www.w3.org/2000/svg}svg"
