"""The environment variables that let big images through: the DDS profile and the allocator's thresholds.

With Fast DDS' defaults most 640x480 frames never arrive: the shared-memory segment is smaller than the
message, which then travels as UDP fragments that one lost datagram spoils. Every process that *publishes*
images needs the profile (camera drivers too), since its own segment must hold the image. The node has one of
its own with a smaller segment. glibc's defaults map and unmap each image's buffer anew, a page-fault storm
that doubles the latency.

Imports nothing of ROS, so that launch files, the demo and tests can prepare a child's environment with it.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from impatient_ros.resources import resource_path

__all__ = ['CAMERA_PROFILE', 'NODE_PROFILE', 'shared_memory_problem', 'transport_environment']

# Bytes of shared memory that one process takes with these profiles: the size of its file in /dev/shm with
# Fast DDS 2.14.
CAMERA_SEGMENT, NODE_SEGMENT = 70_255_136, 17_564_192

# Files in config/: for what publishes images, and for the perception node, which receives them.
CAMERA_PROFILE = 'fastdds.xml'
NODE_PROFILE = 'fastdds_node.xml'

# Fast DDS 2 (Humble to Jazzy) reads the first name, Fast DDS 3 (Kilted and later) the second.
PROFILE_VARIABLES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')

# Another way to choose Fast DDS' transports, which our profile would overrule.
TRANSPORTS_VARIABLE = 'FASTDDS_BUILTIN_TRANSPORTS'

# Bytes. Buffers below the first are kept on the heap and reused; the heap shrinks only above the second.
ALLOCATOR = {'MALLOC_MMAP_THRESHOLD_': '1073741824', 'MALLOC_TRIM_THRESHOLD_': '4294967296'}


def transport_environment(environ: Mapping[str, str], profile: str = CAMERA_PROFILE) -> dict[str, str]:
    """The variables to add to `environ` for processes that send or receive images.

    What is set already stays: if either name of the profile is set to another file than ours, or Fast DDS'
    transports are chosen by name, somebody has chosen and no profile is added; an allocator threshold that is
    set is not added. An empty value counts as not set.

    Args:
        environ: what the process would have.
        profile: CAMERA_PROFILE or NODE_PROFILE.

    Raises FileNotFoundError if the profile is not where this package was installed.
    """
    added: dict[str, str] = {}
    ours = {name: str(resource_path('config', name)) for name in (CAMERA_PROFILE, NODE_PROFILE)}
    if not environ.get(TRANSPORTS_VARIABLE) and all(
        environ.get(name, '') in ('', *ours.values()) for name in PROFILE_VARIABLES
    ):
        added.update(dict.fromkeys(PROFILE_VARIABLES, ours[profile]))
    added.update({name: value for name, value in ALLOCATOR.items() if not environ.get(name)})
    return added


def shared_memory_problem(environ: Mapping[str, str], folder: Path = Path('/dev/shm')) -> str:
    """What is wrong with this machine's shared memory for the profiles that `environ` names, and what to do;
    '': nothing, or other profiles than ours are used.
    """
    ours = {str(resource_path('config', name)) for name in (CAMERA_PROFILE, NODE_PROFILE)}
    if not any(environ.get(name) in ours for name in PROFILE_VARIABLES):
        return ''
    try:
        usage = os.statvfs(folder)
    except OSError as error:
        where = f'{folder}: {error.strerror}'
        return f'there is no shared memory ({where}), and images go over UDP: mount a tmpfs there'
    size, needed = usage.f_blocks * usage.f_frsize, CAMERA_SEGMENT + NODE_SEGMENT
    if size >= needed:
        return ''
    return (
        f'{folder} has {size / 1e6:.0f} MB of shared memory, and a camera driver with our profile and this '
        f'node need {needed / 1e6:.0f}: make it larger (docker run --shm-size=256m)'
    )
