"""The plain rule of authorization."""

import pytest

from signer.authz.own import OwnIdentity
from signer.core.errors import ImpersonationDenied
from signer.core.types import Grant
from tests.support.fakes import CALLER, IDENTITY


async def test_own_identity() -> None:
    """A caller gets its own."""
    assert await OwnIdentity().authorize(CALLER, "") == Grant(IDENTITY, CALLER, impersonated=False)


@pytest.mark.parametrize("asked", [str(IDENTITY), "spiffe://cluster.local/ns/x/sa/y", "rubbish\n", "x" * 5000])
async def test_no_impersonation(asked: str) -> None:
    """Nobody acts for anybody, not even for itself; what was asked for is quoted safely."""
    with pytest.raises(ImpersonationDenied, match="asked to act for") as refusal:
        await OwnIdentity().authorize(CALLER, asked)
    assert refusal.value.reason.isprintable()
    assert len(refusal.value.reason) < 500
