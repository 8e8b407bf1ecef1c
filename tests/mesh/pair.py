"""A client Envoy and a server Envoy with mutual TLS between them."""

from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from tests.mesh import bootstrap
from tests.mesh.credential import Credential, Party
from tests.mesh.envoy import Envoy
from tests.mesh.load import ConstantLoad
from tests.mesh.sds import ROOTS, TLS, SecretFolder
from tests.mesh.web import Reply, fetch

Side = Literal["client", "server"]

ROTATE_S = 20.0

_READ = "(success|rejected|failure)"
_REFUSED = "(rejected|failure)"


class MeshPair:
    """A context manager: inside it both Envoys run, and get goes through the client to the server."""

    def __init__(self, client: Party, server: Party, folder: Path) -> None:
        self._parties: dict[Side, Party] = {"client": client, "server": server}
        self._folder = folder
        self._secrets: dict[Side, SecretFolder] = {}
        self._envoys: dict[Side, Envoy] = {}
        self._port = 0
        self._running = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as starting:
            server_port = self._start(starting, "server", 0)
            self._port = self._start(starting, "client", server_port)
            self._running = starting.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.close()

    def _start(self, stack: ExitStack, side: Side, server_port: int) -> int:
        """Start one side and give the port of its listener."""
        party = self._parties[side]
        folder = self._folder / side
        folder.mkdir(parents=True)
        secrets = self._secrets[side] = SecretFolder(folder / "secrets", party.credential)
        if side == "server":
            config = bootstrap.server(secrets, party.accepts)
        else:
            config = bootstrap.client(secrets, party.accepts, server_port)
        envoy = self._envoys[side] = stack.enter_context(Envoy(config, folder))
        return envoy.listener_port()

    def get(self, path: str = "/") -> Reply:
        """Send one request through both; a TLS failure between them comes back as the client Envoy's 503.

        The reply's headers tell what was verified: `x-client-id`, `x-client-serial` (hexadecimal), `x-client-xfcc`
        and `x-tls-version` by the server, `x-server-id` by the client.

        Raises:
            OSError: the client Envoy itself did not answer.
        """
        return fetch(self._port, path, timeout=2.0 * bootstrap.REQUEST_TIMEOUT_S)

    def identities(self) -> tuple[str, str]:
        """Give the SPIFFE IDs that (the server, the client) should see of its peer when all is well."""
        return self._parties["client"].spiffe_id, self._parties["server"].spiffe_id

    def pids(self) -> list[int]:
        """Give the process ids of the Envoys that run."""
        return [envoy.pid for envoy in self._envoys.values()]

    def constant_load(self, rate: float = 50.0, seconds: float = 60.0) -> ConstantLoad:
        """Give a context manager that keeps sending requests, `rate` a second, for at most so many seconds."""
        return ConstantLoad(self.get, rate, seconds)

    def rotate(self, side: Side, credential: Credential, seconds: float = ROTATE_S) -> None:
        """Swap one side's secrets, and return when Envoy uses them for new connections.

        Raises:
            EnvoyError: Envoy refused a secret (it then keeps the old one), or the seconds have passed.
        """
        envoy = self._envoys[side]
        read, refused = _updates(envoy, _READ), _updates(envoy, _REFUSED)
        self._secrets[side].write(credential)
        envoy.until(lambda: _both_above(read, _updates(envoy, _READ)), "reading both new secrets", seconds)
        if _updates(envoy, _REFUSED) != refused:
            raise envoy.error("refused the new secrets")
        envoy.until(lambda: credential.serial in envoy.leaf_serials(), "the new serial in /certs", seconds)

    def tls_failures(self, side: Side) -> dict[str, int]:
        """Give the handshake failures that one side has counted, such as `fail_verify_san`; none that are zero."""
        stats = self._envoys[side].counters(r"\.ssl\.(fail_|connection_error)")
        return {name.rpartition(".")[2]: count for name, count in stats.items() if count}


def _updates(envoy: Envoy, verdict: str) -> Counter[str]:
    """Count by secret how many updates ended with the verdict, a regular expression."""
    counts: Counter[str] = Counter()
    for name, count in envoy.counters(rf"^sds\.[a-z]+\.update_{verdict}$").items():
        counts[name.split(".")[1]] += count
    return counts


def _both_above(before: Counter[str], now: Counter[str]) -> bool:
    return all(now[name] > before[name] for name in (TLS, ROOTS))
