"""What the API server's answers mean, case by case."""

import pytest

from backends.kube_requests.kind import label_value
from backends.kube_requests.refusals import fault_of, is_transient
from backends.kube_requests.text import decoded, derived_name
from signer.core.errors import BackendRefused, BackendUnavailable
from signer.kube.answer import Answer

MEANINGS: dict[int, type[Exception] | None] = {
    200: None,
    201: None,
    400: BackendRefused,
    401: BackendUnavailable,
    403: BackendUnavailable,
    404: BackendUnavailable,
    409: BackendUnavailable,
    422: BackendRefused,
    429: BackendUnavailable,
    500: BackendUnavailable,
    503: BackendUnavailable,
}


@pytest.mark.parametrize("status", MEANINGS)
def test_each_status_has_one_meaning(status: int) -> None:
    found = fault_of(Answer(status, {"reason": "R", "message": "m"}), "create", "things")
    assert (type(found) if found else None) is MEANINGS[status]
    assert found is None or ("create things: HTTP" in found.reason and "'m'" in found.reason)


@pytest.mark.parametrize(
    "message",
    [
        'admission webhook "policy.example" denied the request: no',
        "things \"x\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no",
    ],
    ids=["webhook", "policy"],
)
def test_what_admission_denies_it_denies_for_its_contents(message: str) -> None:
    assert isinstance(fault_of(Answer(403, {"message": message}), "create", "things"), BackendRefused)


def test_a_foreign_text_is_cut_and_quoted() -> None:
    found = fault_of(Answer(500, {"message": "x\n" * 5000}), "create", "things")
    assert found is not None
    assert len(found.reason) < 1000
    assert "\n" not in found.reason


@pytest.mark.parametrize(
    ("status", "again"), [(429, True), (500, True), (503, True), (403, False), (409, False), (201, False)]
)
def test_what_is_tried_again(status: int, again: bool) -> None:
    assert is_transient(Answer(status, {})) is again


def test_names_follow_from_what_is_asked() -> None:
    assert derived_name("a", "b") == derived_name("a", "b")
    assert len({derived_name("a", "b"), derived_name("ab", ""), derived_name("a", "c")}) == 3


@pytest.mark.parametrize("text", [None, 7, "", "no base64!", "/////w=="])
def test_a_status_without_a_certificate_is_empty(text: object) -> None:
    assert decoded(text) == ""


@pytest.mark.parametrize("name", ["vault", "a.b-c_d"])
def test_a_backends_name_is_its_label(name: str) -> None:
    assert label_value(name) == name


@pytest.mark.parametrize("name", ["with space", "x" * 64, "-x", "é", "a/b"])
def test_a_name_that_is_no_label_gets_one_of_its_own(name: str) -> None:
    value = label_value(name)
    assert value.isalnum()
    assert value != label_value(name + "x")
