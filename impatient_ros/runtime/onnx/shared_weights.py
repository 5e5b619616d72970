"""Several ONNX models that have their weights in common: as bytes for a cache, and while they are built."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ['Models', 'Weights']

SMALL = 256  # bytes; weights below are kept in the graph: shapes and the like, which ONNX Runtime looks at


@dataclass(frozen=True)
class Models:
    """The models' graphs by name (`switch`, `path_0`, `stage_0`, ...), serialised, and their common weights.

    In the graphs the weights are marked as external; whoever makes a session hands in those that it `uses`.
    """

    graphs: dict[str, bytes]
    uses: dict[str, list[str]]
    weights: dict[str, np.ndarray]

    def to_bytes(self) -> bytes:
        """Everything in one piece, for a cache."""
        arrays: dict[str, Any] = {f'weight:{name}': value for name, value in self.weights.items()}
        for name, data in self.graphs.items():
            arrays[f'graph:{name}'] = np.frombuffer(data, np.uint8)
            arrays[f'uses:{name}'] = np.array(self.uses[name], dtype=np.str_)
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Models:
        """The inverse of `to_bytes`; raises what NumPy raises for anything else."""
        models = cls({}, {}, {})
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            for key in file.files:
                kind, _, name = key.partition(':')
                if kind == 'graph':
                    models.graphs[name] = file[key].tobytes()
                elif kind == 'uses':
                    models.uses[name] = file[key].tolist()
                else:
                    models.weights[name] = file[key]
        return models


class Weights:
    """The weights of all models, each content once; `large` are those whose data no graph has."""

    def __init__(self) -> None:
        self.large: dict[str, np.ndarray] = {}
        self._small: dict[str, np.ndarray] = {}
        self._names: dict[bytes, str] = {}

    def take(self, graph: Any) -> dict[str, str]:
        """Take a graph's initializers over; returns their new names by the old ones."""
        from onnx import numpy_helper

        renamed = {tensor.name: self._stored(numpy_helper.to_array(tensor)) for tensor in graph.initializer}
        del graph.initializer[:]
        return renamed

    def declare(self, graph: Any, names: Iterable[str]) -> list[str]:
        """Make weights known to a graph; returns the names of those that it lacks the data of."""
        from onnx import numpy_helper

        lacking = []
        for name in sorted(set(names)):
            if name in self._small:
                graph.initializer.append(numpy_helper.from_array(self._small[name], name))
                continue
            value = self.large[name]
            kind = numpy_helper.from_array(np.zeros(1, value.dtype)).data_type
            # 1: external. There is no such file; the data are handed in when a session is made.
            tensor = graph.initializer.add(name=name, data_type=kind, dims=value.shape, data_location=1)
            for key, text in (('location', 'shared'), ('offset', '0'), ('length', str(value.nbytes))):
                tensor.external_data.add(key=key, value=text)
            lacking.append(name)
        return lacking

    def _stored(self, value: np.ndarray) -> str:
        digest = hashlib.sha256(f'{value.dtype} {value.shape}'.encode())
        digest.update(np.ascontiguousarray(value).data)
        key = digest.digest()
        if key not in self._names:
            self._names[key] = name = f'w{len(self._names)}'
            (self._small if value.nbytes < SMALL else self.large)[name] = value
        return self._names[key]
