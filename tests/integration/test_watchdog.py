"""systemd's watchdog, played by the test: signs of life come while every loop turns, and only then."""

import contextlib
import ctypes
import os
import signal
import socket
import time

import pytest
from harness import PATIENCE_S

PATIENCE_US = 400_000  # four looks a period: a sign every 100 ms
SILENCE_S = 1.0  # of ten such looks: nothing is on its way any more

PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 0x4206, 0x4207


class Systemd:
    """The end of $NOTIFY_SOCKET that listens."""

    def __init__(self, folder):
        self.path = os.path.join(folder, "notify.sock")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)

    def environment(self):
        return {"NOTIFY_SOCKET": self.path, "WATCHDOG_USEC": str(PATIENCE_US)}

    def receive(self, timeout):
        self.socket.settimeout(timeout)
        return self.socket.recv(4096).decode()

    def await_signs(self, count):
        deadline = time.monotonic() + PATIENCE_S
        while count:
            assert time.monotonic() < deadline, "no sign of life"
            with contextlib.suppress(TimeoutError):
                count -= self.receive(PATIENCE_S) == "WATCHDOG=1"

    def await_silence(self):
        """Until no sign came for SILENCE_S; it must come to that within PATIENCE_S."""
        deadline = time.monotonic() + PATIENCE_S
        heard = time.monotonic()
        while time.monotonic() - heard < SILENCE_S:
            assert time.monotonic() < deadline, "signs of life go on"
            with contextlib.suppress(TimeoutError):
                if self.receive(SILENCE_S) == "WATCHDOG=1":
                    heard = time.monotonic()


@pytest.fixture
def systemd(tmp_path):
    fake = Systemd(str(tmp_path))
    yield fake
    fake.socket.close()


@contextlib.contextmanager
def held(pid, thread_name):
    """Stops one thread of a process, as nothing but a tracer can."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long] * 2 + [ctypes.c_void_p] * 2
    libc.ptrace.restype = ctypes.c_long
    for tid in map(int, os.listdir(f"/proc/{pid}/task")):
        with open(f"/proc/{pid}/task/{tid}/comm", encoding="ascii") as file:
            if file.read().strip() == thread_name:
                break
    else:
        raise AssertionError(f"no thread {thread_name}")
    if libc.ptrace(PTRACE_SEIZE, tid, None, None) < 0:
        pytest.skip(f"no thread may be stopped here: {os.strerror(ctypes.get_errno())}")
    assert libc.ptrace(PTRACE_INTERRUPT, tid, None, None) == 0
    os.waitpid(tid, 0x40000000)  # __WALL: a thread is waited for like a child
    try:
        yield
    finally:
        libc.ptrace(PTRACE_DETACH, tid, None, None)


def test_signs_of_life_come_as_often_as_systemd_wants(start, nomad, systemd):
    start(nomad=nomad.address, env=systemd.environment())
    systemd.await_signs(10)


def test_without_a_watchdog_there_are_no_signs(start, nomad, systemd):
    start(nomad=nomad.address, env={"NOTIFY_SOCKET": systemd.path})
    assert "READY=1" in systemd.receive(PATIENCE_S)
    systemd.await_silence()


def test_a_watchdog_for_another_process_is_not_ours(start, nomad, systemd):
    daemon = start(nomad=nomad.address, env={**systemd.environment(), "WATCHDOG_PID": "1"})
    systemd.await_silence()
    assert daemon.is_alive()


def test_a_stopped_process_gives_no_sign(start, nomad, systemd):
    daemon = start(nomad=nomad.address, env=systemd.environment())
    systemd.await_signs(1)
    daemon.signal(signal.SIGSTOP)
    try:
        systemd.await_silence()
    finally:
        daemon.signal(signal.SIGCONT)
    systemd.await_signs(5)


def test_one_hanging_worker_silences_all(start, nomad, systemd):
    daemon = start("--workers=2", nomad=nomad.address, env=systemd.environment())
    systemd.await_signs(1)
    with held(daemon.process.pid, "dns-worker-1"):
        systemd.await_silence()
        assert daemon.admin("/ready")[0] == 200, "the main loop turns"
        assert "worker 1 hangs" in daemon.output()
    systemd.await_signs(5)
    assert "every worker answers again" in daemon.output()
