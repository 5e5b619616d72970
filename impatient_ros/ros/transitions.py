"""Requests for transitions of a lifecycle node: in a thread of their own, and the impossible ones refused."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from lifecycle_msgs.srv import ChangeState
from rclpy.lifecycle import LifecycleNode

from impatient_ros.ros.long_requests import LongRequests
from impatient_ros.ros.requests import RequestRefusedError

__all__ = ['serve_transitions']


def serve_transitions(node: LifecycleNode, long_requests: LongRequests) -> None:
    """Let `long_requests` take the steps that the service ~/change_state of `node` is asked for."""
    for service in node.services:
        if service.srv_type is ChangeState:
            service.callback_group = long_requests.group
            service.callback = partial(_change_state, node, long_requests, service.callback)


async def _change_state(
    node: LifecycleNode,
    long_requests: LongRequests,
    change: Callable[[ChangeState.Request, ChangeState.Response], ChangeState.Response],
    request: ChangeState.Request,
    response: ChangeState.Response,
) -> ChangeState.Response:
    """Serve a request with rclpy's `change`, which does not refuse every impossible transition."""
    asked = request.transition
    machine = node._state_machine  # rclpy offers no other way to know what is possible
    possible = {number: label for number, label, *_ in machine.available_transitions}
    name = asked.label or possible.get(asked.id, f'transition {asked.id}')
    if name not in possible.values():
        raise RequestRefusedError(
            f'{name} is not possible while {machine.current_state[1]}: '
            f'possible are {", ".join(possible.values()) or "none"}'
        )
    return await long_requests.start(f'the transition {name}', partial(change, request, response))
