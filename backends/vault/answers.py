"""What Vault says, and what it means: pure. Its own words go to the log only, cut and quoted."""

from dataclasses import dataclass
from typing import Any

from cryptography import x509

from backends.remote.parsing import certificates
from signer.core.errors import BackendError, BackendRefused, BackendUnavailable
from signer.core.parsing import UNPARSABLE

MAX_WORDS = 300


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP status and the JSON object of the body, empty where it was none."""

    status: int
    body: dict[str, Any]

    @property
    def is_vaults(self) -> bool:
        """Whether Vault has written the error: a proxy before it has words of its own, or none."""
        return isinstance(self.body.get("errors"), list)

    @property
    def words(self) -> str:
        """Vault's own reason: the known field of the known shape, quoted and cut."""
        errors = self.body.get("errors")
        texts = [str(e) for e in errors if isinstance(e, str)] if isinstance(errors, list) else []
        return f"{' | '.join(texts)[:MAX_WORDS]!a}" if texts else "no reason given"


# Source: Vault's HTTP API, "HTTP status codes"; 472 and 473 are standbys that do not forward.
UNAVAILABLE: dict[int, str] = {
    301: "it redirects: name the active server or a load balancer as address",
    302: "it redirects: name the active server or a load balancer as address",
    307: "it is a standby that redirects: name the active server or a load balancer as address",
    308: "it redirects: name the active server or a load balancer as address",
    401: "the login is not accepted",
    408: "it, or a proxy before it, has given up waiting",
    412: "a standby that has not caught up yet",
    425: "a proxy before it asks to try again",
    429: "too many requests, or a standby",
    472: "a standby for disaster recovery",
    473: "a performance standby",
    501: "it is not initialised",
    503: "it is sealed, or down for maintenance",
}


REFUSED: dict[int, str] = {
    403: ". Does a policy of this login allow update there? Ask: istio-signer check --live",
}


def fault(reply: Reply, doing: str) -> BackendError | None:
    """Say what a reply means for a request, or None where it is a success."""
    status = reply.status
    if 200 <= status < 300:
        return None
    if status in UNAVAILABLE or status >= 500:
        return BackendUnavailable(f"{doing}: HTTP {status}, {UNAVAILABLE.get(status, 'server error')}: {reply.words}")
    if status == 404 and not reply.is_vaults:
        return BackendUnavailable(f"{doing}: HTTP 404, and not from Vault: does address lead to it?")
    return BackendRefused(f"{doing}: HTTP {status}: {reply.words}{REFUSED.get(status, '')}")


@dataclass(frozen=True, slots=True)
class Signed:
    """What a signing path returned.

    Attributes:
        leaf: The certificate.
        issuers_text: The CA certificates as they came: the same text means the same CA.
    """

    leaf: x509.Certificate
    issuers_text: str

    def issuers(self) -> list[x509.Certificate]:
        """Parse the CA certificates, the leaf's issuer first.

        Raises:
            BackendUnavailable: They are broken.
        """
        return certificates(self.issuers_text, "the CA certificates in the answer") if self.issuers_text else []


def signed(reply: Reply) -> Signed:
    """Read the answer of a signing path.

    Raises:
        BackendUnavailable: It holds no certificate, or a broken one.
    """
    data = reply.body.get("data")
    data = data if isinstance(data, dict) else {}
    return Signed(parsed_leaf(data.get("certificate")), issuers_text(data.get("issuing_ca"), data.get("ca_chain")))


def parsed_leaf(text: object) -> x509.Certificate:
    """Read the first certificate of a PEM text.

    A success without one is no decision against the request: a page of a proxy, or an answer cut short.

    Raises:
        BackendUnavailable: There is none.
    """
    if not isinstance(text, str):
        raise BackendUnavailable("the answer holds no certificate: does the path sign CSRs, and address lead to Vault?")
    try:
        return x509.load_pem_x509_certificate(text.encode())
    except UNPARSABLE as error:
        raise BackendUnavailable(f"the certificate in the answer cannot be parsed ({type(error).__name__})") from None


def issuers_text(issuer: object, chain: object) -> str:
    """Put a CA and what stands above it into one text, each certificate once."""
    texts = [issuer, *(chain if isinstance(chain, list) else [])]
    unique = dict.fromkeys(text.strip() for text in texts if isinstance(text, str) and text.strip())
    return "\n".join(unique)
