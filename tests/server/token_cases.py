"""One table of tokens that TokenReview and offline mode must agree on, and the few that they do not agree on.

Most are such as only the owner of the API server's key could make: no rule may hang on another one's being there.
"""

from dataclasses import dataclass

from cryptography.hazmat.primitives.serialization import Encoding

from tests.cluster import tokens
from tests.server import token_makers as made
from tests.server.running import ACCOUNT, NAMESPACE
from tests.server.token_makers import Make, at, bound, claims, foreign, header, header_text, part, payload, text

NOT_JWT, NO_CLAIMS, FOR = "the bearer token is not a JWT", "the bearer token's claims are not JSON", "the token is for "
O, TWICE = "offline token: ", "not JSON, or a name occurs twice"  # noqa: E741
ALG, SIGNATURE, CRIT = f"{O}alg: ", f"{O}signature: ", f"{O}crit: "
KID, SHAPE, SECONDS = f"{O}kid: ", f"{O}shape: not base64url", "not a whole number of seconds"
EXPIRED, REVIEW = "the token expired at ", "TokenReview: "
SUBJECT = f"system:serviceaccount:{NAMESPACE}:"


@dataclass(frozen=True, slots=True)
class Case:
    """One token.

    Attributes:
        good: Whether it gets a certificate, in either mode.
        reason: A part of the reason in offline mode, where it is bad.
    """

    name: str
    make: Make
    good: bool = False
    reason: str = ""

    def __str__(self) -> str:
        return self.name


GOOD = [
    Case("pod", lambda r: r.pod_token(), True),
    Case("several audiences", lambda r: r.pod_token(["istio-ca", "other"]), True),
    Case("signed again", claims(), True),
    Case("audience as a text", claims(aud="istio-ca"), True),
    Case("expired 45 s ago", lambda r: r.expired(45), True),
    Case("from in 45 s", at(nbf=45), True),
    Case("issued in 45 s", at(iat=45), True),
    Case("issued ten minutes ago", at(iat=-600, nbf=-600), True),
    Case("10 KB more", claims(extra="x" * 10_000), True),
    Case("500 more claims", claims(**{f"x{n}": n for n in range(500)}), True),
    Case("blanks and newlines in the JSON", payload(lambda c: f"\n {c} \r\n\t"), True),
    Case("escapes in the JSON", payload(lambda c: c.replace('"istio-ca"', '"\\u0069stio-ca"')), True),
    Case("typ JWT", header(typ="JWT"), True),
    Case("no node", bound(node=None), True),
    Case("another node uid", bound(node={"name": "node-1", "uid": "another"}), True),
    Case("warnafter", bound(warnafter=1), True),
    Case("no pod", made.account_token, True),
    Case("bound to a Secret", made.bound_to("Secret"), True),
    Case("bound to a Node", made.bound_to("Node"), True),
    Case("legacy, for istio-ca", made.legacy(["istio-ca"]), True),
]
AUDIENCE = [
    Case("other audience", lambda r: r.pod_token(["other"]), reason=FOR),
    Case("no audience", claims(aud=None), reason=f"{O}aud: "),
    Case("empty audience", claims(aud=[]), reason=f"{O}aud: "),
    Case("audience in upper case", claims(aud=["ISTIO-CA"]), reason=FOR),
    Case("audience with a blank", claims(aud=["istio-ca "]), reason=FOR),
    Case("audience with a newline", claims(aud=["istio-ca\n"]), reason=FOR),
    Case("audience of look-alikes", claims(aud=["ist\u0456o-ca"]), reason=FOR),
    Case("audience in a list in a list", claims(aud=[["istio-ca"]]), reason=FOR),
    Case("audience beside a number", claims(aud=["istio-ca", 1]), reason=f"{O}aud: "),
    Case("audience a number", claims(aud=1), reason=f"{O}aud: "),
    Case("audience an object", claims(aud={"istio-ca": True}), reason=f"{O}aud: "),
    Case("for the API server", lambda r: r.account_token(), reason=FOR),
]
TIME = [
    Case("expired 65 s ago", lambda r: r.expired(65), reason=EXPIRED),
    Case("expired ten minutes ago", lambda r: r.expired(600), reason=EXPIRED),
    Case("of tomorrow", lambda r: r.not_yet(), reason=f"{O}nbf: in the future"),
    Case("from in 90 s", at(nbf=90), reason=f"{O}nbf: in the future"),
    Case("from in ten minutes", at(nbf=600), reason=f"{O}nbf: in the future"),
    Case("issued in 90 s", at(iat=90), reason=f"{O}iat: in the future"),
    Case("issued in ten minutes", at(iat=600), reason=f"{O}iat: in the future"),
    Case("no expiry", claims(exp=None), reason=f"{O}exp: {SECONDS}"),
    Case("expiry with a fraction", claims(exp=4e9 + 0.5), reason=f"{O}exp: {SECONDS}"),
    Case("expiry a text", claims(exp="4000000000"), reason=f"{O}exp: {SECONDS}"),
    Case("expiry true", claims(exp=True), reason=f"{O}exp: {SECONDS}"),
    Case("expiry after the year 9999", claims(exp=10**12), reason=f"{O}exp: {SECONDS}"),
    Case("expiry beyond 64 bits", claims(exp=2**64), reason=f"{O}exp: {SECONDS}"),
    Case("no nbf", claims(nbf=None), reason=f"{O}nbf: {SECONDS}"),
    Case("no iat", claims(iat=None), reason=f"{O}iat: {SECONDS}"),
    Case("nbf far below zero", claims(nbf=-(10**30)), reason=f"{O}nbf: {SECONDS}"),
]
WHO = [
    Case("other issuer", claims(iss="https://elsewhere.example"), reason=f"{O}iss: "),
    Case("issuer with a slash", claims(iss="https://kubernetes.default.svc/"), reason=f"{O}iss: "),
    Case("no issuer", claims(iss=None), reason=f"{O}iss: "),
    Case("no subject", claims(sub=None), reason=f"{O}sub: "),
    Case("subject of another account", claims(sub=f"{SUBJECT}other"), reason="serviceaccount: not that of sub"),
    Case("subject of another namespace", claims(sub="system:serviceaccount:a:api"), reason="namespace: not that of"),
    Case("subject with a newline", claims(sub=f"{SUBJECT}{ACCOUNT}\n"), reason=f"{O}sub: "),
    Case("jti a number", claims(jti=1), reason=f"{O}jti: "),
    Case("no kubernetes.io", claims(**{"kubernetes.io": None}), reason=f"{O}kubernetes.io: "),
    Case("kubernetes.io a list", claims(**{"kubernetes.io": [1]}), reason=f"{O}kubernetes.io: "),
    Case("another namespace", bound(namespace="default"), reason="namespace: not that of sub"),
    Case("another account", bound(serviceaccount={"name": "x", "uid": "u"}), reason="serviceaccount: not that of sub"),
    Case("another account's uid", bound(serviceaccount={"name": ACCOUNT, "uid": "u"}), reason="live: "),
    Case("another pod's name", bound(pod={"name": "nobody", "uid": "u"}), reason="live: "),
    Case("another pod's uid", bound(pod={"name": "api-1", "uid": "u"}), reason="live: "),
    Case("pod a text", bound(pod="api-1"), reason="kubernetes.io pod: "),
    Case("node's uid a number", bound(node={"name": "node-1", "uid": 1}), reason="kubernetes.io node uid: "),
    Case("warnafter a text", bound(warnafter="x"), reason="kubernetes.io warnafter: "),
    Case("a Secret's uid a number", bound(secret={"name": "x", "uid": 1}), reason="kubernetes.io secret: "),
    Case("a Secret of nobody", bound(secret={"name": "x", "uid": "u"}), reason=REVIEW),
    Case("deleted pod", lambda r: r.token_of_deleted_pod(), reason="live: "),
    Case("remade pod", lambda r: r.token_of_remade_pod(), reason="live: "),
    Case("deleted account", lambda r: r.token_of_deleted_account(), reason="live: "),
    Case("remade account", made.of_remade_account, reason="live: "),
    Case("deleted account without a pod", made.unpaired, reason=REVIEW),
    Case("bound to a deleted Secret", made.bound_to("Secret", gone=True), reason=REVIEW),
    Case("bound to a deleted Node", made.bound_to("Node", gone=True), reason=REVIEW),
    Case("legacy", made.legacy(None), reason=REVIEW),
    Case("administrator", lambda r: r.administrator(), reason=NOT_JWT),
]
HEADER = [
    Case("alg none", header(alg="none"), reason=ALG),
    Case("alg none and no signature", lambda r: header(alg="none")(r).rpartition(".")[0] + ".", reason=NOT_JWT),
    Case("alg in lower case", header(alg="rs256"), reason=ALG),
    Case("no alg", header(alg=None), reason=ALG),
    Case("HS256 by the public key's PEM", made.secret_as_hmac(Encoding.PEM), reason=ALG),
    Case("HS256 by the public key's DER", made.secret_as_hmac(Encoding.DER), reason=ALG),
    Case("ES256 over an RS256 signature", header(alg="ES256"), reason=ALG),
    Case("RS384 by the right key", header(alg="RS384"), reason=ALG),
    Case("RS512 by the right key", header(alg="RS512"), reason=ALG),
    Case("PS256 by the right key", header(alg="PS256"), reason=ALG),
    Case("no kid", header(kid=None), reason=KID),
    Case("empty kid", header(kid=""), reason=KID),
    Case("kid a number", header(kid=1), reason=KID),
    Case("kid of no key", header(kid="nowhere"), reason=KID),
    Case("kid a path", header(kid="../../../../dev/null"), reason=KID),
    Case("kid of 8 KB", header(kid="k" * 8000), reason=KID),
    Case("crit", header(crit=["exp"]), reason=CRIT),
    Case("b64 false", header(b64=False), reason=CRIT),
    Case("jku", header(jku="https://elsewhere.example/jwks"), reason=CRIT),
    Case("x5u", header(x5u="https://elsewhere.example/chain"), reason=CRIT),
    Case("jwk a number", header(jwk=1), reason=CRIT),
    Case("another's key in the header", foreign(jwk=made.FOREIGN_JWK), reason=CRIT),
    Case("another's key in the header alone", foreign(jwk=made.FOREIGN_JWK, kid=None), reason=CRIT),
    Case("another's key under the right kid", foreign(), reason=SIGNATURE),
    Case("another's key under its own kid", foreign(kid="mine"), reason=KID),
    Case("typ other", header(typ="at+jwt"), reason=f"{O}typ: "),
    Case("alg twice", header_text('{"alg":"none","alg":"RS256","kid":"KID"}'), reason=f"{O}header: {TWICE}"),
    Case("header a list", header_text('["RS256"]'), reason=f"{O}header: "),
]
BYTES = [
    Case("aud twice", payload(lambda c: '{"aud":["other"],' + c[1:]), reason=TWICE),
    Case("a name twice, deep", payload(lambda c: c[:-1] + ',"x":{"a":1,"a":2}}'), reason=TWICE),
    Case("iss in two cases", payload(lambda c: c[:-1] + ',"ISS":"https://elsewhere.example"}'), reason=TWICE),
    Case("nested 20 levels deep", payload(lambda c: c[:-1] + f',"x":{"[" * 20}{"]" * 20}}}'), reason="levels at most"),
    Case("not a number", payload(lambda c: c[:-1] + ',"x":NaN}'), reason=TWICE),
    Case("not UTF-8", payload(lambda c: c.encode()[:-1] + b',"x":"\xff"}'), reason=NO_CLAIMS),
    Case("UTF-16", payload(lambda c: c.encode("utf-16")), reason=TWICE),
    Case("a second JSON text", payload(lambda c: c + "{}"), reason=NO_CLAIMS),
    Case("payload a list", payload(lambda c: f"[{c}]"), reason="not a JSON object"),
    Case("payload a text", payload(lambda _: '"istio-ca"'), reason="not a JSON object"),
    Case("over 16 KiB", claims(extra="x" * 16_384), reason="16384 are allowed"),
    Case("cut signature", lambda r: r.cut(), reason=f"{O}s"),
    Case("no signature", part(2, lambda _: ""), reason=NOT_JWT),
    Case("signature of another token", lambda r: _spliced(r.pod_token(), r.pod_token(["x"])), reason=SIGNATURE),
    Case("header of another token", lambda r: _spliced(foreign(typ="JWT")(r), r.pod_token()), reason=SIGNATURE),
    Case("bits left over in the signature", part(2, tokens.with_bits_left_over), reason=SHAPE),
    Case("bits left over in the claims", lambda r: made.payload_with_bits_left_over(r, signed_so=False), reason=SHAPE),
    Case("the same, signed so", lambda r: made.payload_with_bits_left_over(r, signed_so=True), reason=SHAPE),
    Case("a letter more", text(lambda t: t + "A"), reason=f"{O}s"),
    Case("padding", text(lambda t: t + "=="), reason=NOT_JWT),
    Case("garbage behind", text(lambda t: t + "!"), reason=NOT_JWT),
    Case("a blank inside", text(lambda t: t.replace(".", ". ", 1)), reason=NOT_JWT),
    Case("a dot more", text(lambda t: t + "."), reason=NOT_JWT),
    Case("standard alphabet", part(2, lambda s: "+/" + s[2:]), reason=NOT_JWT),
    Case("five parts, as JWE", text(lambda t: f"{t}.AAAA.AAAA"), reason=NOT_JWT),
    Case("no token", lambda _: "abc", reason=NOT_JWT),
]
CASES = [*GOOD, *AUDIENCE, *TIME, *WHO, *HEADER, *BYTES]

# The API server does not look at these. It cannot be made to, and the signer has nothing else to know them by in
# review mode, where it neither follows pods nor may read them. But for the finished pod, none is of its making.
STRICTER = [
    Case("pod that has finished", made.of_finished_pod, reason="live: the pod has finished"),
    Case("pod of another account", made.with_pod_of_another_account, reason="live: the pod runs as another"),
    Case("pod on another node", bound(node={"name": "node-2", "uid": "u"}), reason="live: the token names node"),
]


def _spliced(one: str, other: str) -> str:
    """Header and claims of one under the signature of another."""
    return f"{one.rpartition('.')[0]}.{other.rpartition('.')[2]}"
