"""What is written down must be true: help text, tables of keys, metrics and errors, manifests, examples, links."""

import asyncio
import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from signer.cli.common import settings_of
from signer.cli.main import VERBS, main
from signer.config.load import Loaded, load, variables
from signer.core.chain import TrustBundle
from signer.core.errors import MEANINGS, BackendUnavailable
from signer.core.spec import BackendContext, BackendSpec
from signer.core.verify import ChainVerifier
from signer.observe.metrics import CITADEL_COUNTERS, CITADEL_GAUGES, OWN
from tests.corpus.answers import asked
from tests.support.clock import FakeClock

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
MANIFESTS = sorted((ROOT / "deploy" / "manifests").glob("*.yaml"))
EXAMPLES = sorted((ROOT / "deploy" / "examples").glob("*.yaml"))
VALUES = ROOT / "deploy" / "istio" / "values.yaml"
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.glob("*.md")])


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generate = _generator()


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _first_cells(text: str) -> list[str]:
    """The code in the first cell of each row of the page's tables."""
    return re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)


def _documents() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in MANIFESTS:
        for document in yaml.safe_load_all(_text(path)):
            yield path.name, document


def _of_kind(kind: str) -> list[dict[str, Any]]:
    return [document for _, document in _documents() if document["kind"] == kind]


def _load(path: Path) -> Loaded:
    return load(path, settings_of, environment={})


@pytest.fixture
def configured(tmp_path: Path) -> Loaded:
    """The configuration that the manifests deploy."""
    (config_map,) = _of_kind("ConfigMap")
    path = tmp_path / "config.yaml"
    path.write_text(config_map["data"]["config.yaml"], encoding="utf-8")
    return _load(path)


@pytest.mark.parametrize("name", list(generate.BLOCKS))
def test_generated_block_is_up_to_date(name: str) -> None:
    file, make = generate.BLOCKS[name]
    written = _text(ROOT / file)
    assert generate.with_block(written, name, make()) == written, f"run python docs/generate.py: {file}"


def test_readme_shows_the_help_as_it_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", generate.HELP_COLUMNS)
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert f"$ istio-signer --help\n{capsys.readouterr().out.rstrip()}\n```" in _text(ROOT / "README.md")


@pytest.mark.parametrize("verb", list(VERBS))
def test_options_that_the_pages_use_exist(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([verb, "--help"])
    known = set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out))
    pages = "\n".join(map(_text, PAGES)).replace("\\\n", " ")
    # A command ends with its line, or with what closes the code that it stands in.
    used = {
        option
        for command in re.findall(rf"istio-signer {verb}\b([^\n`|#]*)", pages)
        for option in re.findall(r"(?<=\s)--[a-z][a-z-]+", command)
    }
    assert used <= known


def test_configuration_page_has_every_key_and_no_other() -> None:
    written = _first_cells(_text(DOCS / "configuration.md"))
    assert sorted(written) == sorted(key.path for key in generate.all_keys())


def test_configuration_page_has_every_variable_and_no_other() -> None:
    text = _text(DOCS / "configuration.md")
    known = {name: ".".join(path) for name, path in variables()}
    rows = dict(re.findall(r"^\| `([^`]+)` \|.*\| `(ISTIO_SIGNER_[A-Z_]+)` \|", text, re.MULTILINE))
    assert {name: key for key, name in rows.items()} == known
    assert set(re.findall(r"ISTIO_SIGNER_[A-Z][A-Z_]*", text)) == set(known)


def test_every_key_says_what_it_is_for() -> None:
    assert [key.path for key in generate.all_keys() if not key.purpose] == []


def test_a_section_of_a_backend_says_what_it_is_for_and_whether_it_is_needed() -> None:
    rows = {key.path.removeprefix("backends.NAME."): key for key in generate.all_keys()}
    assert {name: rows[name].default for name in ("issuer", "issuer.name", "auth")} == {
        "issuer": "**needed**",
        "issuer.name": "**needed**",
        "auth": "its defaults",
    }
    assert (rows["runtime_config_map"].default, rows["runtime_config_map.name"].default) == ("none", "needed in it")
    assert "replace `issuer`" in rows["runtime_config_map"].purpose


def test_bounds_are_told_of_keys_that_may_be_left_out_too() -> None:
    types = {key.path: key.type for key in generate.all_keys()}
    assert types["routes[].profile.ttl_jitter"] == types["certificates.ttl_jitter"] == "number, at least 0.0, under 1.0"
    assert types["routes[].profile.max_ttl"] == types["certificates.max_ttl"] == "duration, over 0s"


def test_only_istios_metrics_are_untyped() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", generate.metrics(), re.MULTILINE)
    untyped = {name for name, kind in rows if kind == "untyped"}
    assert untyped == {spec.name for table in (CITADEL_COUNTERS, CITADEL_GAUGES) for spec in table.values()}


def test_operations_page_has_every_metric_and_no_other() -> None:
    text = _text(DOCS / "operations.md")
    known = {spec.name for table in (CITADEL_COUNTERS, CITADEL_GAUGES, OWN) for spec in table.values()}
    assert {cell for cell in _first_cells(text) if cell.startswith(("citadel_", "istio_signer_"))} == known
    mentioned = set(re.findall(r"\b(?:istio_signer|citadel_server)_[a-z_]*[a-z]\b", "\n".join(map(_text, PAGES))))
    assert {name.removesuffix("_bucket") for name in mentioned} <= known


@pytest.mark.parametrize("kind", MEANINGS, ids=lambda kind: kind.__name__)
def test_errors_page_has_every_class_with_its_code_and_advice(kind: type[Exception]) -> None:
    text, told = _text(DOCS / "errors.md"), MEANINGS[kind]  # type: ignore[index]
    row = f"| `{kind.__name__}` | `{told.code.value}` | {'yes' if told.retryable else 'no'} | {told.public} |"
    assert row in text
    assert f"\n### `{kind.__name__}`\n" in text


def test_errors_page_advises_on_no_class_that_does_not_exist() -> None:
    advised = re.findall(r"^### `(\w+)`$", _text(DOCS / "errors.md"), re.MULTILINE)
    assert set(advised) == {kind.__name__ for kind in MEANINGS} | {"CancelledError"}


def test_manifests_are_objects_that_kustomization_lists() -> None:
    listed = yaml.safe_load(_text(ROOT / "deploy" / "manifests" / "kustomization.yaml"))["resources"]
    names = {path.name for path in MANIFESTS}
    assert set(listed) == names - {"kustomization.yaml", "networkpolicy.yaml"}
    assert all(document["apiVersion"] for _, document in _documents())
    spaced = [d for _, d in _documents() if not d["kind"].startswith(("ClusterRole", "Kustomization"))]
    assert {d["metadata"]["namespace"] for d in spaced} == {"istio-system"}


def test_the_one_right_in_the_cluster_is_to_create_token_reviews() -> None:
    (role,) = _of_kind("ClusterRole")
    assert role["rules"] == [
        {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]}
    ]
    assert _of_kind("Role") == []
    (binding,) = _of_kind("ClusterRoleBinding")
    (account,) = _of_kind("ServiceAccount")
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    (subject,) = binding["subjects"]
    assert (subject["name"], subject["namespace"]) == (account["metadata"]["name"], account["metadata"]["namespace"])


def test_deployment_runs_with_the_least() -> None:
    (deployment,) = _of_kind("Deployment")
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["enableServiceLinks"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not any("subPath" in mount for mount in container["volumeMounts"])
    assert deployment["spec"]["template"]["metadata"]["labels"]["sidecar.istio.io/inject"] == "false"


def test_labels_lead_from_service_and_budget_to_the_pods() -> None:
    (deployment,) = _of_kind("Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    (service,), (budget,), (policy,) = _of_kind("Service"), _of_kind("PodDisruptionBudget"), _of_kind("NetworkPolicy")
    for selector in (
        service["spec"]["selector"],
        budget["spec"]["selector"]["matchLabels"],
        policy["spec"]["podSelector"]["matchLabels"],
        deployment["spec"]["selector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items()
    assert labels["app"] == "istio-signer"


def test_deployed_configuration_fits_the_other_manifests(configured: Loaded) -> None:
    (deployment,), (service,) = _of_kind("Deployment"), _of_kind("Service")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    config = configured.config
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert config.listen.grpc == f"0.0.0.0:{ports['grpc']}"
    assert config.listen.http == f"0.0.0.0:{ports['http']}"
    assert {(p["port"], p["targetPort"]) for p in service["spec"]["ports"]} == {(15012, "grpc"), (15014, "http")}
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    _, local = configured.backends["local"]
    assert str(local.directory) in mounts
    assert container["args"] == ["serve", "--config", "/etc/istio-signer/config.yaml"]
    spent = config.shutdown.delay + config.shutdown.grace
    assert spent.total_seconds() <= deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] / 2


def test_istio_values_name_the_deployed_signer(configured: Loaded) -> None:
    values = yaml.safe_load(_text(VALUES))
    (service,) = _of_kind("Service")
    name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
    address = values["global"]["caAddress"]
    assert address == f"{name}.{namespace}.svc:15012"
    assert address.rpartition(":")[0] in configured.config.serving.dns_names
    # It is laid over the values of a mesh that runs: any other key would change, unasked, what somebody chose there. A
    # trust domain would give every workload another identity; switching istiod's CA off, no roots for new namespaces.
    assert values == {"global": {"caAddress": address}}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_configuration_can_be_used(path: Path) -> None:
    assert _load(path).backends


def test_configuration_in_the_readme_can_be_used(tmp_path: Path) -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", _text(ROOT / "README.md"), re.DOTALL)
    path = tmp_path / "config.yaml"
    path.write_text(block, encoding="utf-8")
    assert set(_load(path).backends) == {"local"}


async def test_backend_in_the_architecture_page_works(monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", _text(DOCS / "architecture.md"), re.DOTALL)
    module = ModuleType("backends_example")
    # Dataclasses look up their module.
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(code, module.__dict__)
    spec: BackendSpec = module.__dict__["SPEC"]
    context, settings = BackendContext("example", FakeClock()), spec.settings()
    backend = spec.build(settings, context)

    assert backend.name == "example"
    assert [finding.level for finding in spec.check(settings, context)] == ["warning"]
    assert generate._attributes(spec.settings.__doc__).keys() == {"lifetime"}
    with pytest.raises(BackendUnavailable):
        await backend.probe()
    await backend.start()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(backend.run(), 0.01)
    bundle = TrustBundle.of((await backend.issuer()).roots)
    ChainVerifier().verify(await backend.sign(asked()), asked(), bundle, FakeClock().now())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", _text(page)):
        if target.startswith("https://"):
            continue
        file, _, anchor = target.partition("#")
        other = page if not file else (page.parent / file).resolve()
        assert other.exists(), target
        if anchor:
            assert anchor in _anchors(_text(other)), target


def _anchors(text: str) -> set[str]:
    """What a heading's link is called: lower case, no punctuation, hyphens for spaces."""
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_dockerfile_ends_in_a_numeric_user_and_needs_no_shell() -> None:
    final = _text(ROOT / "Dockerfile").rpartition("\nFROM ")[2]
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", final, re.MULTILINE)
    assert 'ENTRYPOINT ["' in final
    assert 'CMD ["' in final
    assert "\nRUN " not in final
