"""A backend that does as a test says, around the local one: it waits, fails, or signs wrongly.

The configuration finds it by its type, ``scripted``; `script_of` finds the script of a running server.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from backends.local.backend import LocalBackend, LocalSettings
from signer.core.spec import BackendContext, BackendSpec
from signer.core.types import IssuedChain, SigningRequest
from tests.server.running import Running

Bend = Callable[[SigningRequest, IssuedChain], IssuedChain]


@dataclass
class Script:
    """What happens to each signing.

    Attributes:
        error: Raised instead of an answer.
        once: Raised by the next signings, one each.
        before: Awaited before it.
        bend: Changes the answer.
        begun: Signings that began.
        cancelled: Signings that were cancelled.
    """

    error: BaseException | None = None
    once: list[BaseException] = field(default_factory=list)
    before: Callable[[], Awaitable[object]] | None = None
    bend: Bend | None = None
    begun: int = 0
    cancelled: int = 0
    serials: list[int] = field(default_factory=list)

    def hang(self) -> None:
        """Never answer."""
        self.before = asyncio.Event().wait

    def pause(self, seconds: float) -> None:
        """Take so long."""
        self.before = lambda: asyncio.sleep(seconds)


class ScriptedBackend(LocalBackend):
    """See above."""

    def __init__(self, settings: LocalSettings, context: BackendContext) -> None:
        super().__init__(settings, context)
        self.answers_at_once = False
        self.script = Script()

    async def sign(self, request: SigningRequest) -> IssuedChain:
        """Sign for workloads by the script, for the server itself without it."""
        if request.grant is None:
            return await super().sign(request)
        script = self.script
        script.begun += 1
        try:
            if script.before is not None:
                await script.before()
        except asyncio.CancelledError:
            script.cancelled += 1
            raise
        if script.once:
            raise script.once.pop(0)
        if script.error is not None:
            raise script.error
        issued = await super().sign(request)
        script.serials.append(issued.leaf.serial_number)
        return script.bend(request, issued) if script.bend else issued


SPEC = BackendSpec("scripted", LocalSettings, ScriptedBackend, lambda _, __: [])


def script_of(server: Running, name: str = "local") -> Script:
    """The script of a server whose backend is of type ``scripted``."""
    backend = server.server.backends[name]
    assert isinstance(backend, ScriptedBackend)
    return backend.script
