"""A changed configuration: taken over, told to wait for a restart, or refused."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from signer.app.reload import Reload, changed_keys, in_use
from signer.cli.common import settings_of
from signer.cli.serve import ChangedFile
from signer.config.complaints import BadConfig
from signer.config.load import Loaded, load
from signer.config.model import Config

BASE = "backends: {local: {type: local, directory: /ca}}\n"


def _loaded(tmp_path: Path, text: str = "") -> Loaded:
    path = tmp_path / "config.yaml"
    path.write_text(BASE + text, encoding="utf-8")
    return load(path, settings_of, environment={})


@pytest.fixture(autouse=True)
def _level() -> Iterator[None]:
    """Give the log its level back."""
    logger = logging.getLogger("istio_signer")
    before = logger.level
    yield
    logger.setLevel(before)


class Desk:
    """A Reload whose next reading a test decides."""

    def __init__(self, loaded: Loaded) -> None:
        self.next: Loaded | Exception | None = None
        self.applied: list[Config] = []
        self.reload = Reload(loaded, self._read, self._apply)

    def _read(self) -> Loaded | None:
        if isinstance(self.next, Exception):
            raise self.next
        return self.next

    def _apply(self, config: Config) -> None:
        for route in config.routes:
            if "missing" in route.backends:
                raise LookupError("backend 'missing' is new: restart to add it")
        self.applied.append(config)


async def test_hot_keys_are_taken_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk(_loaded(tmp_path))
    desk.next = _loaded(tmp_path, "certificates: {default_ttl: 1h}\nlogging: {level: warning}\n")
    with caplog.at_level(logging.INFO, "istio_signer.configuration"):
        await desk.reload.look()
    assert desk.applied == [desk.next.config]
    assert logging.getLogger("istio_signer").level == logging.WARNING


async def test_rules_are_hot(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """They count at once and need no restart; and the next change is compared with them."""
    rule, other = "rules: [{effect: deny, namespaces: [shop]}]\n", "rules: [{effect: deny, namespaces: [bank]}]\n"
    old, new = _loaded(tmp_path), _loaded(tmp_path, rule)
    assert changed_keys(old, new) == []
    assert in_use(old.config, new.config).rules == new.config.rules
    desk = Desk(old)
    with caplog.at_level(logging.INFO, "istio_signer.configuration"):
        for desk.next in (new, _loaded(tmp_path, other)):
            await desk.reload.look()
    assert [config.rules[0].namespaces for config in desk.applied] == [["shop"], ["bank"]]
    assert caplog.text.count("configuration re-read and in use") == 2
    assert "restart" not in caplog.text


async def test_quotas_wait_for_a_restart(tmp_path: Path) -> None:
    """They are told as such, not lost in silence."""
    assert changed_keys(_loaded(tmp_path), _loaded(tmp_path, "quotas: {enabled: true}\n")) == ["quotas"]


async def test_cold_keys_are_named_and_stay_so_until_a_restart(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    desk = Desk(_loaded(tmp_path))
    desk.next = _loaded(tmp_path, 'listen: {grpc: "127.0.0.1:1"}\n')
    for _ in range(2):
        await desk.reload.look()
    assert caplog.text.count("changes of listen wait for a restart") == 2


async def test_an_unusable_file_changes_nothing_and_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk(_loaded(tmp_path))
    desk.next = BadConfig(["config.yaml:3: routes: nonsense"])
    await desk.reload.look()
    assert desk.applied == []
    assert "config.yaml:3: routes: nonsense" in caplog.text


async def test_a_bug_changes_nothing_and_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk(_loaded(tmp_path))
    desk.next = KeyError("hunter2")
    await desk.reload.look()
    assert desk.applied == []
    assert "the old one stays: bug: KeyError\n" in caplog.text
    assert "in _read" in caplog.text
    assert "hunter2" not in caplog.text


async def test_the_grace_ratio_waits_for_a_restart(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk(_loaded(tmp_path))
    desk.next = _loaded(tmp_path, "certificates: {grace_ratio: 0.3, default_ttl: 1h}\n")
    for _ in range(2):
        await desk.reload.look()
    assert caplog.text.count("changes of certificates.grace_ratio wait for a restart") == 2


async def test_the_logs_format_waits_for_a_restart(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk(_loaded(tmp_path))
    desk.next = _loaded(tmp_path, "logging: {format: json}\n")
    for _ in range(2):
        await desk.reload.look()
    assert caplog.text.count("changes of logging wait for a restart") == 2


async def test_routes_to_a_backend_that_is_not_running_are_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    desk = Desk(_loaded(tmp_path))
    more = "  missing: {type: local, directory: /b}\n".replace("  ", "", 1)
    path = tmp_path / "two.yaml"
    path.write_text(f"backends:\n  local: {{type: local, directory: /ca}}\n  {more}routes: [{{backends: [missing]}}]\n")
    desk.next = load(path, settings_of, environment={})
    await desk.reload.look()
    assert desk.applied == []
    assert "the old one stays: backend 'missing' is new: restart to add it\n" in caplog.text


def test_changed_keys_compares_backends_and_logging(tmp_path: Path) -> None:
    old = _loaded(tmp_path)
    assert changed_keys(old, _loaded(tmp_path, "logging: {level: debug}\n")) == []
    assert changed_keys(old, _loaded(tmp_path, "logging: {format: json}\n")) == ["logging"]
    assert changed_keys(old, _loaded(tmp_path, "trust_domain: other\n")) == ["trust_domain"]


def test_a_file_is_read_again_only_where_its_contents_differ(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(BASE, encoding="utf-8")
    changed = ChangedFile(path, None)
    assert changed() is None
    path.write_text(BASE + "trust_domain: other\n", encoding="utf-8")
    fresh = changed()
    assert fresh is not None
    assert fresh.config.trust_domain == "other"
    assert changed() is None
    path.unlink()
    assert changed() is None


def test_a_guard_is_wired_at_the_start(tmp_path: Path) -> None:
    """A change of it waits for a restart, and is said so, like all else of a backend."""
    path = tmp_path / "guarded.yaml"
    path.write_text("backends: {local: {type: local, directory: /ca, guard: {rate: 5}}}\n", encoding="utf-8")
    old, new = _loaded(tmp_path), load(path, settings_of, environment={})
    assert changed_keys(old, new) == ["backends"]
    assert changed_keys(new, new) == []


def test_pins_are_wired_at_the_start(tmp_path: Path) -> None:
    """Whoever adds one in a hurry must be told that it does not count yet."""
    path = tmp_path / "pinned.yaml"
    path.write_text(f"backends: {{local: {{type: local, directory: /ca, pins: ['{'0' * 64}']}}}}\n", encoding="utf-8")
    assert changed_keys(_loaded(tmp_path), load(path, settings_of, environment={})) == ["backends"]
