"""One line and an exit code, and a view that stays quick: how the imports do, for uptime checks and dashboards."""

from __future__ import annotations

import json

from .stage import Stage

YEARS = """
insert into fuel.ingest_runs (run_id, mode, source, started_at, finished_at, status, exit_code, version)
select 'old-' || n, (array['snapshot', 'changes', 'file'])[1 + n % 3], 's3://fuel/x', at, at, 'applied', 0, '0.1.0'
from generate_series(1, 172420) as n, lateral (select now() - n * interval '1 hour' - interval '1 day' as at) as t
"""
EXPLAIN = """
create function public.explain_health() returns json language plpgsql as $$
declare plan json;
begin
    execute 'explain (analyze, buffers, format json) select * from reporting.v_ingest_health' into plan;
    return plan;
end
$$
"""


def test_fresh_late_and_failing(stage: Stage) -> None:
    none = stage.run("status")
    assert (none.code, none.out.count("\n")) == (2, 1)
    stage.snapshot()
    stage.done("import", "--snapshot", "--apply")
    fresh = stage.run("status", "--json")
    assert (fresh.code, fresh.json["state"], fresh.json["exit_code"]) == (0, "fresh", 0)
    stage.sql(
        "update fuel.ingest_state set watermark = now() - interval '170 days', modified_at = now() - interval '5 hours'"
    )
    late = stage.run("status")
    assert (late.code, late.out.startswith("late: ")) == (1, True)
    assert "the export wrote 5 hours ago" in late.out
    assert stage.run("import", "--snapshot", "--apply", RUSTFS_PREFIX="elsewhere/").code == 66
    failing = stage.run("status")
    assert failing.code == 2
    assert "was failed" not in failing.out
    assert "(exit 66)" in failing.out


def test_a_ledger_that_cannot_be_read_is_failing_and_no_error(stage: Stage) -> None:
    for url in (None, "postgresql://u:p@127.0.0.1:1/x"):
        done = stage.run("status", DATABASE_URL=url)
        assert (done.code, done.err, done.out.count("\n")) == (2, "", 1)
        assert done.out.startswith("failing: ")


def test_the_view_is_quick_with_twenty_years_of_runs(stage: Stage) -> None:
    """By what it reads: nothing of the ledger is scanned or sorted."""
    stage.sql(YEARS)
    stage.sql("analyze fuel.ingest_runs")
    stage.sql(EXPLAIN)
    tree = json.loads(str(stage.sql("select public.explain_health()::text as plan")[0]["plan"]))
    nodes: list[dict[str, object]] = []

    def walk(node: dict[str, object]) -> None:
        nodes.append(node)
        for child in node.get("Plans", []):  # type: ignore[attr-defined]
            walk(child)

    walk(tree[0]["Plan"])
    read = [node for node in nodes if node.get("Relation Name") == "ingest_runs"]
    assert read
    assert {node["Node Type"] for node in read} <= {"Index Scan", "Index Only Scan"}
    assert sum(float(str(node["Actual Rows"])) * float(str(node["Actual Loops"])) for node in read) < 20
    assert tree[0]["Plan"]["Shared Hit Blocks"] + tree[0]["Plan"]["Shared Read Blocks"] < 200
    assert {row["mode"] for row in stage.sql("select mode from reporting.v_ingest_health")} == {
        "snapshot",
        "changes",
        "file",
    }
