"""What a Kubernetes Service does to connections: new ones go to a ready replica, old ones stay where they are."""

import http.client
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from tests.e2e.process import SignerProcess

CHUNK = 65536
JOIN_S = 10.0


class Balancer:
    """A context manager: a TCP address in front of several signers. `served` counts new connections by signer."""

    def __init__(self, signers: Sequence[SignerProcess]) -> None:
        self._signers = list(signers)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.served = [0] * len(self._signers)

    @property
    def grpc(self) -> str:
        """`host:port` for clients."""
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._spawn(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A plain close would leave the thread in accept().
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._open:
            _cut(each)
        for thread in self._threads:
            thread.join(JOIN_S)
        for each in self._open:
            each.close()

    def replace(self, before: SignerProcess, after: SignerProcess) -> None:
        """Another process stands in one's place."""
        self._signers[self._signers.index(before)] = after

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(client)
            self._connect(client)

    def _connect(self, client: socket.socket) -> None:
        """Join a client to the ready signer with the fewest connections; without one it is turned away."""
        ready = [i for i, signer in enumerate(self._signers) if _is_ready(signer)]
        if not ready:
            _cut(client)
            return
        chosen = min(ready, key=lambda i: self.served[i])
        self.served[chosen] += 1
        host, port = self._signers[chosen].grpc.split(":")
        try:
            server = socket.create_connection((host, int(port)), 10)
        except OSError:
            _cut(client)
            return
        server.settimeout(None)
        self._open.append(server)
        self._spawn(_pump, client, server)
        self._spawn(_pump, server, client)

    def _spawn(self, work: object, *arguments: socket.socket) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
        thread.start()
        self._threads.append(thread)


def _is_ready(signer: SignerProcess) -> bool:
    try:
        return signer.running and signer.admin("/readyz").status == 200
    except (OSError, http.client.HTTPException):
        return False


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Copy until either end closes, then pass that on."""
    with suppress(OSError):
        while data := source.recv(CHUNK):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def _cut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
