"""The keyUsage extension (RFC 5280 section 4.2.1.3), by the names of the bits that are set."""

from cryptography import x509

_BITS = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def key_usage(*names: str) -> x509.KeyUsage:
    """Set these bits and no others.

    Raises:
        TypeError: There is no such bit.
    """
    return x509.KeyUsage(**{**dict.fromkeys(_BITS, False), **dict.fromkeys(names, True)})


# Of a CA that lives in memory: asked for in its CSR, and given where the upstream is ours.
MINTED_CA = key_usage("digital_signature", "key_cert_sign", "crl_sign")
