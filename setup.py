"""The installable package: what colcon and pip install, and where.

Metadata stands here rather than in pyproject.toml because the distributions' colcon reads it here. What
the runtime needs from other packages is in package.xml (rosdep) and requirements/ (pip).
"""

import os
import re
from pathlib import Path

from setuptools import find_packages, setup

NAME = 'impatient_ros'
ROOT = Path(__file__).resolve().parent
SHARE = f'share/{NAME}'
# Folders that are installed as they are, with their subfolders.
RESOURCES = ('config', 'launch', 'models')


def resource_files():
    """(destination, files) for each folder in RESOURCES; paths relative to this file, as setuptools asks."""
    for resource in RESOURCES:
        for folder, folders, names in os.walk(ROOT / resource):
            folders[:] = [name for name in folders if name != '__pycache__']
            relative = Path(folder).relative_to(ROOT)
            files = [str(relative / name) for name in sorted(names) if not name.endswith('.pyc')]
            if files:
                yield f'{SHARE}/{relative.as_posix()}', files


def version():
    """The version in package.xml, the only place where it is written."""
    return re.search(r'<version>(.+?)</version>', (ROOT / 'package.xml').read_text())[1]


setup(
    name=NAME,
    version=version(),
    description='Image classification on a deadline, for ROS 2',
    license='Apache-2.0',
    maintainer='The impatient_ros developers',
    maintainer_email='impatient-ros@users.noreply.github.com',
    python_requires='>=3.10',
    packages=find_packages(include=[NAME, f'{NAME}.*']),
    package_data={NAME: ['py.typed']},  # our annotations count for whoever imports us
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{NAME}']),
        (SHARE, ['package.xml']),
        *resource_files(),
    ],
    # colcon test runs pytest where it finds it here; requirements/ has all that the tests need.
    extras_require={'test': ['pytest']},
    entry_points={
        'console_scripts': [
            f'perception_node = {NAME}.ros.programs:perception_node',
            f'replay_camera = {NAME}.ros.programs:replay_camera',
        ],
    },
    zip_safe=False,
)
