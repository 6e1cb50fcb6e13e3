"""What tests do to an embedded PostgreSQL and a demo never does: end it in three ways, and start it again."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal

import psutil

from fleetfuel.sandbox.postgres import PostgresServer
from fleetfuel.sandbox.process import alive, wait_until


def stop(server: PostgresServer, how: signal.Signals = signal.SIGINT) -> None:
    """Stop as `pg_ctl stop` does: SIGINT ends with a checkpoint, SIGQUIT leaves recovery to the next start."""
    if alive(server.pid):
        os.kill(server.pid, how)
    assert wait_until(lambda: not alive(server.pid))  # its guard reaps it


def kill(server: PostgresServer) -> None:
    """SIGKILL the server and every backend of it at once."""
    memory = (server.data / "cluster/postmaster.pid").read_text().splitlines()[6]
    process = psutil.Process(server.pid)
    process.suspend()  # it starts no new children while these are counted
    for each in (*process.children(), process):
        each.kill()
    assert wait_until(lambda: not alive(server.pid))
    with contextlib.suppress(IndexError):  # the kernel keeps a killed server's shared memory segment
        ctypes.CDLL(None).shmctl(int(memory.split()[1]), 0, None)  # IPC_RMID


def restart(server: PostgresServer) -> None:
    """Start again on the same port and data, whether the server still runs, was stopped or was killed."""
    stop(server)
    server._start(server.port)
