"""A far side that tells no root: the file may come later than its answers."""

from pathlib import Path

import pytest

from backends.remote.learning import LearntCa
from signer.core.chain import pem
from signer.core.errors import BackendUnavailable
from tests.corpus.answers import intermediate, leaf, root
from tests.support.ca_files import bundle
from tests.support.fakes import context


async def test_a_file_that_comes_after_the_first_answer_gives_that_ca_its_way_up(tmp_path: Path) -> None:
    known = LearntCa(tmp_path / "roots", context())
    answer = pem(leaf(intermediate())) + pem(intermediate().certificate)
    await known.read(answer)
    assert known.info().chain == ()
    (tmp_path / "roots").write_bytes(bundle([root()]))
    assert await known.refresh()
    assert (known.info().chain, known.info().roots) == ((intermediate().certificate,), (root().certificate,))
    assert known.info().window is not None
    assert not await known.refresh()


@pytest.mark.parametrize("chain", ["", "no PEM", "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----"])
async def test_a_broken_answer_is_no_refusal(chain: str) -> None:
    """Nobody has decided against the request: a retry, or the next backend, may do better."""
    with pytest.raises(BackendUnavailable, match="cannot be parsed"):
        await LearntCa(None, context()).read(chain)
