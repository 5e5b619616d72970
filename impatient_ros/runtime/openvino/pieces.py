"""The pieces of a staged network as OpenVINO models, cut from one model that has every boundary in it.

Pieces, T of each kind: `path` t, from the image to the scores of exit t in one go; `stage` t; `stage_exit` t,
the stage and its scores, which saves a boundary; `exit` t, the head alone. Cut here and not in the file,
pieces share the weights' memory until they are compiled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from impatient_ros.checkpoint.graph import boundary, logits

__all__ = ['Key', 'feature_shapes', 'pieces']

Key = tuple[str, int]  # kind and index


def pieces(whole: Any, exits: int) -> Iterator[tuple[Key, Any]]:
    """Every piece of `whole`, an openvino.Model whose outputs are all features and scores, one by one.

    The first output of `stage` and `stage_exit` are the features, the last one of the others the scores.
    """
    makers = _makers(whole)
    [image] = whole.get_parameters()
    for t in range(exits):
        yield ('path', t), _model([makers[logits(t)]], image)
        stage = [makers[boundary(1)], makers[logits(0)]]
        yield ('stage_exit', t), _model(stage, image) if t == 0 else _stage_with_head(whole, t)
    # Cutting at every boundary changes the graph, so it is done on a copy (of the graph, not of its weights).
    separate = whole.clone()
    makers = _makers(separate)
    entries = [*separate.get_parameters(), *(_cut(makers[boundary(t + 1)]) for t in range(exits))]
    for t in range(exits):
        yield ('stage', t), _model([makers[boundary(t + 1)]], entries[t])
        yield ('exit', t), _model([makers[logits(t)]], entries[t + 1])


def feature_shapes(whole: Any, exits: int) -> list[list[int]]:
    """The shape of what each stage returns [T]."""
    makers = _makers(whole)
    return [list(makers[boundary(t + 1)].get_shape()) for t in range(exits)]


def _stage_with_head(whole: Any, index: int) -> Any:
    copy = whole.clone()
    makers = _makers(copy)
    entry = _cut(makers[boundary(index)])
    return _model([makers[boundary(index + 1)], makers[logits(index)]], entry)


def _makers(model: Any) -> Mapping[str, Any]:
    """What computes each named output."""
    return {
        name: output.get_node().input(0).get_source_output()
        for output in model.outputs
        for name in output.get_names()
    }


def _cut(maker: Any) -> Any:
    """Let whatever uses this tensor read a new input instead, which is returned."""
    from openvino import Type
    from openvino.op import Parameter

    entry = Parameter(Type.f32, maker.get_partial_shape())
    entry.set_friendly_name('entry')
    for user in maker.get_target_inputs():
        if user.get_node().get_type_name() != 'Result':
            user.replace_source_output(entry.output(0))
    return entry


def _model(makers: Sequence[Any], entry: Any) -> Any:
    from openvino import Model

    model = Model(list(makers), [entry], 'piece')
    # Names that OpenVINO gives are numbered through the process; its cache would not find the piece again.
    for index, result in enumerate(model.get_results()):
        result.set_friendly_name(f'output_{index}')
    return model
