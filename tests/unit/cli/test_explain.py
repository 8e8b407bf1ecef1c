"""``istio-signer explain``: labels of a pod that need not exist."""

import json
from pathlib import Path

import pytest

from signer.cli.main import main

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


def test_labels_of_a_token_are_its_pods(config: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*config, "--token-file", "/none", "--pod-label", "a=b"]) == 2
    assert "--pod-label goes with --identity" in capsys.readouterr().err
