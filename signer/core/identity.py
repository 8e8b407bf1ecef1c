"""SPIFFE identities as Istio shapes them: ``spiffe://TRUST_DOMAIN/ns/NAMESPACE/sa/SERVICE_ACCOUNT``.

Parsed once, into types that compare exactly; nothing else in the project handles identities as text.
Sources: the SPIFFE-ID standard, sections 2.1-2.3; Istio ``pkg/spiffe/spiffe.go``; Kubernetes' object names
(RFC 1123 labels and subdomains).
"""

import re
from dataclasses import dataclass
from typing import Self

SCHEME = "spiffe://"
MAX_URI_BYTES = 2048
MAX_TRUST_DOMAIN_BYTES = 255

# fullmatch everywhere: with "$", re.match accepts a trailing newline, and with it somebody else's identity.
_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]+")
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAMESPACE = re.compile(_LABEL)
_SERVICE_ACCOUNT = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_MAX_NAMESPACE = 63
_MAX_SERVICE_ACCOUNT = 253


class InvalidIdentity(ValueError):
    """A text that is not an identity of the kind it should be; the message says why and quotes it safely."""


def _invalid(what: str, text: str) -> InvalidIdentity:
    """Quote at most 80 characters: the text comes from strangers and ends in logs."""
    return InvalidIdentity(f"not a valid {what}: {text[:80]!a}")


@dataclass(frozen=True, slots=True)
class TrustDomain:
    """A SPIFFE trust domain, such as ``cluster.local``; lower case only, never a URI."""

    name: str

    def __post_init__(self) -> None:
        if not _TRUST_DOMAIN.fullmatch(self.name) or len(self.name) > MAX_TRUST_DOMAIN_BYTES:
            raise _invalid("trust domain", self.name)

    @classmethod
    def configured(cls, text: str) -> Self:
        """Read the operator's spelling; Istio writes ``@`` as ``.`` in identities (spiffe.go), so do we.

        Raises:
            InvalidIdentity: The text is no trust domain even then.
        """
        return cls(text.replace("@", "."))

    def __str__(self) -> str:
        return self.name


def check_namespace(name: str) -> str:
    """Return ``name`` if it can be a Kubernetes namespace.

    Raises:
        InvalidIdentity: It cannot.
    """
    if len(name) > _MAX_NAMESPACE or not _NAMESPACE.fullmatch(name):
        raise _invalid("namespace", name)
    return name


def check_service_account(name: str) -> str:
    """Return ``name`` if it can be a Kubernetes service account.

    Raises:
        InvalidIdentity: It cannot.
    """
    if len(name) > _MAX_SERVICE_ACCOUNT or not _SERVICE_ACCOUNT.fullmatch(name):
        raise _invalid("service account", name)
    return name


@dataclass(frozen=True, slots=True)
class SpiffeId:
    """The identity of a workload: a service account of a namespace in a trust domain."""

    trust_domain: TrustDomain
    namespace: str
    service_account: str

    def __post_init__(self) -> None:
        check_namespace(self.namespace)
        check_service_account(self.service_account)

    @classmethod
    def parse(cls, uri: str) -> Self:
        """Parse the one accepted spelling; no case folding, no percent decoding, no trimming.

        Raises:
            InvalidIdentity: Anything else.
        """
        if not uri.startswith(SCHEME) or len(uri) > MAX_URI_BYTES:
            raise _invalid("Istio SPIFFE ID", uri)
        parts = uri.removeprefix(SCHEME).split("/")
        if len(parts) != 5 or parts[1] != "ns" or parts[3] != "sa":
            raise _invalid("Istio SPIFFE ID", uri)
        return cls(TrustDomain(parts[0]), parts[2], parts[4])

    def __str__(self) -> str:
        return f"{SCHEME}{self.trust_domain.name}/ns/{self.namespace}/sa/{self.service_account}"
