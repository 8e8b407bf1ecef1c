"""CertificateRequests: what is written, what their conditions mean."""

from base64 import b64encode
from typing import Any

import pytest

from backends.cert_manager.issuer import CurrentIssuer
from backends.cert_manager.request import CertificateRequests, Order, go_seconds, manifest
from backends.cert_manager.settings import CertManagerSettings, ConfigMapRef, IssuerRef
from signer.core.chain import pem
from signer.core.errors import BackendUnavailable
from tests.corpus.answers import asked, leaf
from tests.support.clock import HOUR

KIND = CertificateRequests("mesh")
PEM = pem(leaf())
TEXT = b64encode(PEM.encode()).decode()


def condition(kind: str, status: str, reason: str = "") -> dict[str, Any]:
    """One condition."""
    return {"type": kind, "status": status, "reason": reason, "message": "because"}


def item(*conditions: dict[str, Any], **status: Any) -> dict[str, Any]:
    """A request with a status."""
    return {"status": {"conditions": list(conditions), **status}}


REFUSED: dict[str, dict[str, Any]] = {
    "denied": item(condition("Denied", "True")),
    "failed": item(condition("Ready", "False", "Failed")),
    "ready denied": item(condition("Approved", "True"), condition("Ready", "False", "Denied")),
    "invalid": item(condition("InvalidRequest", "True")),
    "denied though signed": item(condition("Ready", "True"), condition("Denied", "True"), certificate=TEXT),
}
PENDING: dict[str, dict[str, Any]] = {
    "nothing": {},
    "no status": {"status": None},
    "odd conditions": {"status": {"conditions": "text"}},
    "approved": item(condition("Approved", "True")),
    "waiting": item(condition("Ready", "False", "Pending")),
    "signed but not ready": item(condition("Ready", "False", "Pending"), certificate=TEXT),
    "ready without a certificate": item(condition("Ready", "True")),
    "not denied": item(condition("Denied", "False")),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_are_final(case: str) -> None:
    verdict = KIND.verdict(REFUSED[case])
    assert verdict.final
    assert "'because'" in verdict.refused


@pytest.mark.parametrize("case", PENDING)
def test_everything_else_is_waited_for(case: str) -> None:
    assert not KIND.verdict(PENDING[case]).final


def test_signed() -> None:
    verdict = KIND.verdict(item(condition("Ready", "True", "Issued"), certificate=TEXT, ca=TEXT))
    assert (verdict.certificate, verdict.ca) == (PEM, PEM)


def wanted(**changes: Any) -> dict[str, Any]:
    """What we would write."""
    order = Order(asked().csr.parsed.request, HOUR, ["client auth", "server auth"], IssuerRef("mesh"))
    made = manifest(order, {}, {})
    return {**made, "spec": {**made["spec"], **changes}}


def test_the_same_question_is_known_again_whatever_its_clock() -> None:
    stored = wanted(duration="3599s", usages=["server auth", "client auth"])
    del stored["spec"]["isCA"]
    assert KIND.same(stored, wanted())


@pytest.mark.parametrize(
    "changes",
    [
        {"request": "x"},
        {"isCA": True},
        {"usages": ["client auth"]},
        {"issuerRef": {"name": "other"}},
        {"duration": "87600h"},
        {"duration": "3631s"},
        {"duration": None},
        {"duration": "a while"},
    ],
    ids=str,
)
def test_another_question_is_never_adopted(changes: dict[str, Any]) -> None:
    assert not KIND.same(wanted(**changes), wanted())


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("3600s", 3600), ("1h0m0s", 3600), ("1h30m", 5400), ("1.5h", 5400), ("100ms", 0.1), ("2160h0m0s", 7776000)],
)
def test_durations_as_go_writes_them(text: str, seconds: float) -> None:
    assert go_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", [None, 3600, "", "3600", "-1h", "1d", "h", "1h ", "1" * 60 + "h"])
def test_what_is_no_duration(text: object) -> None:
    assert go_seconds(text) is None


def followed() -> CurrentIssuer:
    """An issuer that a ConfigMap may name."""
    return CurrentIssuer(CertManagerSettings(IssuerRef("mesh"), runtime_config_map=ConfigMapRef("c", "n")), "cm")


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ({"issuer-name": "second"}, "second"),
        ({"issuer-name": "  second\n", "issuer-kind": "ClusterIssuer"}, "second"),
        ({}, "mesh"),
        (None, "mesh"),
    ],
)
def test_the_config_map_decides_where_it_makes_sense(data: Any, name: str) -> None:
    current = followed()
    current.listed([{"data": data}] if data is not None else [])
    assert current.ref.name == name


NO_SENSE: list[dict[str, str]] = [
    {"issuer-kind": "Issuer"},
    {"issuer-name": "Not A Name"},
    {"issuer-name": "x", "issuer-kind": "a/b"},
]


@pytest.mark.parametrize("data", NO_SENSE)
def test_a_typo_moves_the_mesh_to_no_other_ca(data: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    current = followed()
    current.listed([{"data": {"issuer-name": "production"}}])
    current.changed("MODIFIED", {"data": data})
    assert current.ref.name == "production"
    assert "production goes on signing" in caplog.text


@pytest.mark.parametrize("data", NO_SENSE)
def test_nor_does_a_restart_after_it(data: dict[str, str]) -> None:
    current = followed()
    current.listed([{"data": data}])
    with pytest.raises(BackendUnavailable, match="ConfigMap n/c names the issuer: "):
        _ = current.ref
    current.changed("MODIFIED", {"data": {"issuer-name": "production"}})
    assert current.ref.name == "production"


def test_nobody_signs_before_the_config_map_was_read() -> None:
    with pytest.raises(BackendUnavailable, match="ConfigMap n/c names the issuer: it has not been read yet"):
        _ = followed().ref


def test_without_a_config_map_the_configured_issuer_signs_at_once() -> None:
    assert CurrentIssuer(CertManagerSettings(IssuerRef("mesh")), "cm").ref.name == "mesh"


def test_a_config_map_that_goes_gives_the_word_back() -> None:
    current = followed()
    current.changed("ADDED", {"data": {"issuer-name": "second"}})
    current.changed("DELETED", {"data": {"issuer-name": "second"}})
    assert current.ref.name == "mesh"
