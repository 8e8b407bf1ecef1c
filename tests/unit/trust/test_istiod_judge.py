"""What is done about istiod's Secret, by what is in it."""

from base64 import b64encode
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from signer.core.chain import TrustBundle
from signer.trust.istiod.judge import REASONS, Act, Verdict, Wanted, judge
from signer.trust.istiod.secret import Manifest, names
from tests.corpus.answers import intermediate, root
from tests.support.clock import DAY, HOUR, NOW, SECOND
from tests.support.pki import key, key_pem, make_ca
from tests.unit.trust.istiod_scene import BUNDLE, DNS, WANTED, Found

OTHER = make_ca("other")
ADOPTING = replace(WANTED, adopt=True)
DUE, END = NOW + DAY / 2, NOW + DAY
Case = tuple[Manifest | None, Wanted, TrustBundle, datetime, Act, str]


def case(
    secret: Manifest | None,
    act: Act,
    why: str,
    wanted: Wanted = WANTED,
    bundle: TrustBundle = BUNDLE,
    now: datetime = NOW,
) -> Case:
    """A row, with what is as usual left out."""
    return secret, wanted, bundle, now, act, why


def _b64(data: bytes) -> str:
    return b64encode(data).decode()


_NEW_ROOT = BUNDLE.union(TrustBundle.of([OTHER.certificate]))
TABLE: dict[str, Case] = {
    "good": case(Found().manifest(), Act.KEEP, ""),
    "names in another order": case(Found(dns=DNS[::-1]).manifest(), Act.KEEP, ""),
    "a second before it is due": case(Found().manifest(), Act.KEEP, "", now=DUE - SECOND),
    "missing": case(None, Act.ISSUE, "there is none"),
    "due": case(Found().manifest(), Act.ISSUE, "it was due for renewal at 2025-06-02T00:00:00", now=DUE),
    "due by another ratio": case(
        Found().manifest(), Act.ISSUE, "it was due", replace(WANTED, grace_ratio=0.75), now=NOW + DAY / 4
    ),
    "ended": case(Found().manifest(), Act.ISSUE, "it ended at 2025-06-02T12:00:00", now=END),
    "a name missing": case(Found(dns=DNS[:1]).manifest(), Act.ISSUE, "it names 'istiod.istio-system.svc' instead of"),
    "a name too many": case(Found(dns=(*DNS, "evil.example")).manifest(), Act.ISSUE, "'evil.example' instead of"),
    "no names": case(Found(dns=()).manifest(), Act.ISSUE, "it names nobody instead of"),
    "another key": case(Found(certified=key("p256/else")).manifest(), Act.ISSUE, "tls.key is not the key of tls.crt"),
    "another kind of key": case(
        Found(key=key("rsa2048")).manifest(), Act.ISSUE, "its key is RSA-2048, configured is P-256"
    ),
    "the kind of key that is wanted": case(
        Found(key=key("rsa2048")).manifest(), Act.KEEP, "", replace(WANTED, key_type="RSA-2048")
    ),
    "another root": case(
        Found(issuer=OTHER, above=()).manifest(), Act.ISSUE, "it is not under the trust bundle of now: path: "
    ),
    "its root has left": case(
        Found().manifest(), Act.ISSUE, "it is not under the trust bundle", bundle=TrustBundle.of([OTHER.certificate])
    ),
    "an intermediate that is missing": case(Found(above=()).manifest(), Act.ISSUE, "it is not under the trust bundle"),
    "a root has joined": case(
        Found().manifest(), Act.UPDATE, "ca.crt is not the trust bundle of now", bundle=_NEW_ROOT
    ),
    "ca.crt differs": case(Found(roots="").manifest(), Act.UPDATE, "ca.crt is not the trust bundle of now"),
    "ca.crt missing": case(Found().manifest(ca_crt=None), Act.UPDATE, "ca.crt is not the trust bundle of now"),
    "ca.crt not base64": case(Found().manifest(ca_crt="%"), Act.UPDATE, "ca.crt is not the trust bundle of now"),
    "due, and a root has joined": case(Found().manifest(), Act.ISSUE, "it was due", bundle=_NEW_ROOT, now=DUE),
    "no data": case({**Found().manifest(), "data": None}, Act.ISSUE, "tls.crt holds no PEM certificate"),
    "no certificate": case(Found().manifest(tls_crt=None), Act.ISSUE, "tls.crt holds no PEM certificate"),
    "not base64": case(Found().manifest(tls_crt="%"), Act.ISSUE, "tls.crt holds no PEM certificate"),
    "no key": case(Found().manifest(tls_key=None), Act.ISSUE, "tls.key: holds no usable"),
    "rubbish for a key": case(Found().manifest(tls_key=_b64(b"hunter2")), Act.ISSUE, "tls.key: holds no usable"),
    "a weak key": case(
        Found().manifest(tls_key=_b64(key_pem(key("rsa1024")))), Act.ISSUE, "tls.key: the key must be RSA"
    ),
    "somebody else's": case(Found(ours=False).manifest(), Act.LEAVE, "it has no label app.kubernetes.io/managed-by"),
    "somebody else's, and bad": case(Found(ours=False, dns=()).manifest(), Act.LEAVE, "it has no label"),
    "somebody else's, and due": case(Found(ours=False).manifest(), Act.LEAVE, "it has no label", now=DUE),
    "adopted, good": case(Found(ours=False).manifest(), Act.UPDATE, "it is taken over", ADOPTING),
    "adopted, bad": case(Found(ours=False, dns=()).manifest(), Act.ISSUE, "it names nobody", ADOPTING),
    "adopted, once labelled": case(Found().manifest(), Act.KEEP, "", ADOPTING),
}


@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE.keys())
def test_judge(row: Case) -> None:
    """The table."""
    secret, wanted, bundle, now, act, why = row
    verdict = judge(secret, wanted, bundle, now)
    assert verdict.act is act
    assert why in verdict.why if why else not verdict.why
    assert "hunter2" not in verdict.why


def test_a_good_one_has_its_moments() -> None:
    """The same for every replica: no chance in it."""
    assert judge(Found().manifest(), WANTED, BUNDLE, NOW) == Verdict(Act.KEEP, "", DUE, END)


@pytest.mark.parametrize("name", ["due", "a root has joined", "adopted, good"])
def test_one_that_still_serves_has_its_moments_too(name: str) -> None:
    """For how loud a failure is."""
    secret, wanted, bundle, now, *_ = TABLE[name]
    verdict = judge(secret, wanted, bundle, now)
    assert (verdict.due, verdict.end) == (DUE, END)


@pytest.mark.parametrize("name", ["missing", "ended", "a name missing", "its root has left", "no key"])
def test_one_that_is_of_no_use_has_none(name: str) -> None:
    """Nothing serves."""
    secret, wanted, bundle, now, *_ = TABLE[name]
    verdict = judge(secret, wanted, bundle, now)
    assert (verdict.due, verdict.end) == (None, None)


BREAKS: dict[str, Manifest] = {
    "key": Found(certified=key("p256/else")).manifest(),
    "key-type": Found(key=key("rsa2048")).manifest(),
    "names": Found(dns=()).manifest(),
    "end": Found(window=(NOW - DAY, NOW)).manifest(),
    "path": Found(issuer=OTHER).manifest(),
}


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_counts(reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each alone: without it, what only it sees is kept, except where time or trust would catch it a second later."""
    assert judge(BREAKS[reason], WANTED, BUNDLE, NOW).act is Act.ISSUE
    if reason == "end":
        return
    monkeypatch.delitem(REASONS, reason)
    assert judge(BREAKS[reason], WANTED, BUNDLE, NOW).act is Act.KEEP


@pytest.mark.parametrize(
    ("revisions", "extra", "dns"),
    [
        (["default"], [], ("istiod.mesh.svc",)),
        (["canary"], [], ("istiod-canary.mesh.svc",)),
        (["default", "1-28-0"], ["istiod.example"], ("istiod.mesh.svc", "istiod-1-28-0.mesh.svc", "istiod.example")),
        (["a", "a"], ["istiod-a.mesh.svc"], ("istiod-a.mesh.svc",)),
        ([], ["only.example"], ("only.example",)),
    ],
)
def test_names(revisions: list[str], extra: list[str], dns: tuple[str, ...]) -> None:
    """One Service per revision."""
    assert names("mesh", revisions, extra).dns == dns


def test_an_intermediate_that_ends_first() -> None:
    """A chain is as good as the first of its certificates to end."""
    short = make_ca("short", root(), window=(NOW - DAY, NOW + HOUR))
    secret = Found(issuer=short).manifest()
    assert judge(secret, WANTED, BUNDLE, NOW).act is Act.KEEP
    verdict = judge(secret, WANTED, BUNDLE, NOW + 2 * HOUR)
    assert verdict.why.startswith("it is not under the trust bundle of now")


def test_clocks_that_differ() -> None:
    """A certificate that begins in a second's time is no reason for another one."""
    window = (NOW + timedelta(seconds=1), NOW + DAY)
    assert judge(Found(window=window, issuer=intermediate()).manifest(), WANTED, BUNDLE, NOW).act is Act.KEEP
