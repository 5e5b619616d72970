#!/bin/sh
# Prints the path of the Python that the environment is built with, or says on stderr what to install, exit code 1.
#
# PYTHON=... decides; else the first of python3, python3.14 ... python3.10 that runs and is 3.10 to 3.14.
# In a shell where a ROS 2 distribution is sourced it must be the distribution's Python: the one that imports rclpy.
# Being found on PATH proves nothing (a pyenv shim may have no Python behind it): each is asked to run.
set -u

usable='import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 14))'
# Not sys.executable: in an activated .venv that is the very environment that may have to be built anew.
path='import sys; print(sys._base_executable)'
system=${SYSTEM_PYTHON:-/usr/bin/python3} # another one in tests only
sourced=no
if [ -n "${ROS_DISTRO:-}" ] && [ -n "${AMENT_PREFIX_PATH:-}" ]; then
    sourced=yes
fi

suits() {
    "$1" -c "$usable" </dev/null >/dev/null 2>&1 || return 1
    [ "$sourced" = no ] || "$1" -c 'import rclpy' </dev/null >/dev/null 2>&1
}

version() {
    "$1" -c 'import platform; print("Python", platform.python_version())' </dev/null 2>/dev/null || echo 'does not run'
}

if [ -n "${PYTHON:-}" ]; then
    if suits "$PYTHON"; then
        exec "$PYTHON" -c "$path"
    fi
    candidates=$PYTHON
else
    # The system's own last: pyenv, conda or an activated venv may hide it.
    candidates="python3 python3.14 python3.13 python3.12 python3.11 python3.10 $system"
    for candidate in $candidates; do
        if suits "$candidate"; then
            exec "$candidate" -c "$path"
        fi
    done
fi

if [ "$sourced" = yes ]; then
    echo "ROS 2 $ROS_DISTRO is sourced, but no suitable Python (3.10 to 3.14) imports its rclpy. Tried:" >&2
else
    echo "A Python from 3.10 to 3.14 is needed. Tried:" >&2
fi
for candidate in $candidates; do
    echo "    $candidate: $(version "$candidate")" >&2
done
if [ "$sourced" = yes ]; then
    cat >&2 <<END
Either install it and source the distribution again:
    sudo apt-get install ros-$ROS_DISTRO-rclpy
or use a shell where no distribution is sourced; ROS 2 then comes from PyPI.
END
elif [ -n "${PYTHON:-}" ]; then
    echo "Leave PYTHON= out to let make look for one, or name another: make PYTHON=/path/to/python3" >&2
elif [ -x "$system" ]; then
    # Installing the system's packages again would change nothing.
    cat >&2 <<END
The Python of this system does not suit, and its packages have no other one. Install one beside it, for example
    uv python install 3.12      (or pyenv, or conda)
and name it: make PYTHON=/path/to/python3.12
END
else
    command -v g++ >/dev/null 2>&1 && compiler= || compiler=' g++'
    cat >&2 <<END
Install one:
    sudo apt-get install python3 python3-venv python3-dev$compiler
END
fi
exit 1
