"""Constant calls from several clients while a test changes something under them."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from cryptography import x509

from tests.cluster.poll import until
from tests.server.calls import Call, Client, Reply

ENOUGH = 40
"""Calls without which a test of constant calls says nothing."""
SETTLE = 10.0
"""Seconds for threads to finish their last call."""


@dataclass
class Traffic:
    """What has come back so far."""

    replies: list[Reply] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, reply: Reply) -> None:
        """Keep one reply."""
        with self.lock:
            self.replies.append(reply)

    @property
    def failures(self) -> list[Reply]:
        """What went wrong."""
        return [reply for reply in self.replies if reply.code != "OK"]

    def issuers(self) -> set[bytes]:
        """The keys that signed the leaves, by their authority key identifiers or the issuers' names."""
        leaves = (x509.load_pem_x509_certificate(r.chain[0].encode()) for r in self.replies if r.chain)
        return {leaf.issuer.public_bytes() + _key_id(leaf) for leaf in leaves}

    def roots(self) -> set[str]:
        """The last elements seen."""
        return {reply.chain[-1] for reply in self.replies if reply.chain}


def _key_id(leaf: x509.Certificate) -> bytes:
    return leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier or b""


def _kept(traffic: Traffic, connect: Callable[[], Client], call: Callable[[], Call]) -> None:
    with connect() as client:
        while not traffic.stopping.is_set():
            traffic.note(client.send(call()))
            time.sleep(0.005)


def _fresh(traffic: Traffic, connect: Callable[[], Client], call: Callable[[], Call]) -> None:
    while not traffic.stopping.is_set():
        with connect() as client:
            traffic.note(client.send(call()))
        time.sleep(0.005)


@contextmanager
def traffic(connect: Callable[[], Client], call: Callable[[], Call]) -> Iterator[Traffic]:
    """Two clients that keep their connection and two that open one a call, until the end of the block.

    The block fails if any call did, or if there were hardly any.
    """
    flow = Traffic()
    threads = [
        threading.Thread(target=kind, args=(flow, connect, call), name=f"traffic-{i}")
        for i, kind in enumerate((_kept, _kept, _fresh, _fresh))
    ]
    for thread in threads:
        thread.start()
    try:
        yield flow
        until(lambda: len(flow.replies) >= ENOUGH, deadline=SETTLE, what="enough calls")
    finally:
        flow.stopping.set()
        for thread in threads:
            thread.join(SETTLE)
        assert not [thread for thread in threads if thread.is_alive()], "a call hangs"
    assert not flow.failures, (len(flow.failures), len(flow.replies), flow.failures[:3])
