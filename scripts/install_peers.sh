#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs the pinned peers of the benches; those that cannot be had for this Python or machine are named.
#   install_peers.sh PYTHON REQUIREMENTS
set -u
python=$1
requirements=$2

# The pins of the build hold: no peer may replace torch or NumPy.
install() {
  "$python" -m pip --disable-pip-version-check install -q -c requirements/build.txt "$@"
}

install -r "$requirements" 2>/dev/null && exit 0
echo "not all peers of the benches install here; trying one by one" >&2
sed -e 's/#.*//' -e '/^[[:space:]]*$/d' -e '/^-/d' "$requirements" | while read -r peer; do
  install "$peer" >/dev/null 2>&1 || echo "without $peer" >&2
done
