"""Loading: what is wrong is said with file, line, key and what to do; all of it at once."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from signer.config.complaints import BadConfig
from signer.config.load import Loaded, from_environment, load, merge, variables
from tests.support.clock import HOUR

GOOD = "backends:\n  local: {type: fake, directory: /ca}\n"


@dataclass(frozen=True, slots=True)
class FakeSettings:
    """The keys of a backend's section."""

    directory: Path
    interval: timedelta = timedelta(seconds=1)
    size: int = 1


def settings_of(kind: str) -> type[Any]:
    """The only type there is."""
    if kind != "fake":
        raise LookupError(f"unknown backend type {kind!r}; known: fake")
    return FakeSettings


Load = Callable[..., Loaded]


@pytest.fixture
def given(tmp_path: Path) -> Load:
    """Load a text as a file."""

    def loaded(text: str, environment: dict[str, str] | None = None, base: dict[str, Any] | None = None) -> Loaded:
        path = tmp_path / "signer.yaml"
        path.write_text(text)
        return load(path, settings_of, environment or {}, base)

    return loaded


@pytest.fixture
def complaints(given: Load, tmp_path: Path) -> Callable[..., list[str]]:
    """What is said of a text, the file's directory left out."""

    def said(text: str, environment: dict[str, str] | None = None) -> list[str]:
        with pytest.raises(BadConfig) as refusal:
            given(text, environment)
        return [complaint.replace(f"{tmp_path}/", "") for complaint in refusal.value.complaints]

    return said


def test_good(given: Load) -> None:
    """The smallest configuration: one backend."""
    loaded = given(GOOD)
    assert loaded.config.trust_domain == "cluster.local"
    assert loaded.backends == {"local": ("fake", FakeSettings(Path("/ca")))}


WRONG: dict[str, tuple[str, str]] = {
    "unknown key": ("tust_domain: x\n", "signer.yaml:3: tust_domain: no such key; docs/configuration.md lists"),
    "unknown key inside": ("listen:\n  grcp: x\n", "signer.yaml:4: listen.grcp: no such key"),
    "wrong type": ("limits: {in_flight: many}\n", "signer.yaml:3: limits.in_flight: write a whole number"),
    "section is a list": ("limits: []\n", "signer.yaml:3: limits: "),
    "out of range": ("limits:\n  in_flight: 0\n", "signer.yaml:4: limits.in_flight: "),
    "no unit": ("limits: {deadline: 8}\n", "signer.yaml:3: limits.deadline: write a duration with its unit"),
    "zero duration": ("limits: {deadline: 0s}\n", "signer.yaml:3: limits.deadline: must be longer than zero"),
    "cache too long": ("authentication: {cache: 11s}\n", "signer.yaml:3: authentication.cache: "),
    "no audience": ("authentication: {audiences: []}\n", "signer.yaml:3: authentication.audiences: "),
    "address": ("listen: {grpc: 15012}\n", "signer.yaml:3: listen.grpc: "),
    "address without a port": ("listen: {grpc: localhost}\n", "write an address as host:port"),
    "port too large": ("listen: {grpc: 'a:65536'}\n", "write an address as host:port"),
    "trust domain": ("trust_domain: Cluster.Local\n", "signer.yaml:3: trust_domain: not a valid trust domain"),
    "default over maximum": ("certificates: {default_ttl: 2d}\n", "signer.yaml:3: certificates: default_ttl is longer"),
    "inside a list": ("clusters:\n  - id: a\n  - {id: b, tokens: x}\n", "signer.yaml:5: clusters.1.tokens: "),
    "cluster ids": ("clusters: [{id: a}, {id: a}]\n", "two clusters have the same id"),
    "context of no file": (
        "clusters:\n  - {context: east}\n",
        "signer.yaml:4: clusters.0: context is one of kubeconfig",
    ),
    "routes of one name": (
        "routes:\n  - {name: a, backends: [local]}\n  - {name: a, backends: [local]}\n",
        "signer.yaml:3: routes: two routes have the same name: a",
    ),
    "a name that is a position": (
        "routes:\n  - {name: '1', backends: [local]}\n  - {backends: [local]}\n",
        "signer.yaml:3: routes: two routes have the same name: 1",
    ),
    "route to nowhere": ("routes: [{backends: [vault]}]\n", "backend 'vault' is not defined; defined are local"),
    "serving by nobody": ("serving: {backend: vault}\n", "backend 'vault' is not defined"),
    "serving half": ("serving: {key_file: /k}\n", "signer.yaml:3: serving: certificate_file and key_file go together"),
    "istiod by nobody": ("istiod: {backend: vault}\n", "signer.yaml:3: istiod.backend: backend 'vault' is not defined"),
    "istiod nameless": ("istiod: {revisions: []}\n", "signer.yaml:3: istiod: name istiod: revisions or dns_names"),
    "istiod's namespace": ("istiod: {namespace: a/b}\n", "signer.yaml:3: istiod.namespace: write a name in lower case"),
    "istiod's Secret": ("istiod: {secret: ../x}\n", "signer.yaml:3: istiod.secret: write a name in lower case"),
    "a revision": ("istiod: {revisions: [V1]}\n", "signer.yaml:3: istiod.revisions.0: write a name in lower case"),
    "a long revision": (f"istiod: {{revisions: [{'a' * 57}]}}\n", "a revision has 56 characters at most"),
    "istiod's key": ("istiod: {key_type: P-384}\n", "signer.yaml:3: istiod.key_type: write 'P-256' or 'RSA-2048'"),
    "nameless": ("serving: {dns_names: []}\n", "signer.yaml:3: serving: name the server"),
}


@pytest.mark.parametrize(("text", "complaint"), WRONG.values(), ids=WRONG.keys())
def test_wrong(text: str, complaint: str, complaints: Callable[..., list[str]]) -> None:
    """FILE:LINE: key: what is wrong."""
    (said,) = complaints(GOOD + text)
    assert complaint in said


def test_all_at_once(complaints: Callable[..., list[str]]) -> None:
    """Nobody wants to mend a file one error at a time."""
    assert len(complaints(GOOD + "a: 1\nlimits: {in_flight: x}\nlogging: {level: loud}\n")) == 3
    said = complaints("a: 1\nbackends:\n  b: {type: fake, interval: 5, sise: 1}\n  c: {type: valt}\n  d: local\n")
    keys = ["a", "backends.b.directory", "backends.b.interval", "backends.b.sise", "backends.c.type", "backends.d"]
    assert sorted(complaint.split(": ")[1] for complaint in said) == keys


BROKEN: dict[str, tuple[str, str]] = {
    "a key twice": (GOOD + "limits: {}\nlimits: {}\n", "signer.yaml: line 4: the key limits is given twice"),
    "a key twice inside": ("listen:\n  grpc: 'a:1'\n  grpc: 'b:1'\n", "line 3: the key listen.grpc is given twice"),
    "no YAML": ("a: [1\nb: 2\n", "signer.yaml: line 2: not valid YAML"),
    "tab": ("a:\n\tb: 1\n", "line 2: not valid YAML"),
    "control character": ("a: \x01\n", "not valid YAML"),
    "a list": ("- a\n", "line 1: the configuration must be a mapping"),
    "a text": ("hello\n", "line 1: the configuration must be a mapping"),
    "python object": ("a: !!python/object/apply:os.system [x]\n", "line 1: not valid YAML"),
    "a key that is a list": ("? [a]\n: 1\n", "line 1: not valid YAML"),
    "a date that is none": ("trust_domain: 2025-13-45\n", "signer.yaml: "),
    "contains itself": ("a: &x {b: *x}\n", "signer.yaml"),
    "empty": ("", "signer.yaml: backends: this key is needed"),
}


@pytest.mark.parametrize(("text", "complaint"), BROKEN.values(), ids=BROKEN.keys())
def test_broken(text: str, complaint: str, complaints: Callable[..., list[str]]) -> None:
    """Not even a mapping of keys to values."""
    assert complaint in complaints(text)[0]


BACKENDS: dict[str, tuple[str, str]] = {
    "unknown key": ("{type: fake, directory: /ca, dirctory: /x}", "signer.yaml:2: backends.a.dirctory: no such key"),
    "bad duration": (
        "{type: fake, directory: /ca, interval: 5}",
        "signer.yaml:2: backends.a.interval: write a duration",
    ),
    "wrong type": (
        "{type: fake, directory: /ca, size: big}",
        "signer.yaml:2: backends.a.size: write a whole number",
    ),
    "missing key": ("{type: fake}", "signer.yaml:2: backends.a.directory: "),
    "no type": ("{directory: /ca}", "signer.yaml:2: backends.a.type: say which type of backend this is"),
    "type is a list": ("{type: [fake]}", "signer.yaml:2: backends.a.type: say which type"),
    "unknown type": ("{type: valt}", "signer.yaml:2: backends.a.type: unknown backend type 'valt'; known: fake"),
    "not a mapping": ("local", "signer.yaml:2: backends.a: "),
}


@pytest.mark.parametrize(("section", "complaint"), BACKENDS.values(), ids=BACKENDS.keys())
def test_backend_sections(section: str, complaint: str, complaints: Callable[..., list[str]]) -> None:
    """Checked like all others, though they are the backends' own."""
    (said,) = complaints(f"backends:\n  a: {section}\n")
    assert complaint in said


def test_backend_settings(given: Load) -> None:
    """Durations and paths are what they are for."""
    loaded = given("backends:\n  a: {type: fake, directory: /ca, interval: 1h}\n")
    assert loaded.backends["a"][1] == FakeSettings(Path("/ca"), HOUR)


def test_several_backends_need_routes(complaints: Callable[..., list[str]]) -> None:
    """Nobody should guess which one signs."""
    two = "backends:\n  a: {type: fake, directory: /a}\n  b: {type: fake, directory: /b}\n"
    assert "routes must say which one signs for whom" in complaints(two)[0]


def test_environment_overrides(given: Load) -> None:
    """Every key has its variable, given as YAML."""
    environment = {
        "ISTIO_SIGNER_TRUST_DOMAIN": "east.example",
        "ISTIO_SIGNER_LIMITS_IN_FLIGHT": "7",
        "ISTIO_SIGNER_AUTHENTICATION_AUDIENCES": "[a, b]",
        "ISTIO_SIGNER_PORT": "tcp://10.0.0.1:15012",
    }
    config = given(GOOD + "limits: {in_flight: 3, waiting: 4}\n", environment).config
    assert (config.trust_domain, config.limits.in_flight, config.limits.waiting) == ("east.example", 7, 4)
    assert config.authentication.audiences == ["a", "b"]


def test_environment_that_is_wrong(complaints: Callable[..., list[str]]) -> None:
    """Said of the variable."""
    said = complaints(GOOD, {"ISTIO_SIGNER_LIMITS_IN_FLIGHT": "[1"})
    assert said == ["environment: ISTIO_SIGNER_LIMITS_IN_FLIGHT: the value is not valid YAML"]
    said = complaints(GOOD, {"ISTIO_SIGNER_TRUST_DOMAIN": "2025-13-45"})
    assert "ISTIO_SIGNER_TRUST_DOMAIN" in said[0] or "trust_domain" in said[0]


def test_variables_are_unique() -> None:
    """No two keys share one."""
    names = [variable for variable, _ in variables()]
    assert len(set(names)) == len(names)
    assert "ISTIO_SIGNER_LISTEN_GRPC" in names


@pytest.mark.parametrize(
    ("variable", "path"), [*variables()], ids=lambda value: value if isinstance(value, str) else ""
)
def test_each_variable_sets_its_key(variable: str, path: tuple[str, ...]) -> None:
    """And no other."""
    assert [*from_environment({variable: "7"})] == [(variable, path, 7)]


def test_base_lies_under_the_file(given: Load) -> None:
    """Defaults of development mode."""
    config = given(GOOD + "limits: {waiting: 4}\n", base={"limits": {"waiting": 1, "in_flight": 2}}).config
    assert (config.limits.waiting, config.limits.in_flight) == (4, 2)


def test_merge() -> None:
    """Mappings merge, everything else is replaced; nothing is changed in place."""
    under = {"a": {"x": 1, "y": [1]}, "b": 1}
    assert merge(under, {"a": {"y": [2]}, "b": {"z": 1}}) == {"a": {"x": 1, "y": [2]}, "b": {"z": 1}}
    assert under == {"a": {"x": 1, "y": [1]}, "b": 1}


def test_no_file(tmp_path: Path) -> None:
    """Missing, a directory, or no text."""
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for name, complaint in (("none", "No such file"), (".", "cannot be read"), ("binary", "not UTF-8 text")):
        with pytest.raises(BadConfig, match=complaint):
            load(tmp_path / name, settings_of, {})


def test_without_a_file() -> None:
    """All from the environment; complaints say so."""
    assert load(None, settings_of, {"ISTIO_SIGNER_BACKENDS": "{a: {type: fake, directory: /ca}}"}).backends
    with pytest.raises(BadConfig, match="environment: backends: this key is needed"):
        load(None, settings_of, {})


GUARDED = "backends: {a: {type: fake, directory: /ca, guard: {%s}}}\n"


def test_guard_of_a_backend(given: Load) -> None:
    """It is the model's: the backend's own settings do not see it."""
    loaded = given(GUARDED % "rate: 2.5, breaker_open: 3s")
    guard = loaded.config.backends["a"].guard
    assert (guard.rate, guard.breaker_open.total_seconds(), guard.concurrency) == (2.5, 3.0, 64)
    assert loaded.backends["a"][1] == FakeSettings(Path("/ca"))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("rat: 1", "backends.a.guard.rat: no such key"),
        ("rate: 0", "backends.a.guard.rate: must be more than 0"),
        ("concurrency: 0", "backends.a.guard.concurrency: must be 1 or more"),
        ("breaker_open: 3", "backends.a.guard.breaker_open: write a duration with its unit"),
        ("burst: 3", "backends.a.guard: burst is for a rate"),
    ],
)
def test_wrong_guards(given: Load, text: str, complaint: str) -> None:
    """With line and key."""
    with pytest.raises(BadConfig) as refusal:
        given(GUARDED % text)
    assert complaint in str(refusal.value)
    assert ".yaml:" in str(refusal.value)
