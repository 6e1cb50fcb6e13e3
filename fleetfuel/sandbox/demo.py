"""The whole job on servers that come along: a generated feed, hour after hour, each step with its command."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from fleetfuel import pipeline
from fleetfuel.packaged import packaged
from fleetfuel.pipeline import Request
from fleetfuel.plan.limits import Allowance, Overrides
from fleetfuel.report import migrations
from fleetfuel.report.summary import Summary
from fleetfuel.report.text import render_summary
from fleetfuel.report.words import wrapped
from fleetfuel.rules.book import load_rules
from fleetfuel.sandbox.postgres import postgres_server
from fleetfuel.sandbox.producer import Producer
from fleetfuel.sandbox.scratch import make_scratch
from fleetfuel.sandbox.store import ObjectStore, object_store
from fleetfuel.settings import Settings
from fleetfuel.table import database, migrate

BUCKET: Final = "fuel"


class Demo:
    """The stage: a producer, its bucket, a database; each step says what a user would type, and does it."""

    def __init__(self, url: str, settings: Settings, store: ObjectStore, say: Callable[[str], Any], width: int) -> None:
        self.url = url
        self.settings = settings
        self.say = say
        self.width = width
        self.producer = Producer()
        self._client = _client(store)

    def step(self, title: str, command: str | None = None) -> None:
        self.say(f"\n── {title} " + "─" * max(0, self.width - len(title) - 4))
        if command:
            self.say(f"$ {command}\n")

    def put(self, item: tuple[str, bytes]) -> None:
        self._client.put_object(Bucket=BUCKET, Key=item[0], Body=item[1])

    def migrate(self) -> None:
        with database.connect(self.url) as connection:
            plan = migrate.plan_migrations(connection, packaged("migrations"))
            self.say(migrations.render_receipt(migrate.apply_migrations(connection, plan, load_rules())))

    def install_devices(self) -> None:
        """The table of vehicles that the tracking application owns, and fleetfuel only reads."""
        with database.connect(self.url) as connection:
            connection.begin()
            connection.execute("create_demo_schema")
            connection.execute("create_demo_devices")
            connection.execute("fill_demo_devices", json.dumps(self.producer.devices()))
            connection.commit()

    def run(self, request: Request) -> Summary:
        outcome = pipeline.run(request, self.settings, self.url)
        self.say(render_summary(outcome.summary, width=self.width).rstrip())
        return outcome.summary

    def half(self) -> Request:
        """Overwrite the snapshot with half of itself; returns the request that loads it past the guards."""
        key, body = self.producer.snapshot()
        export = json.loads(body)
        envelope = export[0] if isinstance(export, list) else export
        envelope["records"] = envelope["records"][: len(envelope["records"]) // 2]
        envelope["metadata"] = {"exported_at": envelope.get("metadata", {}).get("exported_at")}
        self.put((key, json.dumps(envelope).encode()))
        everything = Allowance(number=100, is_share=True)
        return Request(mode="snapshot", apply=True, overrides=Overrides(max_deletes=everything))

    def live(self) -> list[Mapping[str, Any]]:
        """Id and values of the live rows."""
        with database.connect(self.url) as connection:
            return list(connection.rows("read_demo_rows"))

    def fills(self) -> None:
        with database.connect(self.url) as connection:
            self.say(render_table(connection.rows("read_demo_fills")))

    def figures(self) -> None:
        """The last month by cost centre, and three findings of different kinds."""
        with database.connect(self.url) as connection:
            self.say(render_table(connection.rows("read_demo_month")))
            for found in connection.rows("read_demo_findings"):
                self.say(f"\n{found['plate']}, {found['filled_on']}, record {found['id']}, {found['code']}:")
                self.say("\n".join(wrapped(str(found["sentence"]), self.width, first="  ")))


def run_demo(*, width: int, say: Callable[[str], Any], keep_reports: Path | None = None) -> None:
    """Run every step and clean up. Raises `EmbeddedUnavailable` if the servers' wheels are missing."""
    started = time.monotonic()
    say(
        "fleetfuel demo: a PostgreSQL and an S3-compatible bucket on 127.0.0.1, a generated feed, both gone afterwards."
    )
    with _stage(say, width, keep_reports) as demo:
        producer = demo.producer

        demo.step("The schema and the rules", "fleetfuel migrate")
        demo.install_devices()
        demo.migrate()

        demo.step("The first snapshot is in the bucket: what would it do?", "fleetfuel import --snapshot")
        demo.put(producer.snapshot())
        demo.run(Request(mode="snapshot"))

        demo.step("Do exactly that", "fleetfuel import --snapshot --apply")
        demo.run(Request(mode="snapshot", apply=True))

        demo.step("An hour later: a change file", "fleetfuel import --changes --apply")
        producer.advance(1, fills=3, edits=2, soft_deletes=1, hard_deletes=0, resends=0)
        demo.put(producer.changes())
        demo.run(Request(mode="changes", apply=True))

        demo.step("Another hour: a new snapshot; somebody deleted rows at the source", "fleetfuel import --snapshot")
        producer.advance(1, fills=2, edits=2, soft_deletes=1, hard_deletes=3, resends=1)
        demo.put(producer.snapshot())
        shown = demo.run(Request(mode="snapshot"))

        demo.step("The report of that dry run is a plan: do exactly that", f"fleetfuel apply {shown.report}")
        run = demo.run(Request(mode="file", apply=True, plan=Path(str(shown.report))))

        before = demo.live()
        demo.step("A bad snapshot, let through", "fleetfuel import --snapshot --apply --max-deletes 100%")
        demo.put(producer.snapshot())
        bad = demo.run(demo.half())

        demo.step("It was a mistake: give back what was", f"fleetfuel undo {bad.run_id} --apply")
        demo.run(Request(mode="undo", apply=True, undo=bad.run_id))
        same = "as before" if demo.live() == before else "NOT as before"
        say(f"\nThe live rows of the table are {same} the bad snapshot: {len(before):,}.")
        demo.put(producer.snapshot())

        demo.step("The same again", "fleetfuel import --snapshot --apply")
        demo.run(Request(mode="snapshot", apply=True))

        demo.step("What an analyst reads", "psql -c 'select * from reporting.v_fuel_fills order by filled_at desc'")
        demo.fills()

        demo.step(
            "What a month cost, and what somebody should look at", "psql -c 'select * from reporting.v_fuel_monthly'"
        )
        demo.figures()

        if keep_reports:
            demo.step("The evidence", f"fleetfuel show {run.report}")
            say(f"Every run above left Parquet in {keep_reports}/: changes, rejects, notices, and plan.json.")
    say(f"\nDone in {time.monotonic() - started:.0f} s. To keep the reports: fleetfuel demo --keep")
    say("For your own database and bucket: copy .env.example to .env, fill it in, then `fleetfuel doctor`.")


@contextmanager
def _stage(say: Callable[[str], Any], width: int, keep_reports: Path | None) -> Iterator[Demo]:
    reports = keep_reports or make_scratch("fleetfuel-demo")
    try:
        with postgres_server() as server, object_store() as store:
            settings = Settings(
                database_url=server.uri(),
                endpoint=store.endpoint,
                access_key=store.access_key,
                secret_key=store.secret_key,
                bucket=BUCKET,
                region=store.region,
                reports=reports,
            )
            _client(store).create_bucket(Bucket=BUCKET)
            yield Demo(server.uri(), settings, store, say, width)
    finally:
        if not keep_reports:
            shutil.rmtree(reports, ignore_errors=True)


def _client(store: ObjectStore) -> Any:
    """The export job's side of the bucket: fleetfuel itself never writes there."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=store.endpoint,
        region_name=store.region,
        aws_access_key_id=store.access_key,
        aws_secret_access_key=store.secret_key,
        config=Config(s3={"addressing_style": "path"}),
    )


def render_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as aligned columns, numbers to the right."""
    if not rows:
        return "(no rows)"
    names = list(rows[0])
    cells = [[("" if row[name] is None else str(row[name])) for name in names] for row in rows]
    widths = [max(len(name), *(len(line[at]) for line in cells)) for at, name in enumerate(names)]
    numeric = [
        all(line[at].replace(",", "").replace(".", "").isdigit() for line in cells if line[at])
        for at in range(len(names))
    ]

    def aligned(line: Sequence[str]) -> str:
        return "  ".join(
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()

    return "\n".join([aligned(names), aligned(["-" * width for width in widths]), *map(aligned, cells)])
