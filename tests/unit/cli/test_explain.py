"""``istio-signer explain``: labels of a pod that need not exist."""

import json
from pathlib import Path

import pytest

from signer.cli.main import main
from tests.server import cas
from tests.support.kubeconfig import kubeconfig
from tests.support.pki import Ca, key, leaf_extensions, make_leaf, spki

CONFIG = """
backends: {a: {type: local, directory: /ca}}
routes:
  - {name: gold, match: {pod_labels: {tier: "gold*"}}, backends: [a]}
  - {name: rest, backends: [a]}
"""
_IDENTITY = ["--identity", "spiffe://cluster.local/ns/shop/sa/cart"]


@pytest.fixture
def config(tmp_path: Path) -> list[str]:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return ["explain", "--config", str(path)]


@pytest.mark.parametrize(
    ("labels", "route"), [(["tier=golden", "a="], "gold"), (["tier=tin"], "rest"), (["tier="], "rest"), ([], "rest")]
)
def test_labels(config: list[str], labels: list[str], route: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = [part for label in labels for part in ("--pod-label", label)]
    assert main([*config, *_IDENTITY, *options, "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["route"] == route
    assert main([*config, *_IDENTITY, *options]) == 0
    text = capsys.readouterr().out
    assert ("assumed, with" in text) is bool(labels)


@pytest.mark.parametrize("label", ["tier", "=gold", ""])
def test_what_is_no_label(config: list[str], label: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*config, *_IDENTITY, "--pod-label", label]) == 2
    assert "--pod-label: write KEY=VALUE" in capsys.readouterr().err


RULES = """
rules:
  - {name: vms, effect: allow, methods: [client-certificate]}
  - {name: shop, effect: allow, namespaces: [shop], methods: [token-review]}
"""


@pytest.mark.parametrize(
    ("proven", "code", "said"),
    [
        (["--proven-by", "client-certificate"], 0, "rule 'vms' allows"),
        (["--proven-by", "token-review"], 0, "rule 'shop' allows"),
        (["--proven-by", "offline"], 1, "PERMISSION_DENIED (PolicyDenied): no rule allows"),
        ([], 1, "by assumed"),
    ],
)
def test_rules(config: list[str], proven: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(config[2]).write_text(CONFIG + RULES)
    assert main([*config, *_IDENTITY, *proven]) == code
    told = capsys.readouterr()
    assert said in told.out + told.err


def test_the_deny_list_counts(config: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deny = tmp_path / "deny.yaml"
    deny.write_text(f"[{{identity: {_IDENTITY[1]}, reason: left}}]")
    Path(config[2]).write_text(CONFIG + f"deny: {{file: {deny}}}\n")
    assert main([*config, *_IDENTITY]) == 1
    assert "PolicyDenied" in capsys.readouterr().err


def _certificate(place: Path, uri: str) -> Path:
    """A leaf of the CA in a directory, with its intermediate."""
    directory = cas.init(place / "ca")
    issuer = cas.issuer(directory)
    window = cas.around_now()
    leaf = Ca(make_leaf(issuer, spki(key("p256/client")), leaf_extensions(uri), window=window), key("p256/client"))
    chain = place / "chain.pem"
    chain.write_bytes(leaf.pem + issuer.pem)
    return chain


@pytest.mark.parametrize(
    ("domain", "code", "said"), [("cluster.local", 0, "client certificate, serial"), ("other", 1, "trust domain")]
)
def test_a_client_certificate(
    tmp_path: Path, domain: str, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    chain = _certificate(tmp_path, f"spiffe://{domain}/ns/shop/sa/cart")
    config = tmp_path / "config.yaml"
    cluster = kubeconfig(tmp_path / "kubeconfig", "http://127.0.0.1:1", "t")
    config.write_text(
        f"backends: {{a: {{type: local, directory: {tmp_path}/ca}}}}\n"
        f"listen: {{mtls: '127.0.0.1:0'}}\nclusters: [{{id: k, kubeconfig: {cluster}}}]\n"
    )
    assert main(["explain", "--config", str(config), "--certificate-file", str(chain)]) == code
    told = capsys.readouterr()
    assert said in told.out + told.err


@pytest.mark.parametrize(
    ("options", "said"),
    [(["--cluster-id", "k"], "--cluster-id goes with a token"), (["--impersonate", "x"], "goes with --token-file")],
)
def test_what_means_nothing_with_a_certificate(
    options: list[str], said: str, config: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG + "listen: {mtls: '127.0.0.1:0'}\n")
    assert main([*config, "--certificate-file", "/none", *options]) == 2
    assert said in capsys.readouterr().err


def test_labels_of_a_token_are_its_pods(config: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*config, "--token-file", "/none", "--pod-label", "a=b"]) == 2
    assert "--pod-label goes with --identity" in capsys.readouterr().err
