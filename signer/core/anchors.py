"""Which certificates may be trust anchors: a table. One bad anchor in an answer breaks every proxy that reads it.

Sources: RFC 5280 sections 4.1.2.2 (serial), 4.2.1.9 (CA) and 6.1; ztunnel ``tls/certificate.rs``, which gives up on a
whole bundle for one block that it cannot parse; istio ``security/pkg/nodeagent/cache/secretcache.go``, which compares
roots as text.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from signer.core import keys
from signer.core.chain import TrustBundle, fingerprint, is_ca, is_self_issued
from signer.core.parsing import UNPARSABLE

# No block reaches into the next one: what is cut off must not take its neighbour away, nor make this slow.
_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,64})-----(?:(?!-----BEGIN ).)*?-----END \1-----", re.DOTALL)
_BEGIN = re.compile(rb"-----BEGIN ")
CERTIFICATE = b"CERTIFICATE"
MAX_ANCHORS = 256


@dataclass(frozen=True, slots=True)
class Dropped:
    """A certificate that is not trusted.

    Attributes:
        what: Its fingerprint, or which block of a text it was.
        why: The rule that it breaks.
    """

    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.what}: {self.why}"


@dataclass(frozen=True, slots=True)
class Screened:
    """What is left of a set of would-be anchors, and what is not."""

    bundle: TrustBundle
    dropped: tuple[Dropped, ...] = ()


def _own_signature(root: x509.Certificate) -> bool:
    root.verify_directly_issued_by(root)
    return True


# Each tells whether a certificate is good; what it raises for one that it cannot read counts as bad.
RULES: dict[str, Callable[[x509.Certificate], bool]] = {
    "its serial number is negative (RFC 5280 section 4.1.2.2)": lambda c: c.serial_number >= 0,
    "it is not a CA (RFC 5280 section 4.2.1.9)": is_ca,
    "it is not self-issued, and proxies take only roots for anchors": is_self_issued,
    "its key is of a kind that proxies cannot verify with": lambda c: keys.weakness(c.public_key()) is None,
    "its own key has not signed it": _own_signature,
}


def anchor_fault(certificate: x509.Certificate, now: datetime) -> str | None:
    """Say why a certificate may not be an anchor at ``now`` (UTC), or None if it may. One of the future may."""
    for fault, good in RULES.items():
        if not _holds(good, certificate):
            return fault
    if now >= certificate.not_valid_after_utc:
        return f"it ended at {certificate.not_valid_after_utc.isoformat()}"
    return None


def _holds(good: Callable[[x509.Certificate], bool], certificate: x509.Certificate) -> bool:
    try:
        return good(certificate)
    except UNPARSABLE:
        return False


def screen(certificates: Iterable[x509.Certificate], now: datetime) -> Screened:
    """Keep what may be an anchor; duplicates collapse."""
    faults = {c: anchor_fault(c, now) for c in dict.fromkeys(certificates)}
    good = [c for c, fault in faults.items() if fault is None]
    dropped = [Dropped(fingerprint(c)[:16], fault) for c, fault in faults.items() if fault is not None]
    return Screened(TrustBundle.of(good), tuple(dropped))


def read_anchors(data: bytes, now: datetime) -> Screened:
    """Read a PEM text block by block, so that one bad block does not take the good ones away.

    Line ends and texts between blocks do not matter: what is kept is encoded anew.
    """
    blocks = list(_BLOCK.finditer(data))
    parsed: dict[x509.Certificate, None] = {}
    dropped: list[Dropped] = []
    for number, block in enumerate(blocks, 1):
        certificate = _parsed(block)
        if isinstance(certificate, str):
            dropped.append(Dropped(f"block {number}", certificate))
        elif certificate in parsed:
            dropped.append(Dropped(f"block {number}", "a duplicate"))
        else:
            parsed[certificate] = None
    if len(_BEGIN.findall(data)) > len(blocks):
        dropped.append(Dropped("the text", "a block has no end, or another one than its beginning"))
    screened = screen(list(parsed)[:MAX_ANCHORS], now)
    if len(parsed) > MAX_ANCHORS:
        dropped.append(Dropped("the text", f"only the first {MAX_ANCHORS} certificates are taken"))
    return Screened(screened.bundle, (*dropped, *screened.dropped))


def _parsed(block: "re.Match[bytes]") -> x509.Certificate | str:
    if block[1] != CERTIFICATE:
        return f"it is no certificate but {block[1].decode('ascii')!a}"
    try:
        return x509.load_pem_x509_certificate(block[0])
    except UNPARSABLE as error:
        return f"it cannot be parsed ({type(error).__name__})"
