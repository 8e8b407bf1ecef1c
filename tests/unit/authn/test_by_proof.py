"""The order of proofs."""

from typing import Any

import pytest

from signer.authn.by_proof import ByProof
from signer.authn.proofs import Proofs
from signer.core.errors import AuthenticationFailed, AuthenticationUnavailable
from signer.core.types import Caller, Credentials, Secret
from tests.support.clock import FakeClock
from tests.support.fakes import CALLER, IDENTITY, FakeAuthenticator

BY_CERTIFICATE = Caller(IDENTITY, "client-certificate", "Kubernetes", serial=7)
CHAIN = (b"leaf",)
TOKEN = Secret("token")


class Certificates:
    """Judges every chain alike."""

    def __init__(self, verdict: Caller | Exception) -> None:
        self.verdict = verdict

    async def authenticate(self, _: Credentials) -> Caller:
        """Say it."""
        if isinstance(self.verdict, Exception):
            raise self.verdict
        return self.verdict


def desk(verdict: Caller | Exception) -> tuple[ByProof, Proofs]:
    proofs = Proofs(FakeClock())
    certificates: Any = Certificates(verdict)
    return ByProof(certificates, FakeAuthenticator(), proofs), proofs


async def test_the_certificate_comes_first() -> None:
    """Whatever token is shown beside it; and it is no proof by token."""
    by_proof, proofs = desk(BY_CERTIFICATE)
    assert await by_proof.authenticate(Credentials(TOKEN, chain=CHAIN)) == BY_CERTIFICATE
    assert proofs.age(IDENTITY) is None


async def test_a_token_proves_who_shows_no_certificate() -> None:
    """And that is remembered."""
    by_proof, proofs = desk(AssertionError("not asked"))
    assert await by_proof.authenticate(Credentials(TOKEN)) == CALLER
    assert proofs.age(IDENTITY) == 0


async def test_a_bad_certificate_leaves_the_token() -> None:
    """Where there is one."""
    by_proof, _ = desk(AuthenticationFailed("bad"))
    assert await by_proof.authenticate(Credentials(TOKEN, chain=CHAIN)) == CALLER
    with pytest.raises(AuthenticationFailed, match="bad"):
        await by_proof.authenticate(Credentials(None, chain=CHAIN))


async def test_an_outage_is_none_of_the_tokens() -> None:
    """Nobody is taken for somebody else because roots are not known yet."""
    by_proof, _ = desk(AuthenticationUnavailable("no roots"))
    with pytest.raises(AuthenticationUnavailable):
        await by_proof.authenticate(Credentials(TOKEN, chain=CHAIN))
