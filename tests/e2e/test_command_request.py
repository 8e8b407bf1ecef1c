"""`request` and `explain` against a real server, with real tokens."""

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.command import Done, istio_signer
from tests.e2e.conftest import Ca, NewWorkload
from tests.e2e.process import SignerProcess
from tests.e2e.settings import write_settings
from tests.e2e.workload import Workload
from tests.mesh.x509_strict import verify_strict

pytestmark = pytest.mark.timeout(90)

Request = Callable[..., Done]


@pytest.fixture
def workload(new_workload: NewWorkload) -> Workload:
    """Who asks."""
    return new_workload()


@pytest.fixture
def request_(signer: SignerProcess, workload: Workload) -> Request:
    """`request` with all that it needs."""

    def run(*options: str | Path, identity: str = workload.spiffe_id) -> Done:
        common: list[str | Path] = ["--address", signer.grpc, "--roots", signer.roots, "--identity", identity]
        return istio_signer("request", *common, "--token-file", workload.token_file, *options)

    return run


@pytest.mark.parametrize("key_type", ["p256", "rsa2048"])
def test_files_are_written(request_: Request, workload: Workload, tmp_path: Path, key_type: str) -> None:
    done = request_("--output-dir", tmp_path / "out", "--key-type", key_type, "--ttl", "1h")

    assert done.code == 0, done.err
    assert f"identity    {workload.spiffe_id}" in done.out
    key, chain, roots = (tmp_path / "out" / name for name in ("key.pem", "cert-chain.pem", "root-cert.pem"))
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert key.read_text() not in done.out
    end = "-----END CERTIFICATE-----\n"
    elements = [element + end for element in chain.read_text().split(end)[:-1]]
    verify_strict([*elements, roots.read_text()], "sslclient")


@pytest.mark.parametrize("flag", [["-o", "json"], ["--json"]], ids=lambda flag: flag[0])
def test_json_is_for_programs(request_: Request, workload: Workload, tmp_path: Path, flag: list[str]) -> None:
    answer = request_(*flag, "--output-dir", tmp_path / "out").json()

    assert answer["identities"] == [workload.spiffe_id]
    assert answer["key"] == "P-256"
    assert [Path(path).name for path in answer["written"]] == ["key.pem", "cert-chain.pem", "root-cert.pem"]


def test_refusal_is_code_1(request_: Request) -> None:
    done = request_(identity="spiffe://cluster.local/ns/other/sa/stranger")

    assert done.code == 1
    assert "INVALID_ARGUMENT: the CSR is not acceptable (request " in done.err
    assert done.out == ""


def test_bad_token_is_code_1(request_: Request, workload: Workload) -> None:
    workload.token_file.write_text("garbage")
    done = request_()

    assert done.code == 1
    assert "UNAUTHENTICATED: request authentication failure (request " in done.err


def test_nobody_there_is_code_3(request_: Request) -> None:
    done = request_("--address", "127.0.0.1:1", "--timeout", "5")

    assert done.code == 3
    assert "UNAVAILABLE" in done.err


def test_server_of_other_roots_is_code_1(request_: Request, tmp_path: Path) -> None:
    """No later call would do better; and only we say so, not gRPC's core as well."""
    assert istio_signer("init", "--directory", tmp_path / "other").code == 0
    done = request_("--roots", tmp_path / "other" / "root-cert.pem", "--timeout", "5")

    assert done.code == 1
    assert "its certificate does not lead to a root in the roots file" in done.err
    assert "look at --roots and --server-name" in done.err
    assert len(done.err.splitlines()) == 1


def test_server_of_another_name_is_code_1(request_: Request) -> None:
    done = request_("--server-name", "other.example", "--timeout", "5")

    assert done.code == 1
    assert "its certificate is for other names than the one expected" in done.err
    assert len(done.err.splitlines()) == 1


def test_port_without_tls_is_code_1(request_: Request, signer: SignerProcess) -> None:
    done = request_("--address", f"127.0.0.1:{signer.http_port}", "--timeout", "5")

    assert done.code == 1
    assert "it speaks no TLS" in done.err


def test_roots_that_are_none(request_: Request, tmp_path: Path) -> None:
    (tmp_path / "roots").write_text("no PEM")
    done = request_("--roots", tmp_path / "roots")

    assert done.code == 2
    assert f"--roots {tmp_path / 'roots'}: holds no PEM certificates" in done.err


def test_output_that_cannot_be_written(request_: Request) -> None:
    done = request_("--output-dir", "/proc/nowhere")

    assert (done.code, done.err) == (1, "istio-signer request: /proc/nowhere: No such file or directory\n")


@pytest.mark.parametrize(
    "wrong",
    [
        ["--identity", "spiffe://x"],
        ["--ttl", "90"],
        ["--roots", "/nowhere"],
        ["--token-file", "/nowhere"],
        ["--csr", "/nowhere"],
        ["--key-type", "dsa"],
        ["--timeout", "-1"],
        ["--timeout", "nan"],
        ["stray"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_code_2(request_: Request, wrong: list[str]) -> None:
    done = request_(*wrong)

    assert done.code == 2
    assert "Traceback" not in done.err


@pytest.fixture
def explain(ca: Ca, kubeconfig: Path, tmp_path: Path) -> Request:
    """`explain` for a configuration with two routes; `access` replaces the kubeconfig."""

    def run(*options: str | Path, access: Path = kubeconfig, **changes: Any) -> Done:
        config = write_settings(tmp_path / "explain", ca.directory, access, {"routes": routes} | changes)
        return istio_signer("explain", "--config", config, *options)

    routes = [
        {"name": "short", "match": {"service_accounts": ["app"]}, "backends": ["local"], "profile": {"max_ttl": "1h"}},
        {"name": "rest", "backends": ["local"]},
    ]
    return run


def test_explain_judges_a_token(explain: Request, workload: Workload) -> None:
    done = explain("--token-file", workload.token_file)

    assert done.code == 0, done.err
    assert workload.token_file.read_text() not in done.out
    facts = explain("--token-file", workload.token_file, "-o", "json").json()
    assert (facts["identity"], facts["route"]) == (workload.spiffe_id, "short")
    assert (facts["decision"], facts["proven_by"], facts["backends"]) == ("would sign", "token-review", ["local"])
    assert facts["pod"]["name"] == workload.pod
    assert facts["lifetime_seconds"] == 3600
    for value in (facts["identity"], facts["proven_by"], facts["pod"]["uid"], "short", "local", "1h, or less"):
        assert value in done.out


def test_explain_a_refused_token(explain: Request, workload: Workload) -> None:
    workload.write_token(workload.kube.service_account_token(workload.namespace, workload.account, ["other"]))
    done = explain("--token-file", workload.token_file)

    assert done.code == 1
    assert "refused with UNAUTHENTICATED (AuthenticationFailed)" in done.err
    assert "other" in done.err, "operators get the exact reason"

    told = explain("--token-file", workload.token_file, "-o", "json")
    assert (told.code, told.err) == (1, "")
    refusal = told.json()
    assert "other" in refusal.pop("reason")
    assert refusal == {"decision": "refused", "code": "UNAUTHENTICATED", "error": "AuthenticationFailed"}


def test_explain_an_assumed_identity_asks_nobody(explain: Request, tmp_path: Path) -> None:
    identity = "spiffe://cluster.local/ns/shop/sa/other"
    done = explain("--identity", identity, "-o", "json", access=tmp_path / "nowhere")

    assert done.code == 0, done.err
    facts = done.json()
    assert (facts["route"], facts["proven_by"], facts["pod"]) == ("rest", "assumed", None)
    assert "pod        assumed" in explain("--identity", identity).out


@pytest.mark.parametrize(
    ("identity", "options", "reason"),
    [
        ("spiffe://elsewhere/ns/shop/sa/app", [], "IdentityRejected): it is of trust domain elsewhere"),
        ("spiffe://cluster.local/ns/shop/sa/app", ["--cluster-id", "x"], "AuthenticationFailed): unknown cluster 'x'"),
    ],
    ids=["trust-domain", "cluster"],
)
def test_explain_refuses_what_cannot_be(explain: Request, identity: str, options: list[str], reason: str) -> None:
    done = explain("--identity", identity, *options)

    assert done.code == 1
    assert reason in done.err


def test_explain_without_a_route(explain: Request) -> None:
    done = explain("--identity", "spiffe://cluster.local/ns/shop/sa/app", "--cert-signer", "nobody")

    assert done.code == 1
    assert "NoRoute" in done.err


def test_explain_while_the_api_server_is_away(explain: Request, workload: Workload, tmp_path: Path) -> None:
    away = workload.kube.access.with_token("none")
    access = type(away)("https://127.0.0.1:1", away.authority, away.token).write(tmp_path / "away")
    done = explain("--token-file", workload.token_file, access=access)

    assert done.code == 3
    assert "AuthenticationUnavailable" in done.err
    told = explain("--token-file", workload.token_file, "-o", "json", access=access)
    assert (told.code, told.json()["decision"]) == (3, "refused")


def test_explain_without_a_kubeconfig_is_code_2(explain: Request, workload: Workload, tmp_path: Path) -> None:
    assert explain("--token-file", workload.token_file, access=tmp_path / "nowhere").code == 2
