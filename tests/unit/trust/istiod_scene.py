"""Secrets of istiod as they may be found, each part of which may be wrong."""

from base64 import b64encode
from dataclasses import dataclass
from typing import Any

from cryptography import x509

from signer.core.chain import TrustBundle, pem
from signer.core.validity import Window
from signer.trust.istiod.judge import Wanted
from signer.trust.istiod.secret import MANAGED_BY, OURSELVES, Manifest, Place, names
from tests.corpus.answers import intermediate, root
from tests.support.clock import DAY, NOW
from tests.support.pki import Ca, Key, changed, key, key_pem, leaf_extensions, make_leaf, spki

PLACE = Place("istio-system", "istiod-tls")
WANTED = Wanted(names("istio-system", ["default", "canary"]), 0.5)
BUNDLE = TrustBundle.of([root().certificate])
DNS = ("istiod.istio-system.svc", "istiod-canary.istio-system.svc")
WINDOW: Window = (NOW, NOW + DAY)


@dataclass(frozen=True, slots=True)
class Found:
    """What makes up a Secret."""

    dns: tuple[str, ...] = DNS
    issuer: Ca | None = None
    above: tuple[Ca, ...] | None = None
    window: Window = WINDOW
    key: Key | None = None
    certified: Key | None = None
    roots: str = BUNDLE.pem
    ours: bool = True

    def manifest(self, **data: Any) -> Manifest:
        """As the API server gives it; ``data`` replaces raw values, where ``_`` stands for the dot."""
        own = self.key or key("p256/istiod")
        san = x509.SubjectAlternativeName([x509.DNSName(n) for n in self.dns])
        extensions = changed(leaf_extensions("spiffe://x"), (san, True))
        issuer = self.issuer or intermediate()
        leaf = make_leaf(issuer, spki(self.certified or own), extensions, window=self.window)
        above = (issuer,) if self.above is None else self.above
        chain = pem(leaf) + "".join(pem(ca.certificate) for ca in above)
        plain = {"tls.crt": chain.encode(), "tls.key": key_pem(own), "ca.crt": self.roots.encode()}
        raw = {name: b64encode(value).decode() for name, value in plain.items()}
        raw |= {name.replace("_", "."): value for name, value in data.items()}
        labels = {MANAGED_BY: OURSELVES} if self.ours else {"app": "x"}
        metadata = {"name": PLACE.name, "namespace": PLACE.namespace, "labels": labels, "resourceVersion": "7"}
        kept = {name: value for name, value in raw.items() if value is not None}
        return {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": metadata, "data": kept}
