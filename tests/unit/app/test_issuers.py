"""The issuers of one cluster and the keys of each: given ones by their URLs, others learnt from the API server."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest

from signer.app import issuers as app_issuers
from signer.app.issuers import Issuers
from signer.app.one_cluster import ClusterParts, authenticator_of
from signer.config.clusters import Cluster
from signer.config.model import BackendSection, Config
from signer.core.errors import AuthenticationUnavailable
from signer.kube.answer import Answer, ApiUnavailable
from signer.kube.api import KubeApi
from signer.kube.oidc import ISSUER_PATH, JWKS_PATH
from signer.observe.health import Note
from tests.support.clock import FakeClock
from tests.support.virtual_time import run
from tests.support.waiting import give_up
from tests.unit.authn.test_offline import JWK

LOST = [Note(False, "issuer of cluster east: no connection")]
LOOK = 30.0
"""Seconds between two looks at the API server's issuer."""


class Api:
    """An API server: its issuer and its keys, or a fault."""

    def __init__(self) -> None:
        self.issuer = "https://one"
        self.fault: ApiUnavailable | None = None
        self.asked: list[tuple[float, str]] = []

    async def call(self, method: str, path: str, timeout: float, *, limit: int = 0) -> Answer:
        """Answer, and note when."""
        assert (method, timeout, limit > 0) == ("GET", 5.0, True)
        self.asked.append((asyncio.get_running_loop().time(), path))
        if self.fault is not None:
            raise self.fault
        return Answer(200, {"issuer": self.issuer} if path == ISSUER_PATH else {"keys": [JWK]})


class Remote:
    """Key sets at URLs; each has a key of its own."""

    made: list["Remote"]

    def __init__(self, url: str, timeout: float, ca_file: Path | None) -> None:
        self.given = (url, timeout, ca_file)
        self.fetched = self.closed = 0
        Remote.made.append(self)

    async def fetch(self) -> object:
        """Give it."""
        self.fetched += 1
        return {"keys": [{**JWK, "kid": self.given[0]}]}

    async def close(self) -> None:
        """Note it."""
        self.closed += 1


@pytest.fixture
def remotes(monkeypatch: pytest.MonkeyPatch) -> list[Remote]:
    Remote.made = []
    monkeypatch.setattr(app_issuers, "RemoteJwks", Remote)
    return Remote.made


def _issuers(api: Api, *given: dict[str, str]) -> Issuers:
    cluster = Cluster.model_validate({"id": "east", "tokens": "offline", "issuers": list(given)})
    return Issuers(cluster, cast(KubeApi, api), 5.0, FakeClock())


def learning(body: Callable[[Api, Issuers], Coroutine[Any, Any, None]]) -> None:
    """Play a scene while issuers are learnt, in time that passes at once."""

    async def main() -> None:
        api = Api()
        issuers = _issuers(api)
        task = asyncio.create_task(issuers.run())
        await body(api, issuers)
        assert not task.done()
        await give_up(task)
        await issuers.close()

    run(main)


async def test_given_issuers_have_the_keys_of_their_urls(remotes: list[Remote]) -> None:
    """Each its own, and nobody's beside: else one issuer could sign for another."""
    api, (a, b) = Api(), ("https://a/keys", "https://b/keys")
    issuers = _issuers(
        api,
        {"issuer": "A", "jwks_uri": a, "ca_file": "/ca"},
        {"issuer": "B", "jwks_uri": b},
        {"issuer": "own"},
    )
    assert [remote.given for remote in remotes] == [(a, 5.0, Path("/ca")), (b, 5.0, None)]
    for issuer, kid in (("A", a), ("B", b), ("own", "a")):
        for other in (a, b, "a"):
            found = await issuers.keys[issuer].key(other)
            assert (found is not None) == (other == kid), (issuer, other)
    assert [path for _, path in api.asked] == [JWKS_PATH]
    assert [remote.fetched for remote in remotes] == [1, 1]
    await issuers.close()
    assert [remote.closed for remote in remotes] == [1, 1]


async def test_keys_that_cannot_be_had_are_noted(remotes: list[Remote]) -> None:
    """Of every issuer by itself, and once where several share the API server's."""
    api = Api()
    api.fault = ApiUnavailable("HTTP 403")
    issuers = _issuers(api, {"issuer": "A", "jwks_uri": "https://a/keys"}, {"issuer": "own"}, {"issuer": "own, too"})
    assert issuers.notes() == []
    assert await issuers.keys["A"].key("?") is None
    with pytest.raises(AuthenticationUnavailable):
        await issuers.keys["own"].key("a")
    (note,) = issuers.notes()
    assert note == Note(False, "keys of cluster east: HTTP 403; no token of this issuer can be judged")
    await issuers.close()


async def test_given_issuers_are_known_at_once() -> None:
    issuers = _issuers(Api(), {"issuer": "own"})
    assert (issuers.known.is_set(), list(issuers.keys), issuers.notes()) == (True, ["own"], [])
    await issuers.close()


@pytest.mark.parametrize(("given", "learns"), [([], True), ([{"issuer": "own"}], False)])
async def test_who_was_given_issuers_never_learns(given: list[dict[str, str]], learns: bool) -> None:
    """Nothing that would is run: another issuer of the API server's is none that anybody named."""
    cluster = Cluster.model_validate({"id": "east", "tokens": "offline", "issuers": given})
    config = Config(backends={"local": BackendSection()}, clusters=[cluster])
    async with AsyncExitStack() as opened:
        parts = ClusterParts(config, FakeClock(), lambda _: None, lambda: False, opened)
        authenticator_of(cluster, cast(KubeApi, Api()), parts)
        assert ("issuer-east" in parts.services) == learns
        assert {"watch-pods-east", "watch-service-accounts-east"} <= set(parts.services)


def test_the_api_servers_own_is_learnt_and_looked_at_again() -> None:
    async def body(api: Api, issuers: Issuers) -> None:
        assert (dict(issuers.keys), issuers.known.is_set()) == ({}, False)
        await issuers.known.wait()
        assert list(issuers.keys) == ["https://one"]
        await asyncio.sleep(3 * LOOK + 1)
        assert [at - api.asked[0][0] for at, _ in api.asked] == [0.0, LOOK, 2 * LOOK, 3 * LOOK]
        assert {path for _, path in api.asked} == {ISSUER_PATH}
        assert list(issuers.keys) == ["https://one"]

    learning(body)


def test_up_to_four_are_kept() -> None:
    """Tokens of earlier ones are out for hours; the oldest goes, and the mapping is the same for ever."""

    async def body(api: Api, issuers: Issuers) -> None:
        keys = issuers.keys
        for number in range(6):
            api.issuer = f"https://{number}"
            await asyncio.sleep(LOOK)
        assert list(keys) == [f"https://{number}" for number in (2, 3, 4, 5)]
        assert len({id(each) for each in keys.values()}) == 1, "all have the API server's keys"
        assert issuers.keys is keys

    learning(body)


def test_learning_is_tried_again_with_pauses_that_grow(caplog: pytest.LogCaptureFixture) -> None:
    """The same fault is told once; what was learnt before stays."""

    async def body(api: Api, issuers: Issuers) -> None:
        api.fault = ApiUnavailable("no connection")
        await asyncio.sleep(60)
        assert (issuers.notes(), issuers.known.is_set()) == (LOST, False)
        times = [at for at, _ in api.asked]
        pauses = [later - earlier for earlier, later in pairwise(times)]
        assert 0.1 <= pauses[0] <= 0.2
        assert all(5.0 <= pause <= 10.0 for pause in pauses[6:])
        assert 10 <= len(times) <= 25
        api.fault = None
        await asyncio.sleep(11)
        assert (issuers.notes(), list(issuers.keys)) == ([], ["https://one"])
        seen, api.fault = len(api.asked), ApiUnavailable("no connection")
        await asyncio.sleep(LOOK + 1.0)
        assert (issuers.notes(), list(issuers.keys), issuers.known.is_set()) == (LOST, ["https://one"], True)
        (first, _), (second, _) = api.asked[seen : seen + 2]
        assert second - first <= 0.2, "the pauses start from the shortest again"

    with caplog.at_level(logging.INFO, "istio_signer.tokens"):
        learning(body)
    assert caplog.text.count("cluster east: its issuer cannot be learnt: no connection; it is tried again") == 2
    assert caplog.text.count("cluster east: tokens of issuer 'https://one' are judged offline") == 1
