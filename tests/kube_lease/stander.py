"""A process that stands for election and writes, a few hundred times a second, whether it leads.

Each line is a moment of the machine's monotonic clock, which all processes share, read before the look; 1 or 0; and the
term. A thread of its own looks, so that what it sees does not depend on the event loop having had a turn.

Usage: python -m tests.kube_lease.stander KUBECONFIG NAMESPACE IDENTITY. Ends, and releases, at SIGTERM.
"""

import asyncio
import sys
import threading
import time
from pathlib import Path

from signer.kube.connect import connect
from signer.kube.lease import Elector, LeaseSettings
from signer.runtime.clock import SystemClock
from signer.runtime.supervise import stop_on_signals

LOOK_SECONDS = 0.003


def settings(namespace: str, identity: str) -> LeaseSettings:
    """As short as the API has it."""
    return LeaseSettings(namespace=namespace, identity=identity, duration=3.0, renew=1.0, retry=0.3)


def look(elector: Elector, end: threading.Event) -> None:
    """Write until the end."""
    while not end.wait(LOOK_SECONDS):
        moment = time.monotonic()
        sys.stdout.write(f"{moment!r} {elector.leads:d} {elector.term}\n")
        sys.stdout.flush()


async def main(kubeconfig: str, namespace: str, identity: str) -> None:
    """Stand until told to end."""
    stop, end = asyncio.Event(), threading.Event()
    stop_on_signals(stop)
    api = await connect(Path(kubeconfig))
    elector = Elector(api, settings(namespace, identity), SystemClock())
    looking = threading.Thread(target=look, args=(elector, end))
    looking.start()
    running = asyncio.create_task(elector.run())
    await stop.wait()
    running.cancel()
    await asyncio.wait([running])
    await elector.close()
    end.set()
    looking.join()
    await api.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
