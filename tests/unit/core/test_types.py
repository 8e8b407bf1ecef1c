"""Values: secrets do not show, requests do not change."""

import copy
import dataclasses
import json
import pickle

import pytest

from signer.core.identity import SpiffeId
from signer.core.types import Credentials, Outcome, Secret, ServerNames, SigningRequest, Subject
from tests.corpus.answers import asked, server_asked

_TOKEN = "eyJhbGciOiJSUzI1NiJ9.e30.c2lnbmF0dXJl"


@pytest.mark.parametrize("show", [repr, str, "{}".format, "{!r}".format, "%s".__mod__, ascii, "{:>50}".format])
def test_secret_does_not_show(show: object) -> None:
    """In no way of making it text, bare or inside something."""
    assert callable(show)
    for value in (Secret(_TOKEN), Credentials(Secret(_TOKEN)), [Secret(_TOKEN)], {"a": Secret(_TOKEN)}):
        try:
            text = show(value)
        except TypeError:
            continue
        assert _TOKEN not in text
        assert "***" in text


def test_secret_in_json() -> None:
    """Nor by the default of an encoder."""
    assert json.dumps({"token": Secret(_TOKEN)}, default=str) == '{"token": "***"}'


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_secret_is_not_pickled(protocol: int) -> None:
    """It must not cross to another process by accident."""
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(Credentials(Secret(_TOKEN)), protocol)


def test_secret_is_not_copied() -> None:
    """``asdict`` copies deep, and would show it to whoever prints the result."""
    with pytest.raises(TypeError):
        copy.deepcopy(Secret(_TOKEN))
    with pytest.raises(TypeError):
        dataclasses.asdict(Credentials(Secret(_TOKEN)))


def test_secret_has_no_dict() -> None:
    """``vars`` finds nothing."""
    with pytest.raises(TypeError):
        vars(Secret(_TOKEN))
    assert Secret(_TOKEN).reveal() == _TOKEN


def test_request_is_frozen() -> None:
    """What was checked is what is signed."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        asked().subject = ServerNames(("istiod",))  # type: ignore[misc]


def test_outcome_fails_by_default() -> None:
    """A path that forgets its verdict is not counted as a success."""
    assert Outcome("r-1").code.value == "INTERNAL"


def test_server_names() -> None:
    """Written as a list."""
    assert str(ServerNames(("a", "b"))) == "a, b"


@pytest.mark.parametrize(
    ("request_", "subject"),
    [
        pytest.param(asked(), ServerNames(("istiod",)), id="a workload's CSR for a server"),
        pytest.param(asked(), SpiffeId.parse("spiffe://cluster.local/ns/other/sa/api"), id="for another workload"),
        pytest.param(server_asked(ServerNames(("a",))), asked().subject, id="a server's CSR for a workload"),
    ],
)
def test_a_request_is_for_whom_its_csr_was_checked(request_: SigningRequest, subject: Subject) -> None:
    """Anything else would sign a key that was checked for somebody else."""
    with pytest.raises(TypeError, match="the CSR was checked for"):
        dataclasses.replace(request_, subject=subject)
