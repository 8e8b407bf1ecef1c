"""Keys that do not go together with keys of other sections: complained of at the line that is to be changed."""

from pathlib import Path

import pytest

from signer.config.complaints import BadConfig
from signer.config.load import Loaded, load
from tests.unit.config.test_load import settings_of

GOOD = "backends:\n  local: {type: fake, directory: /ca}\n"
TWO = "clusters:\n  - {id: a, aliases: [b, c]}\n  - {id: d}\n"
MTLS = "listen: {mtls: '0.0.0.0:15013'}\n"


def _load(place: Path, text: str, environment: dict[str, str] | None = None) -> Loaded:
    path = place / "signer.yaml"
    path.write_text(GOOD + text)
    return load(path, settings_of, environment or {})


def _said(place: Path, text: str, environment: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(BadConfig) as refusal:
        _load(place, text, environment)
    return [complaint.replace(f"{place}/", "") for complaint in refusal.value.complaints]


_TWICE = "two clusters have the same id or alias: "
_NO_ID = "'b' is an alias of 'a': write 'a'"
WRONG: dict[str, tuple[str, str]] = {
    "two ids": ("clusters:\n  - {id: a}\n  - {id: a}\n", f"signer.yaml:5: clusters.1.id: {_TWICE}'a'"),
    "id and alias": (
        "clusters:\n  - {id: a}\n  - {id: b, aliases: [c, a]}\n",
        f"signer.yaml:5: clusters.1.aliases.1: {_TWICE}'a'",
    ),
    "two aliases": (
        "clusters:\n  - {id: a, aliases: [c]}\n  - {id: b, aliases: [c]}\n",
        f"signer.yaml:5: clusters.1.aliases.0: {_TWICE}'c'",
    ),
    "an alias of its own": ("clusters:\n  - {id: a, aliases: [a]}\n", f"clusters.0.aliases.0: {_TWICE}'a'"),
    "a rule's": (
        f"{TWO}rules:\n  - {{effect: allow}}\n  - {{effect: deny, clusters: ['d*', b]}}\n",
        f"signer.yaml:8: rules.1.clusters.1: {_NO_ID}",
    ),
    "a route's": (
        f"{TWO}routes:\n  - {{backends: [local], match: {{clusters: [b]}}}}\n",
        f"signer.yaml:7: routes.0.match.clusters.0: {_NO_ID}",
    ),
    "a root's": (
        f"{TWO}trust:\n  roots:\n    - {{file: /r, clusters: [b]}}\n",
        f"signer.yaml:8: trust.roots.0.clusters.0: {_NO_ID}",
    ),
    "an age without its port": (
        "authentication:\n  certificate_age: 1h\n",
        "signer.yaml:4: authentication.certificate_age: it is for renewals by certificate: set listen.mtls too",
    ),
    "quotas that are not on": (
        "quotas: {identity: {rate: 1}, node: {burst: 2}}\n",
        "signer.yaml:3: quotas: identity, node have no effect: set enabled to true, or to false",
    ),
    "secrets that are not followed": (
        "remote_secrets:\n  namespace: mesh\n",
        "signer.yaml:3: remote_secrets: namespace has no effect: set enabled to true, or to false",
    ),
    "two ports in one": (
        "listen: {mtls: '0.0.0.0:15012'}\n",
        "signer.yaml:3: listen: two listeners have the same address: 0.0.0.0:15012",
    ),
    "the admin port": (
        "listen: {http: 'a:1', mtls: 'a:1'}\n",
        "signer.yaml:3: listen: two listeners have the same address: a:1",
    ),
}


@pytest.mark.parametrize(("text", "complaint"), WRONG.values(), ids=WRONG)
def test_wrong(text: str, complaint: str, tmp_path: Path) -> None:
    (said,) = _said(tmp_path, text)
    assert said.endswith(complaint)


def test_a_variable_is_named(tmp_path: Path) -> None:
    variable = "ISTIO_SIGNER_AUTHENTICATION_CERTIFICATE_AGE"
    (said,) = _said(tmp_path, "", {variable: "1h"})
    assert said.startswith(f"environment: {variable}: authentication.certificate_age: it is for renewals")


def test_a_name_that_breaks_lines_is_quoted_safely(tmp_path: Path) -> None:
    name = "x\\n" + "y" * 5000
    (said,) = _said(tmp_path, f'clusters: [{{id: "{name}"}}, {{id: "{name}"}}]\n')
    assert said.isprintable()
    assert len(said) < 250


GOOD_ONES: dict[str, str] = {
    "ids": f"{TWO}rules: [{{effect: deny, clusters: [a, d, '*', 'b?', elsewhere]}}]\n",
    "an age with its port": f"{MTLS}authentication: {{certificate_age: 1h}}\n",
    "quotas that are on": "quotas: {enabled: true, identity: {rate: 1}}\n",
    "quotas off on purpose": "quotas: {enabled: false, identity: {rate: 1}}\n",
    "secrets that are followed": "remote_secrets: {enabled: true, namespace: mesh, tokens: offline}\n",
    "secrets off on purpose": "remote_secrets: {enabled: false, tokens: offline}\n",
    "nothing given": "remote_secrets: {}\nquotas: {}\n",
    "ports of the kernel's choice": "listen: {grpc: 'a:0', http: 'a:0', mtls: 'a:0'}\n",
    "one port on two addresses": "listen: {grpc: 'a:1', http: 'b:1', mtls: 'c:1'}\n",
}


@pytest.mark.parametrize("text", GOOD_ONES.values(), ids=GOOD_ONES)
def test_good(text: str, tmp_path: Path) -> None:
    assert _load(tmp_path, text).config.backends
