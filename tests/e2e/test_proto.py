"""The generated code is what the .proto file says."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.command import ROOT

PROTO = "security/v1alpha1/ca.proto"


@pytest.mark.parametrize("name", ["ca_pb2.py", "ca_pb2.pyi"])
def test_checked_in_code_is_generated_from_the_proto(tmp_path: Path, name: str) -> None:
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I.", f"--python_out={tmp_path}", f"--pyi_out={tmp_path}"]
    done = subprocess.run([*command, PROTO], cwd=ROOT / "proto", capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr

    place = Path("security/v1alpha1") / name
    assert (ROOT / "signer/_pb" / place).read_bytes() == (tmp_path / place).read_bytes()
