"""Bearer tokens that are judged from memory: nobody queues, and nothing is remembered.

The memory, the sharing and the caps of ``signer.authn.bearer`` spare a far side. A good token needs none here, and in a
queue junk, which may wait for a far side, would stand in its way.
"""

from collections.abc import Callable, Collection

from signer.authn.bearer import BearerAuthenticator, Judge
from signer.authn.shape import check_shape
from signer.core.errors import AuthenticationFailed
from signer.core.ports import Clock
from signer.core.types import Caller, Credentials, Secret


class DirectAuthenticator:
    """Authenticates by bearer token.

    Args:
        judge: Waits only where it must ask, and bounds by itself how many do.
        audiences: Those accepted.
        clock: Its wall clock says what has long expired.
        count: Told ``offline`` for each token that went to the judge, ``shape`` for each that did not.
    """

    def __init__(self, judge: Judge, audiences: Collection[str], clock: Clock, count: Callable[[str], None]) -> None:
        self._judge = judge
        self._audiences = audiences
        self._clock = clock
        self._count = count

    async def authenticate(self, credentials: Credentials) -> Caller:
        """Prove the caller by its token.

        Raises:
            AuthenticationFailed: There is none, or it is bad.
            AuthenticationUnavailable: It could not be judged.
            Overloaded: Too many wait for a far side.
        """
        if credentials.bearer is None:
            raise AuthenticationFailed("the call carries no bearer token")
        token = credentials.bearer.reveal()
        try:
            check_shape(token, self._audiences, self._clock.now())
        except AuthenticationFailed:
            self._count("shape")
            raise
        self._count("offline")
        return await self._judge.judge(token)


class Queued:
    """A judge behind the memory, the sharing and the caps of a ``BearerAuthenticator``."""

    def __init__(self, bearer: BearerAuthenticator) -> None:
        self._bearer = bearer

    async def judge(self, token: str) -> Caller:
        """As the judge that it stands for; besides, Overloaded where too many wait."""
        return await self._bearer.authenticate(Credentials(Secret(token)))
