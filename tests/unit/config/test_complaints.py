"""Complaints name what the value came from, and say what to write in our words."""

from pathlib import Path
from typing import Any

import pytest

from signer.config.complaints import BadConfig
from signer.config.load import load, variables

_FILE = """\
backends:
  a: {type: none}
certificates:
  default_ttl: 24h
clusters:
  - id: x
"""


def _no_type(kind: str) -> type[Any]:
    raise LookupError("no types here")


def _said(tmp_path: Path, text: str, environment: dict[str, str]) -> list[str]:
    path = tmp_path / "signer.yaml"
    path.write_text(text)
    with pytest.raises(BadConfig) as refusal:
        load(path, _no_type, environment)
    return [complaint.replace(f"{tmp_path}/", "") for complaint in refusal.value.complaints]


SOURCES: dict[str, tuple[dict[str, str], str]] = {
    "a value": (
        {"LIMITS_IN_FLIGHT": "x"},
        "environment: ISTIO_SIGNER_LIMITS_IN_FLIGHT: limits.in_flight: write a whole number, such as 8",
    ),
    "a list instead of the file's": (
        {"CLUSTERS": "[{id: 1}]"},
        "environment: ISTIO_SIGNER_CLUSTERS: clusters.0.id: write a text;",
    ),
    "a backend beside the file's": (
        {"BACKENDS": "{b: {}}"},
        "environment: ISTIO_SIGNER_BACKENDS: backends.b.type: say which type",
    ),
    "the file's backend beside another": ({"BACKENDS": "{b: {}}"}, "signer.yaml:2: backends.a.type: no types here"),
    "a key of the file's backend": (
        {"BACKENDS": "{a: {type: [x]}}"},
        "environment: ISTIO_SIGNER_BACKENDS: backends.a.type: say which type",
    ),
    "a section in part": (
        {"CERTIFICATES_MAX_TTL": "1h"},
        "signer.yaml:3, environment: ISTIO_SIGNER_CERTIFICATES_MAX_TTL: certificates: default_ttl is longer",
    ),
    "a section that the file has not": (
        {"SERVING_KEY_FILE": "/k"},
        "environment: ISTIO_SIGNER_SERVING_KEY_FILE: serving: certificate_file and key_file go together",
    ),
}


@pytest.mark.parametrize(("environment", "complaint"), SOURCES.values(), ids=SOURCES.keys())
def test_the_source_is_named(environment: dict[str, str], complaint: str, tmp_path: Path) -> None:
    """The file's line, or the variable, or both where a section is wrong as a whole."""
    said = _said(tmp_path, _FILE, {f"ISTIO_SIGNER_{name}": value for name, value in environment.items()})
    assert any(each.startswith(complaint) for each in said), said


_ODD = ("x", "-1", "1.5", "true", "null", "[]", "{}", "[[]]", "[{}]", "[1]", "{a: 1}", "{1: {}}")


@pytest.mark.parametrize("variable", [variable for variable, _ in variables()])
def test_plain_words(variable: str, tmp_path: Path) -> None:
    """Whatever is written wherever, the validation library's own words are not shown."""
    for complaint in [said for value in _ODD for said in _said(tmp_path, _FILE, {variable: value})]:
        for foreign in ("Input ", "should", "<class", "valid dictionary", "value is not", "Value error"):
            assert foreign not in complaint
