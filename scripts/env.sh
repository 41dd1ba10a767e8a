# Source this (bash or zsh) to work inside the environment that `make setup` made:
#
#     source scripts/env.sh            # ROS 2 Kilted wheels in .venv, this package in install/
#     ROS=jazzy source scripts/env.sh  # the same for .venv-jazzy and install-jazzy
#
# It replaces whatever ROS 2 distribution the shell had sourced: two on one path break each other.

robovlms_root="$(cd "$(dirname "${BASH_SOURCE[0]:-$0}")/.." && pwd)"
robovlms_suffix=""
[ "${ROS:-kilted}" = kilted ] || robovlms_suffix="-$ROS"
robovlms_venv="$robovlms_root/.venv$robovlms_suffix"
robovlms_prefix="$robovlms_root/install$robovlms_suffix/robovlms_ros"

if [ ! -x "$robovlms_venv/bin/python" ]; then
  echo "robovlms_ros: no environment in $robovlms_venv: run 'make setup' first" >&2
else
  robovlms_python="$("$robovlms_venv/bin/python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')"
  export VIRTUAL_ENV="$robovlms_venv"
  export PATH="$robovlms_venv/bin:$PATH"
  export ROS_VERSION=2 ROS_DISTRO="${ROS:-kilted}"
  export RMW_IMPLEMENTATION=rmw_fastrtps_cpp
  export AMENT_PREFIX_PATH="$robovlms_prefix:$robovlms_venv"
  export CMAKE_PREFIX_PATH="$robovlms_venv"
  export PYTHONPATH="$robovlms_prefix/lib/$robovlms_python/site-packages"
  export LD_LIBRARY_PATH="$robovlms_prefix/lib:$robovlms_venv/lib"
  # Nothing here needs to be seen from, or to see, another machine.
  export ROS_AUTOMATIC_DISCOVERY_RANGE="${ROS_AUTOMATIC_DISCOVERY_RANGE:-LOCALHOST}"
  # By default Fast DDS silently drops almost half of the frames of a 640x480 camera.
  export FASTDDS_DEFAULT_PROFILES_FILE="${FASTDDS_DEFAULT_PROFILES_FILE:-$robovlms_root/config/fastdds.xml}"
  # Jazzy and older read this name; newer ones warn about it.
  [ "$ROS_DISTRO" != jazzy ] ||
    export FASTRTPS_DEFAULT_PROFILES_FILE="${FASTRTPS_DEFAULT_PROFILES_FILE:-$FASTDDS_DEFAULT_PROFILES_FILE}"
fi
unset robovlms_root robovlms_suffix robovlms_venv robovlms_prefix robovlms_python
