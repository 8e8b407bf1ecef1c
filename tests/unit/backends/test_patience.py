"""Work on files that may hang: given up, never doubled, never in the way of the process's end."""

import asyncio
import os
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from backends.held.ca import UnusableCa
from backends.local import backend as local
from backends.local.backend import LocalBackend, LocalSettings
from backends.local.files import read_files
from backends.patience import Hanging, PatientThread
from signer.core.errors import BackendUnavailable
from tests.corpus.answers import asked, intermediate, root
from tests.support.ca_files import cacerts, mount, write
from tests.support.clock import FakeClock
from tests.support.fakes import context


async def test_result_and_error() -> None:
    """Handed over as they are."""
    thread = PatientThread(5)
    assert await thread.do(lambda: 7) == 7

    def fail() -> None:
        raise UnusableCa("why")

    with pytest.raises(UnusableCa, match="why"):
        await thread.do(fail)


async def test_hanging_is_told_and_not_doubled() -> None:
    """One stuck thread is enough; once it ends, work goes on."""
    thread, free = PatientThread(0.05), threading.Event()
    starts: list[None] = []

    def hang() -> None:
        starts.append(None)
        free.wait(10)

    for _ in range(3):
        with pytest.raises(Hanging):
            await thread.do(hang)
    assert len(starts) == 1
    free.set()
    while True:
        with suppress(Hanging):
            assert await thread.do(lambda: "again") == "again"
            break
        await asyncio.sleep(0.01)
    assert await thread.do(lambda: "again") == "again"


async def test_a_thread_that_cannot_start_is_told_and_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a limit on processes is reached; once it is not, work goes on."""
    thread = PatientThread(5)
    with monkeypatch.context() as limited:
        limited.setattr(threading.Thread, "start", no_thread)
        for _ in range(2):
            with pytest.raises(Hanging, match="no thread can be started"):
                await thread.do(lambda: 7)
    assert await thread.do(lambda: 7) == 7


def no_thread(_: threading.Thread) -> None:
    """Fail as the interpreter does."""
    raise RuntimeError("can't start new thread")


async def test_threads_do_not_hold_the_process() -> None:
    """They are daemons, and not of the loop's pool, which is joined at the end."""
    seen: list[bool] = []
    await PatientThread(5).do(lambda: seen.append(threading.current_thread().daemon))
    assert seen == [True]


async def test_a_backend_whose_files_hang_signs_on_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the CA that it has."""
    monkeypatch.setattr(local, "_READ_SECONDS", 0.05)
    mount(tmp_path / "ca", cacerts(intermediate(), [], [root()]))
    backend = LocalBackend(LocalSettings(tmp_path / "ca"), context(FakeClock()))
    await backend.start()
    free = threading.Event()
    monkeypatch.setattr(local, "read_files", lambda *_: free.wait(10))
    await backend.reload()
    free.set()
    await backend.sign(asked())
    with pytest.raises(BackendUnavailable, match="reading it hangs"):
        await backend.probe()


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), RuntimeError("odd")])
async def test_whatever_a_file_causes_is_a_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """And never the end of the service that looks at them."""
    backend = LocalBackend(LocalSettings(tmp_path), context(FakeClock()))

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(local, "read_files", fail)
    await backend.reload()
    with pytest.raises(BackendUnavailable, match=type(error).__name__):
        await backend.probe()


def test_a_pipe_in_the_place_of_a_file(tmp_path: Path) -> None:
    """It would hold whoever reads it."""
    directory = write(tmp_path / "ca", cacerts(intermediate(), [], [root()]))
    (directory / "root-cert.pem").unlink()
    os.mkfifo(directory / "root-cert.pem")
    with pytest.raises(UnusableCa, match="not a regular file"):
        read_files(directory, None)
