"""Tracing a classifier with torch.fx, as finely as possible or only where it is to be cut.

A fine trace shows every place where a classifier could be cut. A coarse trace, made for building stages,
opens only the modules that contain a cut and calls all others whole, so that their own code (dropout,
stochastic depth, attention) runs unchanged and follows train() and eval().
"""

from __future__ import annotations

import inspect
import logging
import math
import operator
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torchvision
from torch import fx, nn

__all__ = ['CONSTANT', 'CutError', 'Trace', 'trace', 'undisturbed']

logger = logging.getLogger(__name__)

CONSTANT = '_tensor_constant'  # under this prefix torch.fx stores tensors made in a forward, on the module
_TORCHVISION_LAYERS = tuple(
    kind for _, kind in inspect.getmembers(torchvision.ops, inspect.isclass) if issubclass(kind, nn.Module)
)
_PURE_METHODS = {'size', 'dim', 'ndimension', 'numel', 'stride'}
_WRITING = {operator.setitem, operator.delitem} | {
    getattr(operator, name) for name in dir(operator) if name[0] == 'i' and f'__{name}__' in dir(operator)
}
_WRITING -= {operator.index, operator.inv, operator.invert}


class CutError(ValueError):
    """A classifier cannot be cut as asked for; the message says why and what to do instead."""


class Trace:
    """A traced forward: its graph, a readable name per node and every name by which a node may be called.

    A node that ends the call of a module has that module's path as its name, any other the path of the module
    it runs in followed by its operation: `layer2.1`, `encoder.add`. Where the calls of several modules end in
    one node, the outermost that is not merely a Sequential gives the name; the others are aliases. `depths`
    says how many calls of modules, other than Sequentials, a node is inside of; nodes in a module that is
    called repeatedly have none.
    """

    def __init__(self, graph: fx.Graph, tracer: _Tracer) -> None:
        _simplify(graph)
        kept = set(graph.nodes)
        self.graph = graph
        self.names = {node: name for node, name in tracer.names.items() if node in kept}
        self.aliases = {name: node for name, node in tracer.aliases.items() if node in kept}
        self.depths = {node: depth for node, depth in tracer.depths.items() if node in kept}

    @property
    def input(self) -> fx.Node:
        return next(node for node in self.graph.nodes if node.op == 'placeholder')

    @property
    def output(self) -> fx.Node:
        """The node whose value is the answer; of a tuple with auxiliary answers, the first."""
        (result,) = next(node for node in reversed(self.graph.nodes) if node.op == 'output').args
        while True:
            if isinstance(result, (tuple, list)) and result:
                result = result[0]
            elif isinstance(result, fx.Node) and _makes_tuple(result):
                result = result.args[0]
            elif isinstance(result, fx.Node):
                return result
            else:
                raise CutError(f'its forward returns a {type(result).__name__}, not a tensor of scores')


class _Tracer(fx.Tracer):
    """Names what it records; opens all that it can, or only the modules at the paths in `opened`."""

    def __init__(self, opened: frozenset[str] | None) -> None:
        modules: Any = (math, torchvision.ops)  # torch annotates a tuple of exactly one
        super().__init__(autowrap_modules=modules)
        self.opened = opened
        self.names: dict[fx.Node, str] = {}
        self.aliases: dict[str, fx.Node] = {}
        self.depths: dict[fx.Node, int] = {}
        # Calls that have not returned: the module's path, the name of this call.
        self.calls: list[tuple[str, str]] = [('', '')]
        self.containers: set[str] = {''}
        self.counts: Counter[str] = Counter()

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if self.opened is not None:
            return module_qualified_name not in self.opened
        return isinstance(m, _TORCHVISION_LAYERS) or super().is_leaf_module(m, module_qualified_name)

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        path = self.path_of_module(m)
        name = self._name(path, type(m).__name__)
        before = set(self.graph.nodes)
        if self.is_leaf_module(m, path):
            result = self.create_proxy('call_module', path, args, kwargs)
        else:
            self.calls.append((path, name))
            if type(m) is nn.Sequential:
                self.containers.add(path)
            try:
                result = forward(*args, **kwargs)
            except Exception as error:
                if self.opened is not None:
                    raise
                logger.debug('%s is kept whole: it cannot be traced (%s)', path, error)
                self._take_back(before)
                result = None
            finally:
                self.calls.pop()
            if result is None:
                result = self.create_proxy('call_module', path, args, kwargs)
        if isinstance(result, fx.Proxy) and result.node not in before:
            self._note(result.node, name, named=type(m) is not nn.Sequential)
        return result

    def create_proxy(
        self, kind: str, target: Any, args: Any, kwargs: Any, *rest: Any, **more: Any
    ) -> fx.Proxy:
        proxy = super().create_proxy(kind, target, args, kwargs, *rest, **more)
        if kind in ('call_function', 'call_method'):
            operation = target if isinstance(target, str) else getattr(target, '__name__', 'function')
            self._note(proxy.node, self._name(None, operation), named=True)
        return proxy

    def _note(self, node: fx.Node, name: str, named: bool) -> None:
        self.aliases[name] = node
        if named or node not in self.depths:
            self.names[node] = name
        if all(path == call for path, call in self.calls):
            self.depths[node] = sum(path not in self.containers for path, _ in self.calls)

    def _name(self, path: str | None, otherwise: str) -> str:
        """A new name below the innermost call: the path of a module below its caller, else `otherwise`."""
        caller, call = self.calls[-1]
        prefix = f'{caller}.' if caller else ''
        rest = path[len(prefix) :] if path and path.startswith(prefix) else otherwise
        name = f'{call}.{rest}' if call else rest
        number = self.counts[name]
        self.counts[name] += 1
        return f'{name}_{number}' if number else name

    def _take_back(self, before: set[fx.Node]) -> None:
        """Forget what was recorded since; parameters stay, torch.fx remembers their nodes."""
        for node in reversed(
            [each for each in self.graph.nodes if each not in before and each.op != 'get_attr']
        ):
            self.graph.erase_node(node)
            self.names.pop(node, None)
            self.depths.pop(node, None)
        self.aliases = {name: node for name, node in self.aliases.items() if node in before}


def trace(module: nn.Module, opened: Iterable[str] | None = None) -> Trace:
    """Trace `module` in its present mode; `opened` are the modules to open, by path; None opens all it can.

    Raises CutError where the forward of `module` itself cannot be traced.
    """
    tracer = _Tracer(None if opened is None else frozenset(opened))
    try:
        graph = tracer.trace(module, concrete_args=_defaults(module))
    except CutError:
        raise
    except Exception as error:
        reason = str(error).split('\n', 1)[0]
        raise CutError(
            f'{type(module).__name__} cannot be traced: {reason}. A forward that decides by the values of '
            'its input has no fixed order of layers; move the decision into a submodule, which is kept whole'
        ) from error
    return Trace(graph, tracer)


@contextmanager
def undisturbed(module: nn.Module, training: bool = False) -> Iterator[None]:
    """Put `module` into one mode, then each submodule back into its own; forget tracing's constants."""
    modes = [(each, each.training) for each in module.modules()]
    attributes = set(module._buffers) | set(vars(module))
    module.train(training)
    try:
        yield
    finally:
        for each, mode in modes:
            each.training = mode
        for name in {*module._buffers, *vars(module)} - attributes:
            if name.startswith(CONSTANT):
                delattr(module, name)


def _defaults(module: nn.Module) -> dict[str, Any] | None:
    """The arguments of a forward after the image, at their defaults."""
    others = list(inspect.signature(module.forward).parameters.values())[1:]
    named = [each for each in others if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
    missing = [each.name for each in named if each.default is each.empty]
    if missing:
        raise CutError(
            f'{type(module).__name__}.forward needs {", ".join(missing)} beside the image: wrap it in a '
            'module whose forward takes the image alone'
        )
    return {each.name: each.default for each in named} or None


def _makes_tuple(node: fx.Node) -> bool:
    return node.op == 'call_function' and isinstance(node.target, type) and issubclass(node.target, tuple)


def _simplify(graph: fx.Graph) -> None:
    """Erase assertions and unused sizes: they only lengthen lives. All else stays, it may have effects."""
    image = next(node for node in graph.nodes if node.op == 'placeholder')
    for node in reversed(graph.nodes):
        if node.users or node.op == 'output' or node is image:
            continue
        function = node.target if node.op == 'call_function' else None
        if (
            node.op in ('get_attr', 'placeholder')
            or function in (torch._assert, getattr)
            or getattr(function, '__name__', '') == '_assert_is_none'
            or (getattr(function, '__module__', None) == '_operator' and function not in _WRITING)
            or (node.op == 'call_method' and node.target in _PURE_METHODS)
        ):
            graph.erase_node(node)
