"""What people can do about images that were published and never arrived: it depends on the middleware."""

from dataclasses import dataclass

__all__ = ['Transport']

# Bytes. Fast DDS' shared-memory segment unless a profile says otherwise: what is larger travels as UDP
# fragments, of which one lost is all lost. Other middlewares cut into datagrams from 64 KiB on.
FAST_DDS_SEGMENT = 512 * 1024
DATAGRAM = 64 * 1024
FAST_DDS = 'rmw_fastrtps'


@dataclass(frozen=True)
class Transport:
    """How images reach this node.

    Attributes:
        rmw: the middleware's name as ROS has it.
        profile: path of the DDS profile for camera drivers, which is Fast DDS'.
        shared_memory: what is wrong with this machine's shared memory, and what to do; '': nothing.
    """

    rmw: str = 'rmw_fastrtps_cpp'
    profile: str = 'config/fastdds.xml'
    shared_memory: str = ''

    def advice(self, message_bytes: int) -> str:
        """What to do where images of that size get lost."""
        size = f'images of {message_bytes / 1e6:.1f} MB'
        if self.rmw.startswith(FAST_DDS) and message_bytes > FAST_DDS_SEGMENT:
            profile = f'export FASTRTPS_DEFAULT_PROFILES_FILE={self.profile}'
            advice = f'for {size} start the camera driver with the DDS profile, too: {profile}'
            return f'{advice}; {self.shared_memory}' if self.shared_memory else advice
        if not self.rmw.startswith(FAST_DDS) and message_bytes > DATAGRAM:
            return (
                f'{size} need larger receive buffers than {self.rmw} has: raise net.core.rmem_max and what '
                'the middleware takes of it, or let the camera publish smaller or compressed images'
            )
        return (
            'images this small get lost where this machine or its network is overloaded: lower the rate or '
            "the machine's load, or use a wired network"
        )
