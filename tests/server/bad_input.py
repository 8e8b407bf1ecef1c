"""Bad input, one row each: what is sent, and what it gets. The rows of odd CSRs are those of `tests.corpus`.

A row's ``make`` bends a call that would succeed; a row without an error must succeed all the same. ``ReviewRow``s meet
a real API server, the others a server with development tokens.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jwt

from tests.corpus.csrs import CSRS
from tests.server.calls import Call, bearer
from tests.server.review import Review

MIB = 1024 * 1024
NOT_JWT = "the bearer token is not a JWT"
MISSING = "the call carries no bearer token"


@dataclass(frozen=True, slots=True)
class Row:
    """One bad input.

    Attributes:
        error: The class in the audit; empty where the call succeeds.
        reason: A part of the exact reason in log and audit.
    """

    name: str
    make: Callable[[Call], Call]
    error: str = ""
    reason: str = ""

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class ReviewRow:
    """One bad token that a real API server has a say in; ``make`` makes it."""

    name: str
    make: Callable[[Review], str]
    reason: str

    def __str__(self) -> str:
        return self.name


def authorized(*values: str) -> Callable[[Call], Call]:
    """Other ``authorization`` values."""
    return lambda call: replace(call, authorization=values)


def token(change: Callable[[str], str]) -> Callable[[Call], Call]:
    """Another token, made from the good one."""
    return lambda call: replace(call, authorization=bearer(change(call.authorization[0].removeprefix("Bearer "))))


def prefixed(prefix: str) -> Callable[[Call], Call]:
    """The good token behind another prefix."""
    return lambda call: replace(call, authorization=(call.authorization[0].replace("Bearer ", prefix),))


def clusters(*ids: str) -> Callable[[Call], Call]:
    """Other ``clusterid`` values."""
    return lambda call: replace(call, clusters=ids)


def ttl(seconds: int) -> Callable[[Call], Call]:
    """Another ``validity_duration``."""
    return lambda call: replace(call, ttl=seconds)


def hints(**values: Any) -> Callable[[Call], Call]:
    """Metadata in the message."""
    return lambda call: replace(call, hints=values)


def _claims(**changes: object) -> Callable[[str], str]:
    """The same claims with changes, signed by somebody else."""

    def make(good: str) -> str:
        claims = jwt.decode(good, options={"verify_signature": False})
        return jwt.encode({**claims, **changes}, "somebody else's key of 32 bytes or more")

    return make


UNAUTHENTICATED = [
    Row("no token", authorized(), "AuthenticationFailed", MISSING),
    Row("no token and no CSR", lambda c: replace(c, authorization=(), csr="x"), "AuthenticationFailed", MISSING),
    Row("empty bearer", authorized("Bearer "), "AuthenticationFailed", "the bearer token is empty"),
    Row("the prefix alone", authorized("Bearer"), "AuthenticationFailed", MISSING),
    Row("lower-case prefix", prefixed("bearer "), "AuthenticationFailed", MISSING),
    Row("two blanks after the prefix", prefixed("Bearer  "), "AuthenticationFailed", NOT_JWT),
    Row("Basic", authorized("Basic dXNlcjpwYXNzd29yZA=="), "AuthenticationFailed", MISSING),
    Row("garbage", authorized("Bearer !?garbage"), "AuthenticationFailed", NOT_JWT),
    Row("1 MB of garbage", authorized("Bearer " + "x" * 1_000_000), "AuthenticationFailed", "1000000 characters"),
    Row("17 KB of a JWT's letters", token(lambda t: t + "A" * 17000), "AuthenticationFailed", "characters; 16384"),
    Row("a blank inside", token(lambda t: t.replace(".", " .", 1)), "AuthenticationFailed", NOT_JWT),
    Row("claims are no JSON", token(lambda t: "e30.AAAA.AAAA"), "AuthenticationFailed", "claims are not JSON"),
    Row("claims are a list", token(lambda t: "e30.W10.AAAA"), "AuthenticationFailed", "not a JSON object"),
    Row("long expired", token(_claims(exp=1_600_000_000)), "AuthenticationFailed", "the token expired at 2020-"),
    Row("wrong audience", token(_claims(aud=["vault"])), "AuthenticationFailed", "the token is for ['vault']"),
    Row("wrong signature", token(_claims(sub="x")), "AuthenticationFailed", "development token: Invalid"),
    Row("unsigned", token(lambda t: t.rpartition(".")[0] + ".AAAA"), "AuthenticationFailed", "development token: "),
    Row("unknown cluster", clusters("elsewhere"), "AuthenticationFailed", "unknown cluster 'elsewhere'"),
    Row("odd cluster", clusters("a b'\"\\"), "AuthenticationFailed", "unknown cluster"),
    Row("100 KB of cluster", clusters("x" * 100_000), "AuthenticationFailed", "unknown cluster 'xxx"),
    Row(
        "impersonation",
        hints(ImpersonatedIdentity="spiffe://cluster.local/ns/a/sa/b"),
        "ImpersonationDenied",
        "asked to act for 'spiffe://cluster.local/ns/a/sa/b'",
    ),
    Row(
        "impersonation of oneself",
        hints(ImpersonatedIdentity="spiffe://cluster.local/ns/payments/sa/api"),
        "ImpersonationDenied",
        "is no trusted node account",
    ),
    Row("500 KB of impersonation", hints(ImpersonatedIdentity="x" * 500_000), "ImpersonationDenied", "to act for 'xxx"),
]
REFUSED = [
    Row("a signer without a route", hints(CertSigner="vault"), "NoRoute", "with CertSigner 'vault'"),
    Row("500 KB of signer", hints(CertSigner="x" * 500_000), "NoRoute", "with CertSigner 'xxx"),
    Row("a signer of odd characters", hints(CertSigner="a\n\u2028\0"), "NoRoute", "CertSigner 'a\\n\\u2028\\x00'"),
    Row("500 KB of CSR", lambda c: replace(c, csr=c.csr + "x" * 500_000), "CsrMalformed", "are allowed"),
]
ODD_BUT_GOOD = [
    Row("Bearer is the second value", lambda c: replace(c, authorization=("Basic eDp5", *c.authorization))),
    Row("a bad Bearer is the second one", lambda c: replace(c, authorization=(*c.authorization, "Bearer bad"))),
    Row("cluster given twice", clusters("elsewhere", "Kubernetes")),
    Row("no cluster", clusters()),
    Row("empty cluster", clusters("")),
    Row("lifetime 0", ttl(0)),
    Row("lifetime -1", ttl(-1)),
    Row("lifetime -2^63", ttl(-(2**63))),
    Row("lifetime 2^63-1", ttl(2**63 - 1)),
    Row("signer empty", hints(CertSigner="")),
    Row("signer a number", hints(CertSigner=1.5)),
    Row("signer not a finite number", hints(CertSigner=float("nan"))),
    Row("signer a list", hints(CertSigner=["vault"])),
    Row("signer a struct", hints(CertSigner={"name": "vault"})),
    Row("signer null", hints(CertSigner=None)),
    Row("signer a bool", hints(CertSigner=True)),
    Row("impersonation empty", hints(ImpersonatedIdentity="")),
    Row("impersonation a list", hints(ImpersonatedIdentity=["spiffe://cluster.local/ns/a/sa/b"])),
    Row("impersonation a number", hints(ImpersonatedIdentity=1)),
    Row("unknown hints", hints(Else="x", **{"": "y", "certsigner": "vault"})),
]


def _with_csr(text: str) -> Callable[[Call], Call]:
    return lambda call: replace(call, csr=text)


def csr_rows() -> list[Row]:
    """The corpus, each case through the wire. Where it gives no reason, versions of the library differ in theirs."""
    return [
        Row(f"CSR {case.name}", _with_csr(case.make()), case.verdict.__name__, case.reason or "the CSR")
        if case.verdict
        else Row(f"CSR {case.name}", _with_csr(case.make()))
        for case in CSRS
    ]


ROWS = [*UNAUTHENTICATED, *REFUSED, *ODD_BUT_GOOD, *csr_rows()]
REVIEW_ROWS = [
    ReviewRow("expired an hour ago", lambda r: r.expired(3600), "the token expired at"),
    # The API server itself is lenient for 60 s.
    ReviewRow("expired 65 s ago", lambda r: r.expired(65), "the token expired at"),
    ReviewRow("audience of somebody else", lambda r: r.pod_token(["vault"]), "the token is for ['vault']"),
    ReviewRow("audience of the API server", lambda r: r.account_token(), "the token is for ['https://"),
    ReviewRow("no audience", lambda r: r.resigned(aud=None), "TokenReview: "),
    ReviewRow("of a deleted pod", lambda r: r.token_of_deleted_pod(), "TokenReview: "),
    ReviewRow("of a pod that was made anew", lambda r: r.token_of_remade_pod(), "TokenReview: "),
    ReviewRow("of a deleted account", lambda r: r.token_of_deleted_account(), "TokenReview: "),
    ReviewRow("of a user", lambda r: r.administrator(), NOT_JWT),
    ReviewRow("of another issuer", lambda r: r.resigned(iss="https://elsewhere"), "TokenReview: "),
    ReviewRow("signature cut", lambda r: r.cut(), "TokenReview: "),
    ReviewRow("not valid yet", lambda r: r.not_yet(), "TokenReview: "),
]
