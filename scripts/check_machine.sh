#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Prints the Python to build with, or says in one sentence what this machine lacks.
#   check_machine.sh [PYTHON]    PYTHON: the only interpreter to consider; default: the first that is new enough
set -u

lacks() {
  echo "warphash cannot be built here: $1" >&2
  exit 1
}

new_enough() {
  "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

if [ -n "${1:-}" ]; then
  command -v "$1" >/dev/null 2>&1 || lacks "PYTHON=$1 is no program on this machine."
  new_enough "$1" || lacks "PYTHON=$1 is $("$1" --version 2>&1), and Python 3.11 or newer is needed."
  python=$1
else
  python=
  for candidate in python3 python3.13 python3.12 python3.11; do
    if command -v "$candidate" >/dev/null 2>&1 && new_enough "$candidate"; then
      python=$candidate
      break
    fi
  done
  found=$(python3 --version 2>/dev/null || echo "no python3")
  [ -n "$python" ] || lacks "Python 3.11 or newer is needed and $found was found; install one or name it with PYTHON=…"
fi

"$python" -c 'import venv, ensurepip' 2>/dev/null ||
  lacks "$python has no venv module (Debian and Ubuntu: apt install python3-venv)."
"$python" - <<'END' || lacks "$python has no header Python.h (Debian and Ubuntu: apt install python3-dev)."
import os, sys, sysconfig
sys.exit(not os.path.isfile(os.path.join(sysconfig.get_path("include"), "Python.h")))
END

compiler=${CXX:-}
if [ -z "$compiler" ]; then
  for candidate in c++ g++ clang++; do
    if command -v "$candidate" >/dev/null 2>&1; then
      compiler=$candidate
      break
    fi
  done
fi
[ -n "$compiler" ] || lacks "there is no C++ compiler (Debian and Ubuntu: apt install g++)."
# CXX may hold a launcher and flags too.
# shellcheck disable=SC2086
printf '#include <bit>\n#include <span>\nint bits(std::span<const unsigned> x) { return std::popcount(x[0]); }\n' |
  $compiler -std=c++20 -fsyntax-only -x c++ - 2>/dev/null ||
  lacks "$compiler does not compile C++20 (g++ 11, clang++ 14 or newer is needed)."

echo "$python"
