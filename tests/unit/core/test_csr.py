"""Parsing a CSR: what the corpus does not say."""

from hashlib import sha256

import pytest

from signer.core import keys
from signer.core.csr import MAX_CSR_BYTES, parse_csr
from signer.core.errors import CsrMalformed
from tests.corpus.build import URI, csr_der, good_csr, pem, wants
from tests.support.pki import key, spki


def test_what_is_kept() -> None:
    """The key and a digest that names the CSR."""
    data = csr_der(wants(URI))
    parsed = parse_csr(pem(data))
    assert keys.spki(parsed.key) == spki(key("p256/csr"))
    assert parsed.digest == sha256(data).hexdigest()


def test_digest_is_that_of_the_request_not_of_its_text() -> None:
    """The same CSR in another frame is the same CSR: the digest is a key for repeats."""
    data = csr_der(wants(URI))
    assert parse_csr(pem(data)).digest == parse_csr(pem(data, newline="\r\n")).digest


def test_at_the_limit() -> None:
    """Exactly as long as allowed passes."""
    assert parse_csr(good_csr().ljust(MAX_CSR_BYTES))


@pytest.mark.parametrize("filler", [" ", "\n", "-", "A", "\u2003", "-----BEGIN CERTIFICATE REQUEST-----\n"])
def test_long_rubbish_is_refused_at_once(filler: str) -> None:
    """The pattern must not back-track for ages over what a stranger sends; the test's time-out would tell."""
    with pytest.raises(CsrMalformed):
        parse_csr((filler * MAX_CSR_BYTES)[:MAX_CSR_BYTES])
