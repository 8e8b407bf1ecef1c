"""What `check` says of files with extra roots: how many, what is left out, and what stands in the way."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from signer.cli.main import main
from signer.core.chain import fingerprint
from tests.server import cas
from tests.support import anchors
from tests.support.anchors import pems
from tests.support.kubeconfig import kubeconfig
from tests.support.pki import Ca, key, key_pem, make_ca


def _root(title: str) -> Ca:
    return make_ca(title, window=cas.around_now())


A, B = _root("a"), _root("b")


class Desk:
    """A configuration that is good but for its extra roots."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.directory, self.capsys = directory, capsys
        self.base = {
            "backends": {"local": {"type": "local", "directory": str(cas.init(directory / "ca"))}},
            "clusters": [
                {"id": "c", "kubeconfig": str(kubeconfig(directory / "kubeconfig", "https://127.0.0.1:1", "t"))}
            ],
        }

    def check(self, *files: bytes | None, distrust: tuple[str, ...] = ()) -> tuple[int, list[dict[str, Any]]]:
        """Check with these files: exit code, and the findings on them."""
        rules = []
        for index, data in enumerate(files):
            path = self.directory / f"{index}.pem"
            if data is not None:
                path.write_bytes(data)
            rules.append({"file": str(path)})
        config = self.directory / "config.yaml"
        config.write_text(yaml.safe_dump(self.base | {"trust": {"roots": rules, "distrust": list(distrust)}}))
        code = main(["check", "--config", str(config), "-o", "json"])
        findings = json.loads(self.capsys.readouterr().out)
        return code, [finding for finding in findings if finding["where"].startswith("trust")]

    def finding(self, level: str, text: str, index: int = 0) -> dict[str, str]:
        """On one file."""
        return {
            "level": level,
            "where": f"trust.roots.{index}.file",
            "text": f"{self.directory / f'{index}.pem'}: {text}",
        }


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    """A fresh one."""
    return Desk(tmp_path, capsys)


def test_good_files(desk: Desk) -> None:
    """Each is counted."""
    assert desk.check(A.pem, A.pem + B.pem) == (
        0,
        [desk.finding("ok", "1 root(s)"), desk.finding("ok", "2 root(s)", 1)],
    )
    assert desk.check() == (0, [])


def test_what_is_left_out(desk: Desk) -> None:
    """A warning for each, and nothing of a key."""
    bad, secret = anchors.not_a_ca(), key_pem(key("p256/secret"))
    code, findings = desk.check(pems([bad]) + A.pem + secret)
    assert (code, findings) == (
        0,
        [
            desk.finding("ok", "1 root(s)"),
            desk.finding("warning", "not trusted: block 3: it is no certificate but 'PRIVATE KEY'"),
            desk.finding("warning", f"not trusted: {fingerprint(bad)[:16]}: it is not a CA (RFC 5280 section 4.2.1.9)"),
        ],
    )


def test_what_is_distrusted(desk: Desk) -> None:
    """Both keys are the operator's, so one of them may be a mistake."""
    mark = fingerprint(A.certificate)
    _, findings = desk.check(A.pem + B.pem, distrust=(mark,))
    assert findings == [
        desk.finding("ok", "1 root(s)"),
        desk.finding("warning", f"not trusted: {mark[:16]}: trust.distrust names it"),
    ]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"", "holds no certificate that can be a root"),
        (key_pem(key("p256/secret")), "holds no certificate that can be a root; block 1: it is no certificate but"),
    ],
    ids=["missing", "empty", "key"],
)
def test_what_stands_in_the_way(desk: Desk, data: bytes | None, why: str) -> None:
    """The server would not start; the other files are judged all the same."""
    code, (bad, good) = desk.check(data, A.pem)
    assert code == 1
    assert bad["level"] == "error"
    assert bad["text"].startswith(desk.finding("error", why)["text"])
    assert good == desk.finding("ok", "1 root(s)", 1)
