"""The configuration file, re-read when its contents change.

Routes, rules, profiles, workloads' lifetimes and the log's level change at once. The rest is wired into sockets,
sessions and tasks: a change there is told, with the advice to restart. A file that cannot be used is refused with the
reason, and nothing changes.
"""

import asyncio
import logging
from collections.abc import Callable

from signer.config.complaints import BadConfig
from signer.config.load import Loaded
from signer.config.model import Config
from signer.observe import logs

_log = logging.getLogger("istio_signer.configuration")
INTERVAL = 2.0
_REFUSED = "the changed configuration is refused, the old one stays:"
# Sections of which a single key is cold are named by it.
_NAMES = {"certificates": "certificates.grace_ratio"}


class Reload:
    """Watches one configuration.

    Args:
        loaded: What is in use.
        read_again: Gives the configuration of now, or None if the file has not changed since the last call. May block.
        apply: Takes the hot part of a new configuration into use; raises LookupError where it does not fit.
    """

    def __init__(
        self, loaded: Loaded, read_again: Callable[[], Loaded | None], apply: Callable[[Config], None]
    ) -> None:
        self._loaded = loaded
        self._read_again = read_again
        self._apply = apply

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await asyncio.sleep(INTERVAL)
            await self.look()

    async def look(self) -> None:
        """Look once; take over what can be."""
        try:
            fresh = await asyncio.to_thread(self._read_again)
            if fresh is not None:
                self._take(fresh)
        except BadConfig as error:
            _log.error("%s\n%s", _REFUSED, error)
        except Exception as error:  # noqa: BLE001  whatever it is, the server has a configuration that works
            frames = logs.frames_of(error)
            _log.error("%s bug: %s\n%s", _REFUSED, type(error).__name__, frames)

    def _take(self, fresh: Loaded) -> None:
        cold = changed_keys(self._loaded, fresh)
        try:
            self._apply(fresh.config)
        except LookupError as error:
            _log.error("%s %s", _REFUSED, error)
            return
        logs.set_level(fresh.config.logging.level)
        if cold:
            _log.warning("configuration re-read; changes of %s wait for a restart", ", ".join(cold))
        else:
            _log.info("configuration re-read and in use")
        self._loaded = Loaded(in_use(self._loaded.config, fresh.config), self._loaded.backends)


def changed_keys(old: Loaded, new: Loaded) -> list[str]:
    """Name the changed parts that need a restart."""
    kept = in_use(old.config, new.config)
    sections = [key for key in Config.model_fields if key != "backends"]
    changed = [_NAMES.get(key, key) for key in sections if getattr(kept, key) != getattr(new.config, key)]
    # Compared as they were understood: another way to write the same settings is no change.
    return changed if _sections(old) == _sections(new) else [*changed, "backends"]


def _sections(loaded: Loaded) -> object:
    return loaded.backends, {name: (section.guard, section.pins) for name, section in loaded.config.backends.items()}


def in_use(old: Config, new: Config) -> Config:
    """What a running server has taken over of ``new``; the next change is compared with that."""
    hot = {
        "routes": new.routes,
        "rules": new.rules,
        # The grace ratio is wired into the source of the serving certificate.
        "certificates": new.certificates.model_copy(update={"grace_ratio": old.certificates.grace_ratio}),
        "logging": old.logging.model_copy(update={"level": new.logging.level}),
    }
    return old.model_copy(update=hot)
