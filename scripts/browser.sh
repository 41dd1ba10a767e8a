#!/usr/bin/env bash
# Sees to it that there is a Chromium, in which tests look at the HTML report of a replay: installs Debian's where it
# may (as root, with apt; 100 MB), and otherwise says the command that does. Exit status 0 where there is one.
# .ci/run calls it; without a browser those tests are skipped.
set -uo pipefail

for name in chromium chromium-browser google-chrome google-chrome-stable chrome; do
  command -v "$name" >/dev/null && exit 0
done

say() { printf "setup: %s\n" "$*" >&2; }
apt() { DEBIAN_FRONTEND=noninteractive timeout 300 apt-get "$@" >/dev/null 2>&1; }

# Ubuntu's package of that name only leads to a snap.
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && grep -qs '^ID=debian' /etc/os-release; then
  say "installing chromium, in which tests look at reports ..."
  apt install -y --no-install-recommends chromium ||
    { apt update && apt install -y --no-install-recommends chromium; }
  command -v chromium >/dev/null && exit 0
fi
say "no Chromium here, so nobody looks at reports in a browser: 'sudo apt install chromium' (all else works without)."
exit 1
