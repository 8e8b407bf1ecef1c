"""What is shipped works without the repository: the wheel alone, in an empty environment."""

import zipfile
from pathlib import Path

import pytest

from tests.e2e.command import Done, istio_signer
from tests.e2e.process import SignerProcess
from tests.e2e.wheel import Installed, build_wheel, install

pytestmark = pytest.mark.timeout(600)

IDENTITY = "spiffe://cluster.local/ns/shop/sa/front"
LOOPBACK = ("--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree."""
    return build_wheel(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """An environment with that wheel."""
    return install(wheel, tmp_path_factory.mktemp("installed") / "venv")


def run(installed: Installed, folder: Path, *arguments: str | Path) -> Done:
    """Run its command, away from the repository."""
    return istio_signer(*arguments, program=installed.program, cwd=folder, variables={"PYTHONPATH": ""})


def test_contents(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}

    assert {top for top in tops if not top.endswith(".dist-info")} == {"signer", "backends"}
    assert {"signer/cli/main.py", "backends/local/backend.py", "signer/_pb/security/v1alpha1/ca_pb2.py"} <= set(names)
    assert {"signer/py.typed", "backends/py.typed"} <= set(names)
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert not [name for name in names if "test" in name.lower() or name.endswith(".pyc")]


def test_metadata(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = archive.read(name).decode()

    assert "\nName: istio-signer\n" in metadata
    assert "\nLicense-Expression: Apache-2.0\n" in metadata
    assert "\nRequires-Python: >=3.11\n" in metadata
    _, _, description = metadata.partition("\n\n")
    assert description.strip(), "the README is the package's page"


def test_help(installed: Installed, tmp_path: Path) -> None:
    done = run(installed, tmp_path, "--help")

    assert (done.code, done.err) == (0, "")
    assert "serve" in done.out


def test_development_server_and_request(installed: Installed, tmp_path: Path) -> None:
    ca = tmp_path / "ca"
    signer = SignerProcess(
        tmp_path,
        ["--development", "--directory", ca, *LOOPBACK],
        ca / "root-cert.pem",
        program=installed.program,
        variables={"PYTHONPATH": ""},
        cwd=tmp_path,
    )
    with signer:
        admin = f"http://127.0.0.1:{signer.http_port}"
        request = ("--address", signer.grpc, "--roots", signer.roots, "--identity", IDENTITY, "-o", "json")
        done = run(installed, tmp_path, "request", *request, "--development-token", admin)
        assert done.code == 0, done.err
        assert done.json()["identities"] == [IDENTITY]
        assert signer.terminate() == 0


def test_it_is_not_the_repository_that_runs(installed: Installed, tmp_path: Path) -> None:
    program = (str(installed.python), "-c", "import signer, backends; print(signer.__file__, backends.__file__)")
    done = istio_signer(program=program, cwd=tmp_path, variables={"PYTHONPATH": ""})

    assert done.code == 0, done.err
    assert all(Path(path).is_relative_to(installed.folder) for path in done.out.split())
