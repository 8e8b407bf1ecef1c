"""Kept connections: replaced without harm to whoever uses the old ones, and opened from files that may hang."""

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator

import aiohttp
import pytest

from backends.vault import pool as pools
from backends.vault.http import VaultHttp
from backends.vault.pool import Pool
from backends.vault.settings import VaultSettings
from backends.vault.tls import tls_context
from signer.core.errors import BackendUnavailable
from signer.core.types import Secret
from tests.support.waiting import settle

SETTINGS = VaultSettings("http://127.0.0.1:1", "pki/sign/istio-ca")


@pytest.fixture
async def pool(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pool]:
    """One that may be renewed at any time."""
    monkeypatch.setattr(pools, "REOPEN_SECONDS", 0.0)
    made = Pool(SETTINGS)
    yield made
    await made.close()


async def lent(pool: Pool) -> aiohttp.ClientSession:
    """Borrow and give back."""
    async with pool.lent() as session:
        return session


async def test_what_is_in_use_is_closed_by_its_last_user_only(pool: Pool) -> None:
    """One certificate that is not trusted must not end every signature under way."""
    async with pool.lent() as first:
        async with pool.lent() as same:
            await pool.renew()
            other = await lent(pool)
            assert (first is same, first is other) == (True, False)
        closed = [first.closed]
    assert [*closed, first.closed, other.closed] == [False, True, False]


async def test_what_nobody_uses_is_closed_at_once(pool: Pool) -> None:
    first = await lent(pool)
    await pool.renew()
    assert first.closed


async def test_it_is_renewed_once_in_a_while(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "REOPEN_SECONDS", 60.0)
    first = await lent(pool)
    await pool.renew()
    assert await lent(pool) is first


async def test_a_fault_of_tls_ends_no_request_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "REOPEN_SECONDS", 0.0)
    asked, go = asyncio.Event(), asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await go.wait()
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await writer.drain()
        writer.close()

    def untrusted(self: VaultHttp, path: str, token: Secret | None) -> dict[str, str]:
        raise ssl.SSLCertVerificationError("not trusted")

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        http = VaultHttp(VaultSettings(f"http://127.0.0.1:{port}", "pki/sign/istio-ca"))
        under_way = asyncio.create_task(http.fetch("GET", "slow", 30.0))
        await asked.wait()
        with monkeypatch.context() as broken:
            broken.setattr(VaultHttp, "_headers", untrusted)
            with pytest.raises(BackendUnavailable, match="not trusted"):
                await http.fetch("GET", "other", 30.0)
        go.set()
        assert await under_way == (204, b"")
        await http.close()


async def test_all_who_come_at_once_share_one_opening(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[ssl.SSLContext] = []
    real = tls_context
    monkeypatch.setattr(pools, "tls_context", lambda settings: made.append(real(settings)) or made[-1])  # type: ignore[func-returns-value]
    sessions = await asyncio.gather(*(lent(pool) for _ in range(20)))
    assert (len(made), len(set(sessions))) == (1, 1)


async def test_files_that_hang_hold_one_thread_and_not_the_pool_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """The event loop's own threads are few, and joined when the process ends."""
    monkeypatch.setattr(pools, "FILES_SECONDS", 0.02)
    free, threads = threading.Event(), []

    def hang(_: VaultSettings) -> ssl.SSLContext:
        threads.append(threading.current_thread())
        free.wait(10)
        return ssl.create_default_context()

    monkeypatch.setattr(pools, "tls_context", hang)
    pool = Pool(SETTINGS)
    for _ in range(3):
        with pytest.raises(BackendUnavailable, match=r"ca_file or client certificate: .*no end"):
            await lent(pool)
    assert [thread.name for thread in threads] == ["patient"]
    free.set()
    await pool.close()


async def test_closed_while_it_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits is told, and is not taken for cancelled."""
    free = threading.Event()
    monkeypatch.setattr(pools, "tls_context", lambda _: free.wait(10))
    pool = Pool(SETTINGS)
    waiting = asyncio.create_task(lent(pool))
    await settle()
    await pool.close()
    for asked in (waiting, lent(pool)):
        with pytest.raises(BackendUnavailable, match="the backend is closed"):
            await asked
    free.set()


async def test_an_asker_who_goes_away_leaves_the_opening_to_others(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    free, real = threading.Event(), tls_context
    monkeypatch.setattr(pools, "tls_context", lambda settings: free.wait(10) and real(settings))
    first, second = (asyncio.create_task(lent(pool)) for _ in range(2))
    await settle()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    free.set()
    assert not (await second).closed
