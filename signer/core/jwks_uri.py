"""Where keys of tokens may be fetched from: the one rule for the configuration and for the fetch itself."""

from collections.abc import Callable
from urllib.parse import SplitResult, urlsplit

from signer.core.hosts import LOOPBACK

ADVICE = "write the https URL of a JSON Web Key Set, such as https://issuer.example/keys; http only for this host"
_FAULTS: tuple[tuple[Callable[[SplitResult], bool], str], ...] = (
    (lambda url: not (url.scheme == "https" or (url.scheme == "http" and url.hostname in LOOPBACK)), ""),
    (lambda url: not url.hostname, "; this names no host"),
    (
        lambda url: url.username is not None or url.password is not None,
        "; without a user and a password, which are not sent",
    ),
    (lambda url: bool(url.fragment), "; without a fragment (#), which is not sent"),
)


def check_jwks_uri(text: str) -> str:
    """Give the URL back if keys may come from there.

    Raises:
        ValueError: They may not; the URL is not quoted, since a password may be in it.
    """
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise ValueError(f"{ADVICE}; in ASCII, without spaces")
    url = _split(text)
    for holds, what in _FAULTS:
        if holds(url):
            raise ValueError(f"{ADVICE}{what}")
    return text


def _split(text: str) -> SplitResult:
    try:
        url = urlsplit(text)
        # Looked at here: a port that is no number is found when it is asked for.
        _ = url.hostname, url.port
    except ValueError:
        # The library's words quote the part that they are about.
        raise ValueError(f"{ADVICE}; this is no URL") from None
    return url
