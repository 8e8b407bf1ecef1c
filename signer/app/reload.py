"""The configuration file, re-read when its contents change.

Routes, profiles, lifetimes and the log's level change at once. The rest is wired into sockets, sessions and tasks: a
change there is told, with the advice to restart. A file that cannot be used is refused with the reason, and nothing
changes.
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
# Sections and keys that a running server takes over; everything else needs a restart.
HOT = frozenset({"routes", "certificates"})


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
        except BadConfig as error:
            _log.error("the changed configuration is refused, the old one stays:\n%s", error)
            return
        if fresh is not None:
            self._take(fresh)

    def _take(self, fresh: Loaded) -> None:
        cold = changed_keys(self._loaded, fresh)
        try:
            self._apply(fresh.config)
        except LookupError as error:
            _log.error("the changed configuration is refused, the old one stays: it needs a restart: %s", error)
            return
        logs.set_level(fresh.config.logging.level)
        if cold:
            _log.warning("configuration re-read; changes of %s wait for a restart", ", ".join(cold))
        else:
            _log.info("configuration re-read and in use")
        self._loaded = Loaded(fresh.config.model_copy(update=_kept(self._loaded.config)), self._loaded.backends)


def changed_keys(old: Loaded, new: Loaded) -> list[str]:
    """Name the changed parts that need a restart."""
    cold = [key for key in Config.model_fields if key not in HOT | {"logging", "backends"}]
    changed = [key for key in cold if getattr(old.config, key) != getattr(new.config, key)]
    if old.backends != new.backends:
        changed.append("backends")
    if old.config.logging.model_copy(update={"level": new.config.logging.level}) != new.config.logging:
        changed.append("logging")
    return changed


def _kept(old: Config) -> dict[str, object]:
    """What stays as it was, so that the next change is compared with what is really in use."""
    return {key: getattr(old, key) for key in Config.model_fields if key not in HOT | {"logging"}}
