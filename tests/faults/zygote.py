"""Forks the program: a process that has imported it, and for each line on stdin becomes it once more.

A trial costs a fork instead of an interpreter and two seconds of imports; what runs is `fleetfuel.cli.main`, in a
process of its own that can be killed. In the fork, and nowhere else, the stages announce themselves in a pipe, and stop
where they are told to; so the program itself knows nothing of being tested.
"""

from __future__ import annotations

import faulthandler
import functools
import importlib
import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

STAGES = {
    "begin": "fleetfuel.table.ledger:begin_run",
    "fetch": "fleetfuel.feed.local:open_files",
    "saved": "fleetfuel.report.plan_file:read_plan",
    "undone": "fleetfuel.table.undone:read_undone",
    "cut": "fleetfuel.records.envelope:cut_file",
    "piece": "fleetfuel.records.texts:_piece",
    "state": "fleetfuel.table.state:Now.state",
    "match": "fleetfuel.plan.match:match_rows",
    "read": "fleetfuel.plan.batch:read_rows",
    "validate": "fleetfuel.records.judge:validate_rows",
    "check": "fleetfuel.records.judge:_verdict",
    "compare": "fleetfuel.plan.decide:compare_rows",
    "absent": "fleetfuel.plan.absent:find_absent",
    "limits": "fleetfuel.plan.assemble:check_limits",
    "report": "fleetfuel.report.evidence:write_report",
    "report file": "fleetfuel.report.evidence:_write",
    "report rows": "fleetfuel.report.evidence:_place",
    "report plan": "fleetfuel.report.evidence:_write_plan",
    "apply": "fleetfuel.pipeline:apply",
    "ledger": "fleetfuel.table.ledger:record_applied",
    "finish report": "fleetfuel.report.evidence:finish_report",
    "summary": "fleetfuel.report.text:render_summary",
}
"""Step → the function that begins with it."""

SPARED = {"jemalloc_bg_thd", "polars-ooc-clea"}
"""Threads that tidy up after the allocator: jemalloc starts its own again, and a short run can do without."""

STOPPING = {signal.SIGINT, signal.SIGTERM}

Request = dict[str, Any]


def serve() -> None:
    for module in ("cli.main", "pipeline", "feed.bucket", "table.migrate", "report.text", "report.runs"):
        importlib.import_module(f"fleetfuel.{module}")
    importlib.import_module("pandera.polars")
    assert not (working := threads() - SPARED), f"a fork would lack these threads: {working}"
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    pending = b""
    children: set[int] = set()
    tell({"ready": os.getpid()})
    while True:
        ready, _, _ = select.select([0, woken], [], [], 1.0)
        if woken in ready:
            os.read(woken, 4096)
        reap(children)
        if 0 not in ready:
            continue
        chunk = os.read(0, 65_536)
        if not chunk:
            for pid in children:
                os.kill(pid, signal.SIGKILL)
            return
        *lines, pending = (pending + chunk).split(b"\n")
        for line in lines:
            request = json.loads(line)
            signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)  # until the program can hear them
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                os.close(woken)
                os.close(wake)
                become(request)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
            children.add(pid)
            tell({"pid": pid, "for": request["number"]})


def threads() -> set[str]:
    """Names of the threads next to this one, if the system tells."""
    tasks = Path("/proc/self/task")
    others = [task for task in tasks.iterdir() if task.name != str(os.getpid())] if tasks.exists() else []
    return {(task / "comm").read_text().strip() for task in others}


def reap(children: set[int]) -> None:
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        children.discard(pid)
        tell({"ended": pid, "code": os.waitstatus_to_exitcode(status)})


def tell(what: dict[str, Any]) -> None:
    os.write(1, json.dumps(what).encode() + b"\n")


def become(request: Request) -> None:
    """The child: never returns."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    for number, path in ((0, os.devnull), (1, request["out"]), (2, request["err"])):
        opened = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    faulthandler.register(signal.SIGUSR1)  # if a program hangs, the test shows it
    code = 1
    try:
        instrument(request)
        sys.argv = ["fleetfuel", *request["argv"]]
        program = importlib.import_module("fleetfuel.cli.main")
        program.cli.main = listening(program.cli.main)
        program.main()
    except SystemExit as done:
        code = done.code if isinstance(done.code, int) else 1
    except BaseException:
        importlib.import_module("traceback").print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def listening(run: Callable[..., Any]) -> Callable[..., Any]:
    """`run`, which hears the signals that came before it could."""

    def heard(*arguments: Any, **options: Any) -> Any:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
        return run(*arguments, **options)

    return heard


def instrument(request: Request) -> None:
    """Make the stages announce themselves, and set what the trial wants set."""
    database: Any = importlib.import_module("fleetfuel.table.database")
    exchange_statements(request["sql"])
    for name, value in request["set"].items():
        module, attribute = name.split(":")
        replace(importlib.import_module(module), attribute, value)
    for name in request["skip"]:
        module, attribute = name.split(":")
        replace(importlib.import_module(module), attribute, lambda *_: None)
    if request["steps"] is None:
        return
    channel = os.open(request["steps"], os.O_WRONLY)
    stops: list[str] = request["stops"]

    slow: dict[str, float] = request["slow"]

    def reached(step: str) -> None:
        is_to_stop = step in stops
        if is_to_stop:
            stops.remove(step)  # a failing run may pass here again, to leave its line in the ledger
        os.write(channel, step.encode() + b"\n")
        if is_to_stop:
            release = os.open(request["release"], os.O_RDONLY | os.O_NONBLOCK)
            while not select.select([release], [], [], 0.1)[0]:
                pass  # waiting in bits: a signal right before a wait begins is heard after it
            os.read(release, 1)
            os.close(release)
        if step in slow:
            time.sleep(slow[step])

    for step, place in STAGES.items():
        module, _, function = place.partition(":")
        *holders, name = function.split(".")
        holder = functools.reduce(getattr, holders, importlib.import_module(module))
        announce(holder, name, lambda *_, step=step: reached(step))
    announce(database.Database, "take_lock", lambda *_: reached("lock"))
    announce(database.Database, "begin", lambda *_: reached("transaction"))
    announce(  # the lock is taken in one message with the transaction's beginning
        database.Database,
        "_begin",
        lambda _, *first: reached("sql take_lock") if database.named_sql("take_lock") in first else None,
    )
    announce(database.Database, "table", lambda _, name, *__: reached(f"sql {name}"))
    announce(database.Database, "stream", lambda _, name, *__: reached(f"sql {name}"))
    announce(database.Database, "execute", lambda _, name, *__: reached(f"sql {name}"))
    announce(database.Database, "ingest", lambda _, table, *__: reached(f"ingest {table}"))
    committing = database.Database.commit

    def commit(self: Any, **options: Any) -> None:
        if not options:
            committing(self)
            return
        reached("commit")
        committing(self, **options)
        reached("committed")

    database.Database.commit = commit
    load: Any = importlib.import_module("fleetfuel.table.load")
    staging = load._stage_batches

    def batches(*arguments: Any) -> Iterator[Any]:
        for batch in staging(*arguments):
            reached("batch")
            yield batch

    load._stage_batches = batches


def exchange_statements(texts: dict[str, str]) -> None:
    """In every module that holds `named_sql`: one that kept the shipped statements would try nothing."""
    statements: Any = importlib.import_module("fleetfuel.table.statements")
    shipped = statements.named_sql
    assert all(shipped(name) for name in texts)

    def exchanged(name: str) -> str:
        return texts[name] if name in texts else str(shipped(name))

    for module in [each for name, each in sys.modules.items() if name.startswith("fleetfuel.")]:
        if vars(module).get("named_sql") is shipped:
            vars(module)["named_sql"] = exchanged


def replace(holder: Any, name: str, value: Any) -> None:
    getattr(holder, name)  # a name that the program no longer has would change nothing, and a trial would try nothing
    setattr(holder, name, value)


def announce(holder: Any, name: str, reached: Callable[..., None]) -> None:
    function = getattr(holder, name)

    @functools.wraps(function)
    def announced(*arguments: Any, **options: Any) -> Any:
        reached(*arguments)
        return function(*arguments, **options)

    setattr(holder, name, announced)


if __name__ == "__main__":
    serve()
