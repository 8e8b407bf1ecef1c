"""The keyUsage extension by names."""

import pytest

from backends.held.usage import key_usage


def test_only_what_is_named_is_set() -> None:
    usage = key_usage("key_cert_sign")
    assert (usage.key_cert_sign, usage.digital_signature, usage.crl_sign) == (True, False, False)


def test_a_misspelt_name_is_no_usage() -> None:
    with pytest.raises(TypeError):
        key_usage("cert_sign")
