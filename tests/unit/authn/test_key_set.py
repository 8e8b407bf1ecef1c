"""An issuer's keys: how often they are fetched, who waits for that, and what is said where they cannot be had."""

import asyncio
import json
import logging
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from signer.authn.key_set import COOLDOWN, MAX_WAITING, KeySet
from signer.core.errors import AuthenticationUnavailable
from signer.kube.answer import ApiUnavailable
from tests.support.clock import FakeClock
from tests.support.fakes import Switch
from tests.support.waiting import give_up, settle

PUBLISHED = json.loads(RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 2048).public_key()))


def _doc(*kids: str) -> dict[str, Any]:
    return {"keys": [{**PUBLISHED, "kid": kid} for kid in kids]}


class Source:
    """Publishes what it is told."""

    def __init__(self, document: object) -> None:
        self.document, self.switch, self.clock = document, Switch(), FakeClock()
        self.keys = KeySet("cluster east", self.fetch, self.clock)

    async def fetch(self) -> object:
        """Give it."""
        await self.switch.passing()
        return self.document

    async def knows(self, kid: str) -> bool:
        """Whether the set does."""
        return await self.keys.key(kid) is not None


async def test_a_flood_of_unknown_ids_is_one_fetch() -> None:
    """And few wait for it: the others would take up the places of those whose keys are known."""
    source = Source(_doc("a"))
    flood = [source.keys.key(f"junk-{number}") for number in range(1000)]
    found = await asyncio.gather(*flood, return_exceptions=True)
    assert found[:MAX_WAITING] == [None] * MAX_WAITING
    assert all(isinstance(late, AuthenticationUnavailable) for late in found[MAX_WAITING:])
    assert source.switch.calls == 1
    source.clock.advance(COOLDOWN - 1)
    assert not await source.knows("more")
    assert source.switch.calls == 1
    source.clock.advance(1)
    assert not await source.knows("more")
    assert source.switch.calls == 2


async def test_known_ones_cost_nothing_and_new_ones_are_found() -> None:
    source = Source(_doc("a"))
    assert await source.knows("a")
    assert await source.knows("a")
    assert source.switch.calls == 1
    source.document = _doc("b")
    source.clock.advance(61)
    assert await source.knows("b")
    assert not await source.knows("a")


async def test_age_is_seen_to_in_the_background() -> None:
    """Nobody waits, and a key that was withdrawn goes."""
    source = Source(_doc("a"))
    assert await source.knows("a")
    source.clock.advance(3600)
    source.document, source.switch.held = _doc("b"), True
    assert await source.knows("a")
    await settle()
    assert source.switch.calls == 2
    source.switch.opened.set()
    await settle()
    assert not await source.knows("a")
    assert await source.knows("b")


@pytest.mark.parametrize("fault", [ApiUnavailable("down"), OSError("bug")])
async def test_trouble_is_unavailable_with_pauses_that_double(fault: Exception) -> None:
    source = Source(_doc("a"))
    source.switch.fault = fault
    for calls, pause in enumerate((1, 2, 4, 8, 10, 10), 1):
        for _ in range(2):
            with pytest.raises(AuthenticationUnavailable):
                await source.keys.key("a")
        source.clock.advance(pause - 0.5)
        with pytest.raises(AuthenticationUnavailable):
            await source.keys.key("a")
        assert source.switch.calls == calls, "too early"
        source.clock.advance(0.5)
    source.switch.fault = None
    assert await source.knows("a")
    source.switch.fault = fault
    source.clock.advance(COOLDOWN)
    for _ in range(2):
        with pytest.raises(AuthenticationUnavailable):
            await source.keys.key("b")
        source.clock.advance(1)
    assert source.switch.calls == 9, "after a good one the first pause is short again"


async def test_trouble_with_keys_known() -> None:
    """Known ones stay good; of an unknown one nobody knows."""
    source = Source(_doc("a"))
    assert await source.knows("a")
    source.clock.advance(3600)
    source.switch.fault = ApiUnavailable("down")
    assert await source.knows("a")
    with pytest.raises(AuthenticationUnavailable, match="down"):
        await source.keys.key("b")
    assert await source.knows("a")
    source.switch.fault = None
    source.clock.advance(1)
    assert not await source.knows("b")


@pytest.mark.parametrize("document", [{"keys": []}, {"keys": [{"kty": "oct", "k": "cw", "kid": "a"}]}, "text", {}])
async def test_no_usable_key_is_no_verdict(document: object) -> None:
    source = Source(document)
    with pytest.raises(AuthenticationUnavailable):
        await source.keys.key("a")
    source.document = _doc("a")
    source.clock.advance(1)
    assert await source.knows("a")


async def test_the_first_asker_may_leave() -> None:
    source = Source(_doc("a"))
    source.switch.held = True
    first, second = (asyncio.create_task(source.knows("a")) for _ in range(2))
    await source.switch.entered.wait()
    await give_up(first)
    source.switch.opened.set()
    assert await second
    assert source.switch.calls == 1
    await source.keys.close()


async def test_closing_ends_a_fetch() -> None:
    """Whoever waits is told to come back: it was not its own end."""
    source = Source(_doc("a"))
    await source.keys.close()
    source.switch.held = True
    asker = asyncio.create_task(source.knows("a"))
    await source.switch.entered.wait()
    await source.keys.close()
    with pytest.raises(AuthenticationUnavailable, match="closed"):
        await asker


async def test_a_fault_is_told_once_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    """By whose keys they are, what it means, and what is the case now."""
    caplog.set_level(logging.INFO, "istio_signer.authn.keys")
    source = Source(_doc("a"))
    assert source.keys.fault == ""
    source.switch.fault = ApiUnavailable("HTTP 503")
    for _ in range(3):
        with pytest.raises(AuthenticationUnavailable):
            await source.keys.key("a")
        source.clock.advance(COOLDOWN)
    assert source.keys.fault == "keys of cluster east: HTTP 503; no token of this issuer can be judged"
    source.switch.fault = None
    assert await source.knows("a")
    assert source.keys.fault == ""
    source.switch.fault = ApiUnavailable("HTTP 500")
    source.clock.advance(COOLDOWN)
    with pytest.raises(AuthenticationUnavailable):
        await source.keys.key("b")
    assert source.keys.fault == "keys of cluster east: HTTP 500; those known are believed on"
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "the keys of cluster east could not be fetched",
        "the keys of cluster east were fetched again",
        "the keys of cluster east could not be fetched",
    ]
