"""May a token sign, and what lets it."""

import pytest

from backends.vault.answers import Reply
from backends.vault.policy import allowed, policy_fix

PATH = "pki/sign/istio-ca"
ANSWERS: dict[str, tuple[object, bool | None]] = {
    "both": (["create", "update"], True),
    "root": (["root"], True),
    "create is not enough": (["create"], False),
    "read": (["read", "list"], False),
    "denied": (["deny"], False),
    "nothing": ([], False),
    "not a list": ("update", None),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_what_the_answer_means(case: str) -> None:
    capabilities, verdict = ANSWERS[case]
    assert allowed(Reply(200, {"data": {PATH: capabilities}}), PATH) is verdict


@pytest.mark.parametrize("reply", [Reply(403, {"data": {PATH: ["update"]}}), Reply(200, {}), Reply(200, {"data": {}})])
def test_no_answer_is_no_verdict(reply: Reply) -> None:
    assert allowed(reply, PATH) is None


@pytest.mark.parametrize(
    ("policies", "name"), [(["default", "mesh"], "mesh"), (["default"], "istio-signer"), (["a b"], "'a b'")]
)
def test_a_policy_of_the_login_is_changed_never_the_default_one(policies: list[str], name: str) -> None:
    assert policy_fix(policies, PATH).startswith(f"vault policy write {name} - ")


@pytest.mark.parametrize("path", ['a"b', "a$(id)b", "a`id`", "a b"])
def test_what_a_shell_would_read_in_its_own_way_gets_no_command(path: str) -> None:
    assert policy_fix(["mesh"], path) == ""
