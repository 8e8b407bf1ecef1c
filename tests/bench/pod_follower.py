"""Follows the pods of an API server with the signer's own watch, alone in its process: memory, time, stalls."""

import asyncio
import gc
import json
import os
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

import uvloop

from signer.kube.connect import connect
from signer.kube.pods import Pods
from signer.runtime.supervise import settle

TICK = 0.001
STEADY = 3.0
# Two lists within ten seconds look like a server in trouble, and the second waits.
BETWEEN = 10.5
LIMIT = 180.0


class Ticker:
    """Wakes every millisecond; what it oversleeps, everybody on the loop has waited for."""

    def __init__(self) -> None:
        self.worst = 0.0

    async def run(self) -> None:
        """Until cancelled."""
        last = time.perf_counter()
        while True:
            await asyncio.sleep(TICK)
            now = time.perf_counter()
            self.worst = max(self.worst, now - last - TICK)
            last = now

    def take(self) -> float:
        """The longest stall since the last call, ms."""
        worst, self.worst = self.worst, 0.0
        return worst * 1000


def memory(pid: int, line: str = "VmRSS") -> float:
    """Of a process, MB; ``VmHWM`` is the most since ``forget_peak``."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(next(text.split()[1] for text in status.splitlines() if text.startswith(line))) * 1024 / 1e6


def forget_peak(pid: int) -> None:
    """Have ``VmHWM`` begin anew (proc(5), clear_refs)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")


def end_watches(server: str) -> None:
    """Have an API server answer 410 to every watch under way."""
    with urllib.request.urlopen(urllib.request.Request(f"{server}/bench/gone", method="POST"), timeout=10):
        pass


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(TICK)


async def _relist(pods: Pods, server: str, ticker: Ticker) -> tuple[float, float]:
    """Seconds from the server's word to the new list in use, and the longest stall meanwhile."""
    before, begun = pods._known, time.perf_counter()
    ticker.take()
    await asyncio.to_thread(end_watches, server)
    await _until(lambda: pods._known is not before)
    seconds = time.perf_counter() - begun
    await asyncio.sleep(5 * TICK)
    return seconds, ticker.take()


async def measure(kubeconfig: Path, server: str, relists: int) -> dict[str, Any]:
    """Follow, list again some times, and tell what it cost."""
    api, ticker, me = await connect(kubeconfig), Ticker(), os.getpid()
    await api.call("GET", "/openid/v1/jwks", 5.0)
    pods = Pods(api)
    settle()
    bare = memory(me)
    forget_peak(me)
    tasks = [asyncio.create_task(ticker.run()), asyncio.create_task(pods.watch.run())]
    begun = time.perf_counter()
    await _until(lambda: pods.synced)
    first, first_peak = time.perf_counter() - begun, memory(me, "VmHWM")
    settle()
    await asyncio.sleep(5 * TICK)
    ticker.take()
    await asyncio.sleep(STEADY)
    results: dict[str, Any] = {"pods": len(pods), "first_list_s": first, "steady_mb": memory(me) - bare}
    results |= {"first_peak_mb": first_peak - bare, "steady_stall_ms": ticker.take()}
    again = []
    for _ in range(relists):
        await asyncio.sleep(BETWEEN)
        forget_peak(me)
        again.append((*await _relist(pods, server, ticker), memory(me, "VmHWM") - bare))
    gc.collect()
    results |= {"relist_s": median(a[0] for a in again), "relist_stall_ms": max(a[1] for a in again)}
    results |= {"relist_peak_mb": max(a[2] for a in again), "after_mb": memory(me) - bare}
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    await api.close()
    return {name: round(value, 2) for name, value in results.items()}


def main() -> None:
    """Take KUBECONFIG SERVER RELISTS from the command line; print JSON."""
    kubeconfig, server, relists = sys.argv[1:4]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(measure(Path(kubeconfig), server, int(relists)))))


if __name__ == "__main__":
    main()
