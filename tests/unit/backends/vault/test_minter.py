"""What a CA signed by Vault comes with: roots told from others by their keys, not by their names."""

from pathlib import Path

import pytest
from cryptography import x509

from backends.intermediate.minting import MintedCa
from backends.intermediate.order import new_order
from backends.vault.answers import Reply
from backends.vault.minter import VaultMinter
from backends.vault.settings import VaultIntermediateSettings, VaultSettings
from signer.core.chain import pem
from tests.corpus.answers import intermediate, root
from tests.support.ca_files import bundle
from tests.support.fakes import context
from tests.support.pki import Ca, make_ca


async def minted(monkeypatch: pytest.MonkeyPatch, *above: Ca, roots_file: Path | None = None) -> MintedCa:
    """Have a CA signed at a path whose mount is not known, so that nothing else is asked."""
    plan = VaultIntermediateSettings(sign_path="somewhere/else")
    settings = VaultSettings("https://127.0.0.1:1", mode="intermediate", intermediate=plan, roots_file=roots_file)
    minter = VaultMinter(settings, context())

    async def answer(*_: object) -> Reply:
        texts = [pem(ca.certificate) for ca in above]
        return Reply(200, {"data": {"certificate": pem(intermediate().certificate), "ca_chain": texts}})

    monkeypatch.setattr("backends.vault.signer.VaultCaller.post", answer)
    return await minter.mint(new_order(plan)[1])


def certificates(*cas: Ca) -> tuple[x509.Certificate, ...]:
    """Theirs."""
    return tuple(ca.certificate for ca in cas)


async def test_a_name_alone_makes_no_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Subject and issuer are the same, and another key has signed it."""
    crossed = make_ca("root", make_ca("root", kind="p384"))
    found = await minted(monkeypatch, crossed, root())
    assert (found.issuers, found.roots) == (certificates(crossed), certificates(root()))


async def test_roots_of_the_file_are_the_only_ones(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = make_ca("other")
    (tmp_path / "roots").write_bytes(bundle([other]))
    found = await minted(monkeypatch, root(), roots_file=tmp_path / "roots")
    assert found.roots == certificates(other)
