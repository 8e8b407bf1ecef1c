"""Bearer tokens that are judged from memory: nobody queues, and nothing is remembered.

The memory, the sharing and the caps of ``signer.authn.bearer`` spare a far side. A good token needs none here, and in a
queue junk, which may wait for a far side, would stand in its way.
"""

from collections.abc import Callable, Collection

from signer.authn.bearer import BearerAuthenticator, Judge
from signer.authn.shape import carried, read, shaped
from signer.core.ports import Clock
from signer.core.types import Caller, Credentials


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
        token = carried(credentials)
        shaped(token, self._audiences, self._clock, self._count)
        self._count("offline")
        return await self._judge.judge(token)


class Queued:
    """A judge behind the memory, the sharing and the caps of a ``BearerAuthenticator``.

    Args:
        bearer: Accepts the audiences by which a ``DirectAuthenticator`` has checked the tokens that come here.
    """

    def __init__(self, bearer: BearerAuthenticator) -> None:
        self._bearer = bearer

    async def judge(self, token: str) -> Caller:
        """Prove the caller of a token whose shape has been checked.

        Raises:
            AuthenticationFailed: It is bad.
            AuthenticationUnavailable: It could not be judged.
            Overloaded: Too many tokens are being judged.
        """
        return await self._bearer.judge(token, read)
