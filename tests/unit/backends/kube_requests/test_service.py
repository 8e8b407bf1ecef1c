"""What runs behind the desk goes on, whatever becomes of its parts. The rest is in tests/kube_backends."""

import asyncio

import pytest

from backends.kube_requests import service
from backends.kube_requests.service import RequestService
from backends.kubernetes_csr.request import SigningRequests
from signer.kube.watch import Watch
from tests.support.fakes import context
from tests.unit.backends.kube_requests.fake_api import FakeApi

SECRET = "a text that may quote anything"


class Broken(Watch):
    """A watch with a bug, or one whose task somebody cancels."""

    begun = 0

    async def run(self) -> None:
        """Fail in two ways, then work."""
        Broken.begun += 1
        if Broken.begun == 1:
            raise RuntimeError(SECRET)
        if Broken.begun == 2:
            raise asyncio.CancelledError
        self.broken_since = None
        await asyncio.Event().wait()


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> RequestService:
    """A service before a server that knows nothing."""
    api = FakeApi()

    async def connect(*_: object) -> FakeApi:
        return api

    monkeypatch.setattr(service, "connect", connect)
    monkeypatch.setattr(service, "Watch", Broken)
    monkeypatch.setattr(service, "TICK", 0.01)
    monkeypatch.setattr(Broken, "begun", 0)
    monkeypatch.setattr(FakeApi, "close", lambda _: asyncio.sleep(0), raising=False)
    return RequestService(SigningRequests(False), None, None, context())


async def test_a_watch_that_has_ended_is_begun_anew(served: RequestService, caplog: pytest.LogCaptureFixture) -> None:
    """By a bug, or by a cancellation: without it every request would run into its deadline."""
    await served.start()
    work = asyncio.create_task(served.run())
    async with asyncio.timeout(5.0):
        while Broken.begun < 3:  # noqa: ASYNC110  nobody tells
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    served.probe()
    assert (Broken.begun, work.done(), served.desk is not None) == (3, False, True)
    assert served.desk is not None
    assert served.desk.watch is served._watch
    assert caplog.text.count("it is begun anew") == 2
    assert "RuntimeError" in caplog.text
    assert SECRET not in caplog.text
    await served.close()
    await asyncio.sleep(0.05)
    assert (Broken.begun, work.done()) == (3, False), "what is closed is not begun again"
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
