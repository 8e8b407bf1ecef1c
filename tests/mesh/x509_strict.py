"""OpenSSL's strict opinion of a `cert_chain` answer."""

import shutil
import subprocess
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import pytest

Purpose = Literal["sslserver", "sslclient"]

TIMEOUT_S = 30.0


def openssl_command() -> str:
    """Find the openssl program; without it the test is skipped, loudly."""
    found = shutil.which("openssl")
    if found is None:
        pytest.skip("NOT TESTED: no openssl on PATH. Install the system package openssl")
    return found


def verify_strict(chain: Sequence[str], purpose: Purpose, at: datetime | None = None) -> None:
    """Check an answer with `openssl verify -x509_strict`, at an aware time or now.

    Element 0 is the leaf, the last one holds all roots, those between are the intermediates.

    Raises:
        AssertionError: OpenSSL refuses the chain, for the reason in the text.
    """
    if len(chain) < 2:
        raise AssertionError(f"cert_chain has {len(chain)} element(s): no leaf, or no root")
    with TemporaryDirectory(prefix="x509-strict-") as name:
        command = _command(chain, Path(name))
        command += ["-purpose", purpose, *_time(at), str(Path(name) / "leaf.pem")]
        _run(command)


def _command(chain: Sequence[str], folder: Path) -> list[str]:
    """Write the files, and trust nothing but the chain's own roots."""
    leaf, *middle, roots = chain
    texts = {"leaf": leaf, "intermediates": "\n".join(middle), "roots": roots}
    files = {part: folder / f"{part}.pem" for part in texts}
    for part, text in texts.items():
        files[part].write_text(text)
    command = [openssl_command(), "verify", "-x509_strict", "-no-CApath", "-no-CAstore", "-CAfile", str(files["roots"])]
    # OpenSSL takes an empty file of untrusted certificates for an error.
    return [*command, "-untrusted", str(files["intermediates"])] if middle else command


def _time(at: datetime | None) -> list[str]:
    if at is None:
        return []
    if at.tzinfo is None:
        raise ValueError("verify_strict: the time has no zone")
    return ["-attime", str(int(at.timestamp()))]


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=TIMEOUT_S)
    if done.returncode != 0:
        raise AssertionError(f"openssl refuses the chain:\n{done.stdout.strip()}")
