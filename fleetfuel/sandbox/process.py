"""Processes of our own that never outlive us: the guard, the user they run as, the ports they listen on.

The guard is a small Python process with the read end of a pipe whose only write end is ours. However this program ends,
`kill -9` included, the pipe closes; the guard then stops the server and removes its scratch folder. If the guard itself
is killed, the kernel stops the server (on Linux, by its parent-death signal), and the next guard removes the folder.
"""

import contextlib
import ctypes
import json
import os
import pwd
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Self, TypeAlias

from fleetfuel.errors import EmbeddedUnavailable
from fleetfuel.sandbox.scratch import clear, make_scratch, note_litter

HOST = "127.0.0.1"

PATIENCE = 60.0
"""Seconds a server may take to start, or to stop before it is killed."""

Owner: TypeAlias = tuple[int, int] | None
"""The user and group that guard, server and files belong to; None is our own."""

_GUARD = "import sys; sys.path.insert(0, sys.argv[1]); from fleetfuel.sandbox.process import guard; guard()"


@contextlib.contextmanager
def refusals() -> Iterator[None]:
    """Raise EmbeddedUnavailable for a folder that cannot be made or entered, or a program that cannot be run."""
    try:
        yield
    except OSError as error:
        raise EmbeddedUnavailable(reason=str(error)) from error


class Guard:
    """Our side of the guard: a scratch folder and at most one server at a time; both are gone when the `with` ends."""

    @refusals()
    def __init__(self, name: str, data: Path | None) -> None:
        """`data` is the folder to keep, made if it does not exist; `home` is that, or the scratch folder."""
        self.owner = _claim(data)
        package_root = str(Path(__file__).parents[2])
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _GUARD, package_root, name, json.dumps(self.owner)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            cwd="/", start_new_session=True,
        )  # fmt: skip
        self.scratch = Path(self._answer())
        self._litter: set[str] = set()
        self.home = data.resolve() if data else self.scratch

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        assert self._process.stdout
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        clear(self.scratch, self._litter)  # in case the guard was killed

    def run(self, argv: Sequence[str | Path]) -> None:
        """Run a command to its end; raises EmbeddedUnavailable with what it printed if it fails."""
        log = self.scratch / "command.log"
        if code := self._ask(argv=argv, log=log, wait=True):
            raise EmbeddedUnavailable(reason=f"{Path(argv[0]).name} ended with {code}.\n{tail(log)}")

    def start(self, argv: Sequence[str | Path], log: Path, stop: signal.Signals, litter: Sequence[str] = ()) -> int:
        """Start the server and return its pid; at the end `stop` ends it, and the files named in `litter` go too."""
        self._litter.update(litter)
        return self._ask(argv=argv, log=log, stop=stop, litter=litter)

    def give(self, path: Path) -> None:
        """Make a file, or a folder with all that is in it, the owner's."""
        for each in (path, *path.rglob("*")) if self.owner else ():
            shutil.chown(each, *self.owner or ())

    def _ask(self, **request: Any) -> int:
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):  # the answer says why
            self._process.stdin.write(json.dumps(request, default=str) + "\n")
            self._process.stdin.flush()
        return int(self._answer())

    def _answer(self) -> Any:
        assert self._process.stdout
        line = self._process.stdout.readline()
        try:
            answer = json.loads(line)
        except ValueError:  # a traceback, or nothing
            raise EmbeddedUnavailable(
                reason=f"its guard ended. {(line + self._process.stdout.read()).strip()}"
            ) from None
        if "error" in answer:
            raise EmbeddedUnavailable(reason=answer["error"])
        return answer["ok"]


def guard() -> None:
    """The guard's own side: serve requests until the pipe closes, then remove everything."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    name, owner = sys.argv[2], json.loads(sys.argv[3])
    if owner:
        os.setgroups([])
        os.setgid(owner[1])
        os.setuid(owner[0])
    scratch = make_scratch(name)
    server: subprocess.Popen[bytes] | None = None
    stop, litter = signal.SIGINT, set[str]()
    # A server that ends by itself is reaped at once: as a zombie it would keep its pid, and so its lock files, alive.
    signal.signal(signal.SIGCHLD, lambda *_: server and server.poll())  # the loop polls, too: a signal may be missed
    try:
        _reply(ok=str(scratch))
        for request in _requests():
            if server:
                server.poll()
            if not request:
                continue
            stop = signal.Signals(request.get("stop", signal.SIGINT))
            litter.update(request.get("litter", ()))
            note_litter(scratch, litter)
            try:
                child = _spawn(request["argv"], request["log"], scratch, stop)
            except (OSError, subprocess.SubprocessError) as error:
                _reply(error=str(error))
                continue
            if not request.get("wait"):
                server = child
                server.poll()
            _reply(ok=child.wait() if request.get("wait") else child.pid)
    finally:
        _end(server, stop)
        for _ in range(100):  # a killed server's children may write for a moment longer
            clear(scratch, litter)
            if not scratch.exists():
                break
            time.sleep(0.05)


def _end(server: subprocess.Popen[bytes] | None, how: int) -> None:
    """Signal the server and wait for its end. SIGKILL, which is also sent if it takes too long, ends its children,
    too."""
    if server is None or server.poll() is not None:
        return
    if how != signal.SIGKILL:
        server.send_signal(how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(PATIENCE)
            return
    server.send_signal(signal.SIGSTOP)  # it starts no new children while these are counted
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children")
    for child in children.read_text().split() if children.exists() else ():
        os.kill(int(child), signal.SIGKILL)
    server.kill()
    server.wait()


def _requests() -> Iterator[dict[str, Any]]:
    """What our parent asks for, and an empty request every second, while the parent lives: a fork of it may keep the
    pipe open."""
    parent, pending = os.getppid(), b""
    while os.getppid() == parent:
        if not select.select([0], [], [], 1.0)[0]:
            yield {}
        elif chunk := os.read(0, 65_536):
            *lines, pending = (pending + chunk).split(b"\n")
            yield from map(json.loads, lines)
        else:
            return


def _reply(**answer: Any) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def _spawn(argv: list[str], log: str, scratch: Path, stop: signal.Signals) -> subprocess.Popen[bytes]:
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC", "HOME": str(scratch), "TMPDIR": str(scratch)}
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    parent = os.getpid()

    def die_with_the_guard() -> None:
        if libc:
            libc.prctl(1, stop)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)

    with open(log, "ab") as output:
        return subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=scratch, env=environment,
            preexec_fn=die_with_the_guard,  # noqa: PLW1509  the guard has no threads
        )  # fmt: skip


def _claim(data: Path | None) -> Owner:
    """Make the folder to keep; returns who owns it and runs the server: as root, the folder's owner or an unprivileged
    user."""
    if data:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.geteuid() != 0:
        return None
    if data and (there := data.stat()).st_uid != 0:
        owner = there.st_uid, there.st_gid
    elif data and any(data.iterdir()):
        raise EmbeddedUnavailable(reason=f"{data} belongs to root and holds other files; name a new or an empty folder")
    else:
        owner = _unprivileged_user()
        if data:
            os.chown(data, *owner)
    if data and output_of(["/usr/bin/test", "-x", data.resolve()], owner) is None:
        raise EmbeddedUnavailable(
            reason=f"the server does not run as root but as {pwd.getpwuid(owner[0]).pw_name}, who cannot enter {data}"
        )
    return owner


def _unprivileged_user() -> tuple[int, int]:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            return user.pw_uid, user.pw_gid
    raise EmbeddedUnavailable(reason="the server does not run as root, and there is no user postgres or nobody")


def output_of(argv: Sequence[str | Path], owner: Owner) -> str | None:
    """What a program prints; None if `owner` cannot run it."""
    user: dict[str, Any] = {"user": owner[0], "group": owner[1], "extra_groups": []} if owner else {}
    try:
        done = subprocess.run(argv, check=False, capture_output=True, text=True, cwd="/", **user)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def write_secret(path: Path, text: str, owner: Owner) -> None:
    """Write a file that only its owner (and root) can read."""
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        if owner:
            os.fchown(file.fileno(), *owner)
        file.write(text)


def free_ports(count: int, twin: int = 0, but: Collection[int] = ()) -> list[int]:
    """Ports that nobody uses, nor those `twin` above them; below the range that the kernel uses for outgoing
    connections.

    None of `but` is among them.
    """
    with contextlib.ExitStack() as held:
        ports: list[int] = []
        for port in random.sample(range(10_240, 22_000), 1_000):
            if port in but:
                continue
            try:
                for each in {port, port + twin}:
                    held.enter_context(socket.socket()).bind((HOST, each))
            except OSError:
                continue
            ports.append(port)
            if len(ports) == count:
                return ports
    raise EmbeddedUnavailable(reason=f"no {count} free ports on {HOST}")


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(done: Callable[[], bool], seconds: float = PATIENCE) -> bool:
    """Whether `done` came true in time."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def tail(log: Path, begin: int = 0) -> str:
    """The last lines a process wrote after byte `begin`."""
    text = log.read_bytes()[begin:].decode(errors="replace") if log.exists() else ""
    return "\n".join(text.splitlines()[-8:]) or "It wrote nothing."
