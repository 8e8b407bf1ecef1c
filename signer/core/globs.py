"""Shell-style patterns over names: ``*``, ``?``, ``[...]``; whole names, exact case."""

import fnmatch
import re
from dataclasses import dataclass, field


def _glob(pattern: str) -> re.Pattern[str]:
    """Compile once; ``fnmatch.translate`` anchors both ends, and case is never folded."""
    return re.compile(fnmatch.translate(pattern))


@dataclass(frozen=True, slots=True)
class Globs:
    """A set of shell-style patterns; an empty set matches everything."""

    patterns: tuple[str, ...] = ()
    compiled: tuple[re.Pattern[str], ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "compiled", tuple(map(_glob, self.patterns)))

    def matches(self, text: str) -> bool:
        """Tell whether any pattern matches the whole text."""
        return not self.compiled or any(p.fullmatch(text) for p in self.compiled)

    @property
    def all_match(self) -> bool:
        """Whether it makes no difference what the text is."""
        return not self.patterns or "*" in self.patterns


ANY = Globs()
"""Matches everything."""
