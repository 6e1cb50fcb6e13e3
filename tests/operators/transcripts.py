"""The transcripts of the README and of the stories: run on a real database, bucket and feed, compared, or written anew.

The documents are one long day: each goes on where the one before ended.

A fenced block `console` holds commands (`$ …`) and what they answer: stdout, stderr, `(exit N)` if it is not
0. A comment `<!-- feed: NAME -->` before a block lets NAME happen first. Run ids, times and what is measured count by
their shape alone. `python -m tests.operators.transcripts --write` refreshes the documents.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fleetfuel.sandbox.postgres import PostgresServer, postgres_server
from fleetfuel.sandbox.producer import Producer
from fleetfuel.sandbox.store import object_store

from .stage import COMMAND, Stage, environment

README: Final = Path(__file__).resolve().parents[2] / "README.md"
DOCUMENTS: Final = (README, *sorted((Path(__file__).parent / "stories").glob("*.md")))
"""What is executed, in this order."""

BLOCK: Final = re.compile(r"(?:<!-- feed: (?P<feed>[a-z ]+) -->\n+)?```console\n(?P<text>.*?)```", re.DOTALL)
SQL: Final = re.compile(r"```sql\n(?P<text>.*?)```", re.DOTALL)
RUN_ID: Final = re.compile(r"\b\d{8}T\d{6}Z-[0-9a-f]{6}\b")
STAMP: Final = re.compile(r"^\d{4}-\d\d-\d\dT[\d:.]+Z (?:\d{8}T\d{6}Z-\w+ )?", re.MULTILINE)
"""What a line on stderr begins with if no terminal is; a person at a terminal does not see it."""

SHAPES: Final = (
    (re.compile(r"\b[0-9a-f]{64}\b"), "CHECKSUM"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[ T]\d\d:\d\d(?::\d\d)?(?:\.\d+)?(?:Z| UTC)?"), "TIME"),
    (re.compile(r"\b[\d,]+ ms\b"), "N ms"),
    (re.compile(r"\b[\d.]+ s\b"), "N s"),
    (re.compile(r"\b\d+ (?:second|minute|hour|day)s?(?= ago)"), "N units"),
    (re.compile(r"\b[\d,.]+ GB free"), "N GB free"),
    (re.compile(r"PostgreSQL [\d.]+"), "PostgreSQL N"),
    (re.compile(r" +"), " "),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The operator of the documents: a server with its roles, a bucket, a folder with the program on the path."""

    stage: Stage
    server: PostgresServer
    tools: Path

    def answer(self, command: str) -> str:
        """What a shell shows for a command, as the documents write it."""
        env = environment(self.stage.env) | {"TMPDIR": "/tmp"}
        env["PATH"] = f"{self.tools}:{env['PATH']}"
        done = subprocess.run(
            ["sh", "-c", command], check=False, cwd=self.stage.folder, env=env, capture_output=True, text=True
        )
        text = done.stdout + STAMP.sub("", done.stderr) + (f"(exit {done.returncode})\n" if done.returncode else "")
        for here, there in (
            (f"127.0.0.1:{self.server.port}", "db.example.org:5432"),
            (self.stage.store.endpoint, "https://s3.example.org"),
            (str(self.stage.folder), "/var/lib/fleetfuel"),
        ):
            text = text.replace(here, there)
        return text


@contextmanager
def world() -> Iterator[World]:
    """As the README's set-up leaves it: its own SQL has made the roles."""
    # A short path, wherever TMPDIR lies: doctor's rows are wrapped, and the transcripts are of /tmp.
    with tempfile.TemporaryDirectory(dir="/tmp") as name, postgres_server() as server, object_store() as store:
        folder, tools = Path(name) / "work", Path(name) / "bin"
        folder.mkdir()
        tools.mkdir()
        (tools / "fleetfuel").write_text(f'#!/bin/sh\nexec {" ".join(COMMAND)} "$@"\n')
        (tools / "fleetfuel").chmod(0o755)
        stage = Stage(folder=folder, url=server.uri(), store=store, bucket="fuel")
        stage.sql("create database tracksolid_db")
        stage.sql("create role grafana_ro login password 'reader'")
        stage.url = server.uri("tracksolid_db")
        stage.sql("create schema tracksolid")
        columns = "(imei text, vehicle_number text, cost_centre text, assigned_city text)"
        rows = json.dumps(stage.producer.devices()).replace("'", "''")
        stage.sql(f"create table tracksolid.devices {columns}")
        stage.sql(f"insert into tracksolid.devices select * from jsonb_to_recordset('{rows}') as d {columns}")
        for statement in statements(README.read_text())[0].split(";\n"):
            if statement.strip():
                stage.sql(statement)
        stage.env["DATABASE_URL"] = server.uri("tracksolid_db", user="fuel_owner", password="PASSWORD")
        yield World(stage=stage, server=server, tools=tools)


def statements(text: str) -> list[str]:
    """A document's blocks of SQL, in order."""
    return [match["text"] for match in SQL.finditer(text)]


# --- what happens between the commands ----------------------------------------------------------------------------


def months_and_an_hour(stage: Stage) -> None:
    """Everything is in the table, and the export has just written what happened since."""
    stage.done("migrate")
    stage.snapshot()
    stage.done("import", "--snapshot", "--apply")
    stage.snapshot(fills=3, edits=2, soft_deletes=1, hard_deletes=2)


def a_new_database(stage: Stage) -> None:
    stage.sql("drop schema fuel cascade")
    stage.sql("drop schema reporting cascade")
    shutil.rmtree(stage.folder / "reports")
    stage.producer = Producer()
    stage.snapshot()


def a_delta(stage: Stage) -> None:
    stage.changes(fills=3, edits=2, soft_deletes=1)


def half_a_snapshot(stage: Stage) -> None:
    """The export job lost most of the rows, and says the number of what it wrote."""
    key, body = stage.producer.snapshot()
    stage.client().copy_object(Bucket=stage.bucket, Key="kept.json", CopySource=f"{stage.bucket}/{key}")
    export = json.loads(body)
    envelope = export[0] if isinstance(export, list) else export
    envelope["records"] = envelope["records"][:700]
    for name in ("record_count", "total", "count"):
        if name in envelope.get("metadata", {}):
            envelope["metadata"][name] = len(envelope["records"])
    stage.put((key, json.dumps(export).encode()))


def an_empty_snapshot(stage: Stage) -> None:
    stage.put(("fuel_records/latest.json", b'{"metadata": {}, "records": []}'))


def a_good_snapshot(stage: Stage) -> None:
    stage.snapshot()


def an_edit_by_hand_and_a_good_snapshot(stage: Stage) -> None:
    somebody_edits_the_table(stage)
    stage.snapshot()


def files_of_tuesday(stage: Stage) -> None:
    folder = stage.folder / "tuesday"
    folder.mkdir()
    for edits in (1, 2):
        stage.producer.advance(1, fills=1, edits=edits, soft_deletes=0, hard_deletes=0, resends=0)
        key, body = stage.producer.changes()
        (folder / key.rsplit("/", 1)[-1]).write_bytes(body)


def somebody_edits_the_table(stage: Stage) -> None:
    stage.sql("""update fuel.records set raw = raw || '{"amount": 99}' where id = 1200""")


FEED: Final[Mapping[str, Callable[[Stage], None]]] = {
    function.__name__.replace("_", " "): function
    for function in (
        months_and_an_hour,
        a_new_database,
        a_delta,
        half_a_snapshot,
        an_empty_snapshot,
        a_good_snapshot,
        an_edit_by_hand_and_a_good_snapshot,
        files_of_tuesday,
        somebody_edits_the_table,
    )
}


# --- running and comparing ----------------------------------------------------------------------------------------


def commands(block: str) -> list[tuple[str, str]]:
    """(command, answer) of each command of a block."""
    parts = re.split(r"^\$ (.+)\n", block, flags=re.MULTILINE)
    return [*zip(parts[1::2], (answer.strip("\n") for answer in parts[2::2]), strict=True)]


def replay(text: str, world: World) -> Iterator[tuple[str, str, str]]:
    """(command, the document's answer, today's answer) of each command; the command's run ids are those of today."""
    ids: dict[str, str] = {}

    def of_today(found: re.Match[str]) -> str:
        return ids.get(found[0], found[0])

    for block in BLOCK.finditer(text):
        if block["feed"]:
            FEED[block["feed"]](world.stage)
        for command, reported in commands(block["text"]):
            today = RUN_ID.sub(of_today, command)
            answer = world.answer(today).strip("\n")
            ids.update(zip(RUN_ID.findall(reported), RUN_ID.findall(answer), strict=False))
            yield today, reported, answer


def shape(text: str) -> str:
    """The text without what differs from run to run."""
    text = RUN_ID.sub("RUN", text)
    for pattern, word in SHAPES:
        text = pattern.sub(word, text)
    return text


def rewrite(text: str, world: World) -> str:
    """The document with today's answers."""
    answers = replay(text, world)

    def block(found: re.Match[str]) -> str:
        written = []
        for _ in commands(found["text"]):
            command, _, answer = next(answers)
            written.append(f"$ {command}\n{answer}\n" if answer else f"$ {command}\n")
        start = found[0][: found.start("text") - found.start()]
        return start + "\n".join(written) + "```"

    return BLOCK.sub(block, text)


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit("python -m tests.operators.transcripts --write")
    with world() as here:
        for document in DOCUMENTS:
            document.write_text(rewrite(document.read_text(), here))
