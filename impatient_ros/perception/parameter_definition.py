"""One parameter's definition: kind, default, meaning, limits; converts what people write."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any

from impatient_ros.suggestions import did_you_mean

__all__ = ['Definition', 'ParameterError', 'defined', 'definitions', 'nearest']

_KINDS = {
    'bool': 'true or false, without quotes',
    'integer': 'a whole number',
    'number': 'a number',
    'text': 'a text',
    'texts': "a list of texts such as ['front', 'rear']",
    'integers': 'a list of whole numbers',
}


class ParameterError(ValueError):
    """Values that cannot be; `problems` has one sentence for each, saying what to write instead."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__('; '.join(self.problems))


@dataclass(frozen=True)
class Definition:
    """A parameter without its name."""

    kind: str  # a key of _KINDS
    default: Any  # None: not set, something else stands in
    description: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    pattern: str = ''  # what a text must match in full
    expected: str = ''  # what to write, where kind, limits and choices do not say it
    read_only: bool = False  # for good, once the node has started
    locked: str = ''  # 'active' or 'configured': the state in which it cannot change

    @property
    def constraint(self) -> str:
        """What to write, for people."""
        if self.expected:
            return self.expected
        if self.choices:
            return 'one of ' + ', '.join(self.choices)
        if self.low is not None and self.high is not None:
            return f'{_KINDS[self.kind]} from {self.low:g} to {self.high:g}'
        return _KINDS[self.kind]

    def convert(self, name: str, value: Any) -> Any:
        """The value in the type that the node works with; whole numbers are accepted for numbers.

        Raises `ParameterError` with the parameter's name and what to write.
        """
        converted = self._typed(value)
        if converted is not None and self._permits(converted):
            return converted
        text = f'{name} is {value!r}: write {self.constraint}'
        if self.choices and isinstance(value, str):
            text += nearest(value, self.choices)
        raise ParameterError([text])

    def _typed(self, value: Any) -> Any:
        """The value in its Python type; None where it has another."""
        if isinstance(value, bool):
            return value if self.kind == 'bool' else None
        if self.kind == 'number':
            return float(value) if isinstance(value, int | float) else None
        if self.kind == 'integer':
            return value if isinstance(value, int) else None
        if self.kind == 'text':
            return value if isinstance(value, str) else None
        if self.kind not in ('texts', 'integers') or isinstance(value, str | int | float):
            return None
        items = tuple(value)  # of a list, or of the array.array that a parameter service brings
        of = str if self.kind == 'texts' else int
        return items if all(isinstance(item, of) and not isinstance(item, bool) for item in items) else None

    def _permits(self, value: Any) -> bool:
        if self.kind == 'number' and not math.isfinite(value):
            return False
        if self.low is not None and value < self.low:
            return False
        if self.high is not None and value > self.high:
            return False
        if self.choices and value not in self.choices:
            return False
        return not self.pattern or re.fullmatch(self.pattern, value) is not None


def defined(kind: str, default: Any, description: str, **limits: Any) -> Any:
    """A dataclass field that is a parameter."""
    return field(default=default, metadata={'definition': Definition(kind, default, description, **limits)})


def definitions(parameters: type) -> dict[str, Definition]:
    """The parameters among a dataclass's fields, by field name."""
    return {f.name: f.metadata['definition'] for f in fields(parameters) if 'definition' in f.metadata}


def nearest(word: str, known: Iterable[str]) -> str:
    """' (did you mean ...?)' where a known word is near, else ''."""
    text = did_you_mean(word, known)
    return f' ({text})' if text else ''
