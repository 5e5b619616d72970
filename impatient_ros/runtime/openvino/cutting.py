"""A network's pieces as OpenVINO models, cut from one model that has every boundary in it.

Cut here and not in the file, pieces share the weights' memory until they are compiled, and the file is parsed
once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from impatient_ros.checkpoint.graph import boundary
from impatient_ros.runtime.pieces import Piece, pieces

__all__ = ['cut', 'makers']


def cut(whole: Any, exits: int) -> Iterator[tuple[Piece, Any]]:
    """Every piece of `whole`, an openvino.Model whose outputs are all features and scores, one by one."""
    for piece in pieces(exits):
        # Cutting changes the graph, so it is done on a copy (of the graph, not of its weights).
        model = whole.clone() if piece.source else whole
        made = makers(model)
        [entry] = model.get_parameters()
        if piece.source:
            entry = _entry(made[boundary(piece.source)])
        yield piece, _model([made[name] for name in piece.outputs], entry)


def makers(model: Any) -> Mapping[str, Any]:
    """What computes each named output."""
    return {
        name: output.get_node().input(0).get_source_output()
        for output in model.outputs
        for name in output.get_names()
    }


def _entry(maker: Any) -> Any:
    """Let whatever uses this tensor read a new input instead, which is returned."""
    from openvino import Type
    from openvino.op import Parameter

    entry = Parameter(Type.f32, maker.get_partial_shape())
    entry.set_friendly_name('entry')
    for user in maker.get_target_inputs():
        if user.get_node().get_type_name() != 'Result':
            user.replace_source_output(entry.output(0))
    return entry


def _model(outputs: list[Any], entry: Any) -> Any:
    from openvino import Model

    model = Model(outputs, [entry], 'piece')
    # Names that OpenVINO gives are numbered through the process; its cache would not find the piece again.
    for index, result in enumerate(model.get_results()):
        result.set_friendly_name(f'output_{index}')
    return model
