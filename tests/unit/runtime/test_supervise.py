"""Root services: whatever ends one of them is noticed."""

import asyncio

import pytest

from signer.runtime.supervise import ServiceEnded, supervise


async def _end() -> None:
    """Return."""


async def _fail() -> None:
    raise KeyError("x")


async def _taken() -> None:
    """End by a cancellation that was meant for something else, as a library may pass it on."""
    other = asyncio.create_task(asyncio.sleep(60))
    await asyncio.sleep(0)
    other.cancel()
    await other


@pytest.mark.parametrize(("service", "kind"), [(_end, ServiceEnded), (_fail, KeyError), (_taken, ServiceEnded)])
async def test_a_service_that_ends(service: object, kind: type[Exception]) -> None:
    """Others are cancelled, and so is the main work."""
    assert callable(service)
    cancelled = asyncio.Event()

    async def other() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    with pytest.raises(ExceptionGroup) as caught:
        await asyncio.wait_for(supervise({"one": service(), "two": other()}, asyncio.sleep(60)), 5.0)
    assert [type(error) for error in caught.value.exceptions] == [kind]
    assert cancelled.is_set()


async def test_the_main_work_ends_all() -> None:
    await asyncio.wait_for(supervise({"one": asyncio.sleep(60)}, asyncio.sleep(0)), 5.0)
