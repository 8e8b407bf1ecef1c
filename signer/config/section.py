"""What all sections of the configuration have in common."""

from typing import Self

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Base of all sections."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    def switched(self) -> Self:
        """Refuse keys of a section with ``enabled`` that is off without anybody having said so; off on purpose is well.

        Raises:
            ValueError: They would have no effect.
        """
        given = [name for name in type(self).model_fields if name in self.model_fields_set]
        if given and "enabled" not in given:
            raise ValueError(f"{', '.join(given)} {_has(given)} no effect: set enabled to true, or to false")
        return self


def _has(names: list[str]) -> str:
    return "has" if len(names) == 1 else "have"
