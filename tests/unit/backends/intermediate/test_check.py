"""A CA whose leaves come out shorter than allowed is told of, whatever the upstream."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from backends import spec
from backends.cert_manager.settings import CertManagerSettings, IssuerRef
from backends.intermediate.minting import IntermediateSettings
from backends.local.backend import LocalSettings
from backends.vault.settings import VaultIntermediateSettings, VaultSettings
from signer.core.spec import BackendContext
from tests.corpus.answers import root
from tests.support.ca_files import cacerts, mount
from tests.support.clock import FakeClock

HOUR = timedelta(hours=1)
PATH = "pki/root/sign-intermediate"


def settings(type_name: str, ttl: timedelta, folder: Path) -> Any:
    """Of one type, with a CA of that lifetime."""
    if type_name == "vault":
        plan = VaultIntermediateSettings(ttl=ttl, sign_path=PATH)
        return VaultSettings("https://vault:8200", mode="intermediate", intermediate=plan)
    if type_name == "local":
        mount(folder / "ca", cacerts(root(), [], [root()]))
        return LocalSettings(folder / "ca", mode="intermediate", intermediate=IntermediateSettings(ttl=ttl))
    return CertManagerSettings(IssuerRef("ca"), mode="intermediate", intermediate=IntermediateSettings(ttl=ttl))


CASES = [
    (IntermediateSettings().ttl, 24 * HOUR, 0.5, 0),
    (24 * HOUR, 24 * HOUR, 0.5, 1),
    (24 * HOUR, 12 * HOUR, 0.5, 0),
    (48 * HOUR, 24 * HOUR, 0.4, 1),
]


@pytest.mark.parametrize("type_name", ["local", "vault", "cert-manager"])
@pytest.mark.parametrize(("ttl", "max_ttl", "grace_ratio", "warnings"), CASES)
def test_leaves_that_come_out_shorter_than_allowed(
    ttl: timedelta, max_ttl: timedelta, grace_ratio: float, warnings: int, type_name: str, tmp_path: Path
) -> None:
    context = BackendContext("mine", FakeClock(), max_ttl=max_ttl, grace_ratio=grace_ratio)
    found = spec(type_name).check(settings(type_name, ttl, tmp_path), context)
    said = [(f.level, f.where) for f in found if "max_ttl" in f.text]
    assert said == [("warning", "backends.mine.intermediate.ttl")] * warnings


def test_it_says_what_to_take(tmp_path: Path) -> None:
    context = BackendContext("mine", FakeClock())
    (found,) = (f for f in spec("local").check(settings("local", 24 * HOUR, tmp_path), context) if "max_ttl" in f.text)
    assert "leaves of 12h only" in found.text
    assert "take 48h or more" in found.text


def test_in_direct_mode_there_is_nothing_to_say(tmp_path: Path) -> None:
    direct = replace(settings("local", HOUR, tmp_path), mode="direct")
    assert not [f for f in spec("local").check(direct, BackendContext("mine", FakeClock())) if "max_ttl" in f.text]
