"""What a runtime is made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from impatient_ros.runtime.base import RuntimeUnavailableError
from impatient_ros.runtime.packages import import_package

if TYPE_CHECKING:
    from impatient_ros.checkpoint.graph import Graph
    from impatient_ros.network import ImpatientNetwork

__all__ = ['Source']


@dataclass(frozen=True)
class Source:
    """What is to be executed, in the forms that runtimes want.

    Attributes:
        graphs: the computation graph with its weights, at each resolution, ascending; (): there is only the
            network.
        network: builds the network at the largest resolution, with torch; None: there are only graphs. Raises
            ValueError, saying why, where the code that the network is made of is not known here.
        digest: identifies the weights: what a runtime makes of them is then kept in the user's cache.
        resolutions: px, ascending, for a network without graphs; (): only its own.
        quantised: the same graphs with layers in int8; (): there are none.
        accuracy_kept: for each precision that labelled pictures were run in, whether 'auto' may take it.
    """

    graphs: tuple[Graph, ...] = ()
    network: Callable[[], ImpatientNetwork] | None = None
    digest: str | None = None
    resolutions: tuple[int, ...] = ()
    quantised: tuple[Graph, ...] = ()
    accuracy_kept: Mapping[str, bool] = field(default_factory=dict)

    @property
    def graph(self) -> Graph | None:
        """That of the largest resolution; None: there is only the network."""
        return self.graphs[-1] if self.graphs else None

    @property
    def sides(self) -> tuple[int, ...]:
        """The resolutions, px, ascending; (): only the network's own."""
        return tuple(graph.input_shape[1] for graph in self.graphs) or self.resolutions

    def graphs_for(self, runtime: str, precision: str) -> tuple[Graph, ...]:
        """Those that compute in that precision. Raises RuntimeUnavailableError where there are none."""
        if precision == 'int8' and self.quantised:
            return self.quantised
        if not self.graphs:
            raise RuntimeUnavailableError(
                f'runtime {runtime!r} needs a checkpoint with a graph, and this one has none: write it anew '
                'with python -m impatient_ros.checkpoint convert OLD NEW, or write runtime eager'
            )
        if precision == 'int8':
            raise RuntimeUnavailableError(
                "precision 'int8': this checkpoint has no int8 graph; make one with "
                'python -m training.quantize, or write precision auto'
            )
        return self.graphs

    def network_for(self, purpose: str, instead: str) -> ImpatientNetwork:
        """The network in torch. Raises RuntimeUnavailableError where it, or torch, is missing.

        Args:
            purpose: what needs it, the beginning of the message.
            instead: what to write where it is not to be had.
        """
        if self.network is None:
            raise RuntimeUnavailableError(
                f'{purpose} needs the network itself, and there is only its graph; {instead}'
            )
        import_package('torch', purpose, instead)
        try:
            return self.network()
        except ValueError as error:
            raise RuntimeUnavailableError(
                f'{purpose} needs the network itself: {error}; {instead}'
            ) from error
