"""Making sure that subscribers know of a publisher before it publishes.

A publisher can learn of a subscriber before the subscriber learns of it: milliseconds on an idle machine,
seconds on a busy one. Best-effort messages sent in between are lost, and no gap in the sequence shows it.
"""

import time
from collections.abc import Callable
from threading import Event

from rcl_interfaces.srv import GetParameterTypes
from rclpy.client import Client
from rclpy.node import Node

__all__ = ['wait_until_known']

# Seconds until a request is repeated: a response is lost while the other node has not yet discovered this
# client's reader. Chosen, not measured.
RETRY = 0.25
# Seconds after which subscribers without parameter services are no longer waited for: they cannot be asked.
# Chosen, not measured.
WITHOUT_SERVICES = 2.0


def wait_until_known(node: Node, topic: str, timeout: float, stopped: Callable[[], bool]) -> bool:
    """Wait until every node that subscribes to `topic` knows the publishers that `node` has made so far.

    Discovery is ordered: a client is made after the publisher, so a node that answers its request knows the
    publisher, too. An executor must spin `node`. Returns False if a node does not answer within `timeout`
    seconds, or has no parameter services to ask.
    """
    start = time.monotonic()
    clients: dict[str, Client] = {}
    answered: dict[str, Event] = {}
    try:
        while not stopped() and time.monotonic() - start < timeout:
            for service in _parameter_services(node, topic):
                if service not in clients:
                    clients[service] = node.create_client(GetParameterTypes, service)
                    answered[service] = Event()
            waiting = [service for service in clients if not answered[service].is_set()]
            if clients and not waiting:
                return True
            ready = [service for service in waiting if clients[service].service_is_ready()]
            if clients and not ready and time.monotonic() - start > WITHOUT_SERVICES:
                return False
            for service in ready:
                future = clients[service].call_async(GetParameterTypes.Request())
                future.add_done_callback(lambda _, event=answered[service]: event.set())
            if ready:
                answered[ready[0]].wait(RETRY)
            else:
                time.sleep(RETRY / 10)
        return False
    finally:
        for client in clients.values():
            node.destroy_client(client)


def _parameter_services(node: Node, topic: str) -> set[str]:
    found = set()
    for endpoint in node.get_subscriptions_info_by_topic(topic):
        if 'UNKNOWN' not in endpoint.node_name:  # its name comes a little later than its subscription
            found.add(f'{endpoint.node_namespace.rstrip("/")}/{endpoint.node_name}/get_parameter_types')
    return found
