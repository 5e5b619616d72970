"""Services that answer every request: what cannot be served is refused with a reason, logged and counted.

rclpy lets an exception of a service's callback end the executor, and leaves the caller without an answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import SetParameters, SetParametersAtomically
from rclpy.executors import await_or_execute
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.service import Service
from std_srvs.srv import Trigger

from impatient_ros.perception.faults import Faults

__all__ = ['RequestRefusedError', 'guard_services']

LONGEST_NAMES = 100  # characters: a request can be megabytes long


class RequestRefusedError(Exception):
    """For callbacks of services: the request cannot be served; the text says why, and what to do instead."""


def guard_services(node: Node, faults: Faults) -> None:
    """Guard all services that `node` has by now, those of its parameters and lifecycle included."""
    for service in node.services:
        service.callback = _guarded(service, faults)


def _guarded(service: Service, faults: Faults) -> Callable[..., Any]:
    kind, name, callback = service.srv_type, service.srv_name, service.callback

    async def answer(request: Any) -> Any:
        try:
            _require_well_formed(request)
            response = await await_or_execute(callback, request, kind.Response())
        except RequestRefusedError as error:
            faults.refused(_named(name, request), str(error))
            return _refusal(kind, str(error))
        except Exception as error:  # noqa: BLE001
            faults.survived(name, error)
            return _refusal(kind, f'an internal error of the node: {error!r}')
        reason = _reason(kind, response)
        if reason:
            faults.refused(_named(name, request), reason)
        return response

    async def answer_each(request: Any, response: Any) -> Any:
        # Each by itself, as this service promises: one that is refused keeps no other from being set.
        results: list[SetParametersResult] = []
        for parameter in request.parameters:
            alone = await answer(SetParameters.Request(parameters=[parameter]))
            results.extend(alone.results)
        response.results = results
        return response

    async def answer_whole(request: Any, response: Any) -> Any:
        return await answer(request)

    return answer_each if kind is SetParameters else answer_whole


def _named(service: str, request: Any) -> str:
    """What was asked, for the log: rclpy's own reasons do not name the parameter."""
    names = ', '.join(each.name for each in getattr(request, 'parameters', ()))
    return f'{service} ({names[:LONGEST_NAMES]}):' if names else f'{service}:'


def _require_well_formed(request: Any) -> None:
    if isinstance(request, SetParameters.Request | SetParametersAtomically.Request):
        for each in request.parameters:
            if not each.name:  # rclpy would declare it: its look for undeclared ones overlooks this name
                raise RequestRefusedError('a parameter comes without a name: write which one is to be set')
            try:
                Parameter.from_parameter_msg(each)
            except ValueError as error:
                known = f'1 to {max(kind.value for kind in Parameter.Type)}'
                raise RequestRefusedError(
                    f'{each.name} comes with a value of type {each.value.type}: the types are {known}, '
                    'see rcl_interfaces/msg/ParameterType'
                ) from error


def _refusal(kind: Any, reason: str) -> Any:
    response = kind.Response()
    if kind is SetParameters:
        response.results = [SetParametersResult(successful=False, reason=reason)]
    elif kind is SetParametersAtomically:
        response.result = SetParametersResult(successful=False, reason=reason)
    elif kind is Trigger:
        response.success, response.message = False, reason
    elif kind is ChangeState:
        response.success = False
    return response


def _reason(kind: Any, response: Any) -> str:
    """Why the request was refused; '' where it was served."""
    if kind is SetParameters:
        return '; '.join(each.reason for each in response.results if not each.successful)
    if kind is SetParametersAtomically:
        return '' if response.result.successful else response.result.reason
    if kind is Trigger:
        return '' if response.success else response.message
    return ''
