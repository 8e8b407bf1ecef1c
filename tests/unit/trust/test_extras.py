"""Extra roots: in whose answers they are, and files that change, turn bad, go and come back."""

import asyncio
import logging
from pathlib import Path

import pytest

from signer.core.chain import TrustBundle, fingerprint
from signer.core.globs import Globs
from signer.trust import extras as module
from signer.trust.extras import MAX_ANSWERS, ExtraRoots, ExtraRootsUnusable, ExtraRule
from tests.support import anchors
from tests.support.anchors import pems
from tests.support.clock import FakeClock
from tests.support.pki import Ca, key, key_pem, make_ca
from tests.support.waiting import give_up

A, B, C, D = (make_ca(f"root {letter}") for letter in "abcd")


def bundle(*roots: Ca) -> TrustBundle:
    """Of these."""
    return TrustBundle.of(ca.certificate for ca in roots)


class Files:
    """Files of roots and the rules over them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.rules: list[ExtraRule] = []
        self.distrust: frozenset[str] = frozenset()
        self.told: list[str] = []

    def put(self, name: str, data: bytes) -> Path:
        """Write one."""
        path = self.directory / name
        path.write_bytes(data)
        return path

    def rule(self, name: str, *, clusters: tuple[str, ...] = (), namespaces: tuple[str, ...] = ()) -> None:
        """Add a rule."""
        self.rules.append(ExtraRule(self.directory / name, Globs(clusters), Globs(namespaces)))

    async def loaded(self) -> ExtraRoots:
        """Read for the first time."""
        extras = ExtraRoots(self.rules, FakeClock(), self.distrust)
        extras.on_change(lambda: self.told.append("changed"))
        await extras.load()
        self.told.clear()
        return extras


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """None yet."""
    return Files(tmp_path)


@pytest.mark.parametrize(
    ("clusters", "namespaces", "cluster", "namespace", "carries"),
    [
        ((), ("payments",), "c1", "payments", True),
        ((), ("payments",), "c1", "payments-eu", False),
        ((), ("pay*",), "c1", "payments-eu", True),
        ((), ("a", "b"), "c1", "b", True),
        (("c1",), (), "c1", "any", True),
        (("c1",), (), "c2", "any", False),
        (("c1",), ("payments",), "c1", "payments", True),
        (("c1",), ("payments",), "c1", "billing", False),
        (("c1",), ("payments",), "c2", "payments", False),
        ((), ("*",), "", "", True),
    ],
)
async def test_whose_answers(
    files: Files, clusters: tuple[str, ...], namespaces: tuple[str, ...], cluster: str, namespace: str, carries: bool
) -> None:
    """Both conditions must hold; nobody else gets it, in no other way either."""
    files.put("b", B.pem)
    files.rule("b", clusters=clusters, namespaces=namespaces)
    extras = await files.loaded()
    assert extras.extended(bundle(A), cluster, namespace) == (bundle(A, B) if carries else bundle(A))
    assert extras.common == ()


async def test_for_everybody(files: Files) -> None:
    """Without conditions it is part of the bundle, and answers need no more."""
    files.put("b", B.pem + C.pem)
    files.rule("b")
    extras = await files.loaded()
    assert extras.common == bundle(B, C).roots
    assert extras.extended(bundle(A), "c", "n") == bundle(A)


async def test_all_rules_that_hold(files: Files) -> None:
    """Not only the first; one file may serve two."""
    files.put("b", B.pem)
    files.put("c", C.pem)
    files.rule("b", namespaces=("pay*",))
    files.rule("c", clusters=("c1",))
    files.rule("b", clusters=("c2",))
    extras = await files.loaded()
    base = bundle(A)
    assert extras.extended(base, "c1", "payments") == bundle(A, B, C)
    assert extras.extended(base, "c1", "billing") == bundle(A, C)
    assert extras.extended(base, "c2", "billing") == bundle(A, B)
    assert extras.extended(base, "c3", "billing") is base


async def test_the_base_counts(files: Files) -> None:
    """What was put together for one bundle is not given out for another; the same one is not made twice."""
    files.put("b", B.pem)
    files.rule("b", namespaces=("payments",))
    extras = await files.loaded()
    first = extras.extended(bundle(A), "c", "payments")
    assert extras.extended(bundle(C), "c", "payments") == bundle(B, C)
    assert extras.extended(bundle(A), "c", "payments") is first
    for root in anchors.many(MAX_ANSWERS + 10):
        extras.extended(TrustBundle.of([root]), "c", "payments")
    assert len(extras._answers) == MAX_ANSWERS


async def test_no_rule() -> None:
    """Nothing is read, nothing added."""
    extras = ExtraRoots((), FakeClock())
    await extras.load()
    base = bundle(A)
    assert extras.common == ()
    assert extras.extended(base, "c", "n") is base


async def test_a_changed_file(files: Files) -> None:
    """It is told once, and answers follow at once."""
    files.put("b", B.pem)
    files.rule("b", namespaces=("payments",))
    files.rule("b")
    extras = await files.loaded()
    assert extras.extended(bundle(A), "c", "payments") == bundle(A, B)
    files.put("b", C.pem + D.pem)
    await extras._look()
    assert files.told == ["changed"]
    assert extras.extended(bundle(A), "c", "payments") == bundle(A, C, D)
    assert extras.common == bundle(C, D).roots
    await extras._look()
    files.put("b", b"# again\r\n" + D.pem + C.pem)
    await extras._look()
    assert files.told == ["changed"], "the same roots in another form are no change"


UNUSABLE: dict[str, tuple[bytes | None, str]] = {
    "empty": (b"", "holds no certificate that can be a root"),
    "rubbish": (b"rubbish", "holds no certificate that can be a root"),
    "not a CA": (pems([anchors.not_a_ca()]), "holds no certificate that can be a root; "),
    "private key": (key_pem(key("p256/b")), "can be a root; block 1: it is no certificate but 'PRIVATE KEY'"),
    "gone": (None, "cannot be read: No such file or directory"),
}


@pytest.mark.parametrize("case", UNUSABLE)
async def test_an_unusable_file_at_start(files: Files, case: str) -> None:
    """The message names it and says why, and holds nothing of it."""
    data, why = UNUSABLE[case]
    path = files.directory / "b"
    if data is not None:
        files.put("b", data)
    files.put("a", A.pem)
    files.rule("a")
    files.rule("b")
    with pytest.raises(ExtraRootsUnusable) as error:
        await files.loaded()
    text = str(error.value)
    assert text.startswith(f"{path}: ")
    assert why in text
    secret = (data or b"").decode("latin-1").splitlines()[1:-1]
    assert not [line for line in secret if line in text]


async def test_all_unusable_files_are_named(files: Files) -> None:
    """One start, one complaint."""
    files.rule("b")
    files.rule("c")
    with pytest.raises(ExtraRootsUnusable, match=r"/b: .*; .*/c: "):
        await files.loaded()


@pytest.mark.parametrize("case", UNUSABLE)
async def test_a_file_that_turns_bad(files: Files, case: str, caplog: pytest.LogCaptureFixture) -> None:
    """It keeps the roots it had, says so once, and once more if it happens again after it has healed."""
    path = files.put("b", B.pem)
    files.rule("b")
    extras = await files.loaded()
    data, why = UNUSABLE[case]
    for times in (1, 2):
        path.unlink()
        if data is not None:
            files.put("b", data)
        await extras._look()
        await extras._look()
        assert extras.common == bundle(B).roots
        said = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
        assert len(said) == times
        assert why in said[-1]
        assert said[-1].endswith("; 1 from before stay")
        files.put("b", B.pem)
        await extras._look()
    assert files.told == []
    files.put("b", C.pem)
    await extras._look()
    assert (extras.common, files.told) == (bundle(C).roots, ["changed"])
    assert "PRIVATE" not in caplog.text.replace("'PRIVATE KEY'", "")


async def test_what_is_left_out_is_said(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    """The good ones count; each of the others is named with its file, once."""
    bad = anchors.not_a_ca()
    path = files.put("b", pems([bad]) + B.pem + key_pem(key("p256/b")))
    files.rule("b")
    extras = await files.loaded()
    await extras._look()
    assert extras.common == bundle(B).roots
    assert {r.getMessage() for r in caplog.records} == {
        f"{path}: not trusted: {fingerprint(bad)[:16]}: it is not a CA (RFC 5280 section 4.2.1.9)",
        f"{path}: not trusted: block 3: it is no certificate but 'PRIVATE KEY'",
    }
    assert len(caplog.records) == 2


async def test_distrust(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    """In answers to some as in those to all; a file of which nothing is left keeps nobody from starting."""
    files.put("b", B.pem)
    files.put("c", C.pem + D.pem)
    files.rule("b")
    files.rule("c", namespaces=("payments",))
    files.distrust = frozenset(map(fingerprint, (B.certificate, C.certificate)))
    extras = await files.loaded()
    assert extras.common == ()
    assert extras.extended(bundle(A), "c", "payments") == bundle(A, D)
    assert caplog.text.count("trust.distrust names it") == 2


async def test_a_change_to_what_is_distrusted(files: Files) -> None:
    """The old roots go: the file is good, and says nothing of them."""
    files.put("b", B.pem)
    files.rule("b")
    files.distrust = frozenset({fingerprint(C.certificate)})
    extras = await files.loaded()
    files.put("b", C.pem)
    await extras._look()
    assert (extras.common, files.told) == ((), ["changed"])


async def test_run_reads_again(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """For ever, and a fault does not end it."""
    monkeypatch.setattr(module, "INTERVAL", 0.001)
    seen = asyncio.Event()
    monkeypatch.setattr(module._log, "error", lambda *_: seen.set())
    path = files.put("b", B.pem)
    files.rule("b")
    extras = await files.loaded()
    changed = asyncio.Event()
    extras.on_change(changed.set)
    running = asyncio.create_task(extras.run())
    path.unlink()
    async with asyncio.timeout(30):
        await seen.wait()
    files.put("b", C.pem)
    async with asyncio.timeout(30):
        await changed.wait()
    assert extras.common == bundle(C).roots
    await give_up(running)


async def test_a_large_file_is_cut(files: Files) -> None:
    """Whatever somebody puts there, memory is bounded."""
    files.put("b", B.pem + b"#" * module.MAX_BYTES + C.pem)
    files.rule("b")
    assert (await files.loaded()).common == bundle(B).roots
