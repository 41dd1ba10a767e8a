#!/usr/bin/env bash
# Sees to it that the simulator can draw without a screen: looks for EGL and OSMesa, installs what is missing where it
# may (as root, with apt), and otherwise says the one command that does. Exit status 0 where it can draw.
# scripts/setup.sh calls it.
#
#     scripts/rendering.sh .venv/bin/python [LOG]
set -uo pipefail
cd "$(dirname "$0")/.."

python="$1"
log="${2:-/dev/null}"
unset MUJOCO_GL PYOPENGL_PLATFORM

say() { printf "setup: %s\n" "$*" >&2; }

draws() {
  for backend in egl osmesa; do
    timeout 60 "$python" -m robovlms_ros.sim.rendering_probe "$backend" >>"$log" 2>&1 && return
  done
  return 1
}

apt() { DEBIAN_FRONTEND=noninteractive timeout 300 apt-get "$@" >>"$log" 2>&1; }

draws && exit 0

egl="libegl1 libegl-mesa0 libgl1-mesa-dri"
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  # OSMesa where EGL finds no device; newer distributions no longer have it.
  for packages in "$egl" libosmesa6; do
    say "installing $packages, with which the simulator draws without a screen ..."
    # shellcheck disable=SC2086
    apt install -y --no-install-recommends $packages ||
      { apt update && apt install -y --no-install-recommends $packages; } || continue
    draws && exit 0
  done
fi
say "the simulator cannot draw its cameras' images here: 'sudo apt install $egl' (everything else works without)."
exit 1
