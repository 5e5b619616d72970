#!/bin/sh
# Prints the path of the Python that the environment is built with, or says on stderr what to install, exit code 1.
#
# PYTHON=... decides; else the first of python3, python3.12, python3.11, python3.10 that runs and is 3.10 to 3.12.
# In a shell where a ROS 2 distribution is sourced it must be the distribution's Python: the one that imports rclpy.
# Being found on PATH proves nothing (a pyenv shim may have no Python behind it): each is asked to run.
set -u

usable='import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))'
# Not sys.executable: in an activated .venv that is the very environment that may have to be built anew.
path='import sys; print(sys._base_executable)'
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
    echo "PYTHON=$PYTHON cannot be used: $(version "$PYTHON")." >&2
    candidates=$PYTHON
else
    # Debian's own last: pyenv, conda or an activated venv may hide it.
    candidates='python3 python3.12 python3.11 python3.10 /usr/bin/python3'
    for candidate in $candidates; do
        if suits "$candidate"; then
            exec "$candidate" -c "$path"
        fi
    done
fi

if [ "$sourced" = yes ]; then
    cat >&2 <<END
ROS 2 $ROS_DISTRO is sourced in this shell, but no suitable Python (3.10 to 3.12) imports its rclpy. Either install it:
    sudo apt-get install ros-$ROS_DISTRO-rclpy
and source the distribution again, or use a shell where none is sourced; ROS 2 then comes from PyPI.
END
else
    echo "Python 3.10, 3.11 or 3.12 is needed. Tried:" >&2
    for candidate in $candidates; do
        echo "    $candidate: $(version "$candidate")" >&2
    done
    cat >&2 <<END
Install one, or name one that you have as PYTHON=/path/to/python3:
    sudo apt-get install python3 python3-venv python3-dev
END
fi
exit 1
