"""Several signers behind one backend: none says anything of another's CA."""

from datetime import timedelta
from pathlib import Path

import pytest

from backends.kubernetes_csr import cas
from backends.kubernetes_csr.cas import SignersCas
from signer.core.chain import pem
from signer.core.errors import BackendUnavailable
from tests.corpus.answers import leaf, root
from tests.support.ca_files import bundle
from tests.support.clock import DAY, HOUR, NOW, FakeClock
from tests.support.fakes import context
from tests.support.pki import Ca, make_ca

SHORT = make_ca("short", window=(NOW - HOUR, NOW + HOUR))
LONG = make_ca("long", window=(NOW - HOUR, NOW + 300 * DAY))


async def answer(some: SignersCas, signer: str, ca: Ca) -> None:
    """Have a signer's answer read."""
    made = leaf(ca, window=(NOW, NOW + timedelta(minutes=30)))
    some.check_room(signer)
    await (await some.of(signer)).read(pem(made) + pem(ca.certificate))


async def test_a_ca_that_ends_soon_shortens_no_other_signers_leaves() -> None:
    some = SignersCas(None, context(), many=True)
    await answer(some, "d/long", LONG)
    await answer(some, "d/short", SHORT)
    assert (some.end("d/long"), some.end("d/short")) == (NOW + 300 * DAY, NOW + HOUR)
    assert (some.end("d/other"), some.info().window) == (None, None)
    assert set(some.info().roots) == {SHORT.certificate, LONG.certificate}


async def test_signers_that_take_turns_are_no_change() -> None:
    some, changes = SignersCas(None, context(), many=True), list[int]()
    some.on_change(lambda: changes.append(1))
    for _ in range(10):
        await answer(some, "d/long", LONG)
        await answer(some, "d/short", SHORT)
    assert len(changes) == 2


async def test_of_one_signer_everything_is_known() -> None:
    some = SignersCas(None, context(), many=False)
    assert some.info().roots == ()
    await answer(some, "d/long", LONG)
    assert (some.info().chain, some.info().roots) == ((LONG.certificate,), (LONG.certificate,))
    assert some.info().window is not None


@pytest.mark.parametrize("many", [True, False])
async def test_roots_of_a_file_are_known_before_anybody_signs(tmp_path: Path, many: bool) -> None:
    (tmp_path / "roots").write_bytes(bundle([root()]))
    some = SignersCas(tmp_path / "roots", context(), many)
    assert await some.refresh()
    assert not await some.refresh()
    assert (some.info().roots, some.info().configured) == ((root().certificate,), True)
    await answer(some, "d/long", LONG)
    assert (some.info().roots, some.info().configured) == ((root().certificate,), True)


async def test_there_is_a_bound_that_forgets_no_living_leaf(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cas, "MAX_SIGNERS", 2)
    clock = FakeClock()
    some = SignersCas(None, context(clock), many=True)
    await answer(some, "d/long", LONG)
    await answer(some, "d/short", SHORT)
    await answer(some, "d/long", LONG)
    with pytest.raises(BackendUnavailable, match="2 signers have signed, and their leaves live: d/more is one more"):
        some.check_room("d/more")
    clock.advance(HOUR)
    some.check_room("d/more")
    assert len(some.info().roots) == 1
