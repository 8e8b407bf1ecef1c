"""Where keys of tokens may be fetched from: the one rule for the configuration and for the fetch itself."""

from urllib.parse import urlsplit

LOOPBACK = ("127.0.0.1", "::1", "localhost")
ADVICE = "write the https URL of a JSON Web Key Set, such as https://issuer.example/keys; http only for this host"


def check_jwks_uri(text: str) -> str:
    """Give the URL back if keys may come from there.

    Raises:
        ValueError: They may not; the URL is not quoted, since a password may be in it.
    """
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise ValueError(f"{ADVICE}; in ASCII, without spaces")
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        # The library's words quote the part that they are about.
        raise ValueError(f"{ADVICE}; this is no URL") from None
    if parts.scheme != "https" and not (parts.scheme == "http" and host in LOOPBACK):
        raise ValueError(ADVICE)
    if not host:
        raise ValueError(f"{ADVICE}; this names no host")
    if parts.username is not None or parts.password is not None:
        raise ValueError(f"{ADVICE}; without a user and a password, which are not sent")
    if parts.fragment:
        raise ValueError(f"{ADVICE}; without a fragment (#), which is not sent")
    return text
