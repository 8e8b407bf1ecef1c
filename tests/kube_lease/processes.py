"""Processes that stand for election: started, frozen, woken and killed; what they wrote, as moments."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.cluster.poll import until
from tests.e2e.command import ROOT

START_LIMIT = 30.0
STOP_LIMIT = 15.0


@dataclass(frozen=True, slots=True)
class Look:
    """One line: at ``moment`` (seconds, monotonic, the machine's) it said whether it leads."""

    moment: float
    leads: bool
    term: int


class Stander:
    """A context manager: inside it one stands for election, as the account of ``kubeconfig``."""

    def __init__(self, folder: Path, kubeconfig: Path, namespace: str, identity: str) -> None:
        self._output = folder / f"{identity}.looks"
        self._log = folder / f"{identity}.log"
        self._arguments = [str(kubeconfig), namespace, identity]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.kube_lease.stander", *self._arguments]
        with self._output.open("wb") as output, self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=output, stderr=log, cwd=ROOT)
        until(self.looks, deadline=START_LIMIT, what=f"{self._arguments[-1]} to look")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        """The process, which runs."""
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        return self._process

    def looks(self, since: float = 0.0) -> list[Look]:
        """What it wrote about moments after ``since``; a line that is not whole yet is left out."""
        lines = self._output.read_text().split("\n")[:-1]
        looks = [Look(float(moment), leads == "1", int(term)) for moment, leads, term in map(str.split, lines)]
        return [look for look in looks if look.moment > since]

    def led(self, since: float = 0.0) -> list[Look]:
        """The moments at which it led."""
        return [look for look in self.looks(since) if look.leads]

    def leads(self, deadline: float) -> float:
        """Wait until it leads, and give the moment from which it does."""
        begun = time.monotonic()
        return until(lambda: self.led(begun), deadline=deadline, what=f"{self._arguments[-1]} to lead")[0].moment

    def freeze(self) -> float:
        """Stop it in mid-air; the moment from which it stands still."""
        process = self.process
        process.send_signal(signal.SIGSTOP)
        flags = os.WSTOPPED | os.WEXITED | os.WNOHANG | os.WNOWAIT
        until(lambda: os.waitid(os.P_PID, process.pid, flags), deadline=STOP_LIMIT, what="it to freeze")
        return time.monotonic()

    def thaw(self) -> float:
        """Let it go on; the moment before that."""
        moment = time.monotonic()
        self.process.send_signal(signal.SIGCONT)
        return moment

    def stop(self) -> float:
        """Have it release and end; the moment at which it had."""
        process = self.process
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOP_LIMIT) == 0, self._log.read_text()
        return time.monotonic()

    def kill(self) -> float:
        """End it without a release; the moment at which it had."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(STOP_LIMIT)
        return time.monotonic()


def overlaps(first: list[Look], second: list[Look]) -> list[tuple[Look, Look]]:
    """Where a process led between two moments at which the other one did, in the same term of that one.

    Stricter than equal moments: what lies between two looks of one term is taken for led.
    """
    return [*_within(first, second), *_within(second, first)]


def _within(inner: list[Look], outer: list[Look]) -> list[tuple[Look, Look]]:
    spans: dict[int, tuple[Look, Look]] = {}
    for look in outer:
        if look.leads:
            spans[look.term] = (spans.get(look.term, (look, look))[0], look)
    return [
        (look, begin)
        for look in inner
        if look.leads
        for begin, end in spans.values()
        if begin.moment <= look.moment <= end.moment
    ]
