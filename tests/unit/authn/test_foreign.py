"""What API servers and tokens say may have any shape."""

import pytest

from signer.authn.foreign import account_of, mapping


def test_a_service_account() -> None:
    """Its parts are handed on unchecked: whoever makes an identity of them checks them."""
    assert account_of("system:serviceaccount:payments:api") == ("payments", "api")
    assert account_of("system:serviceaccount::a/b\n") == ("", "a/b\n")


@pytest.mark.parametrize(
    "username",
    [
        *("", "api", "payments:api", "system:serviceaccount:payments", "system:serviceaccount:payments:api:x"),
        *("system:node:payments:api", "System:serviceaccount:payments:api", " system:serviceaccount:payments:api"),
        *(None, 1, ["system:serviceaccount:payments:api"], b"system:serviceaccount:payments:api"),
    ],
)
def test_anybody_else(username: object) -> None:
    with pytest.raises(ValueError, match="no service account"):
        account_of(username)


@pytest.mark.parametrize(("value", "taken"), [({"a": 1}, {"a": 1}), (None, {}), ([("a", 1)], {}), ("a", {}), (1, {})])
def test_objects(value: object, taken: dict[str, int]) -> None:
    assert mapping(value) == taken
