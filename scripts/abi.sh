#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# One wheel, several torches: builds it once, then imports it and calls every operator under each version, each in an
# environment of its own under build/abi.
#   abi.sh PYTHON [VERSION...]    versions of torch, or the word newest
set -euo pipefail
python=$1
shift
if [ $# -eq 0 ]; then
  echo "make abi needs versions, such as TORCH_VERSIONS=\"2.10.0 2.11.0 2.13.0 newest\": each is a download, and of" \
    "several GB where the registry has only CUDA builds." >&2
  exit 2
fi
folder=$PWD/build/abi
rm -rf "$folder/wheel"
"$python" -m pip --disable-pip-version-check wheel -q --no-build-isolation --no-deps -w "$folder/wheel" .
wheel=$(ls "$folder"/wheel/*.whl)

failed=()
for version in "$@"; do
  echo "== torch $version"
  environment=$folder/$version
  wanted=torch==$version
  [ "$version" = newest ] && wanted=torch
  [ -x "$environment/bin/python" ] || "$python" -m venv "$environment"
  if ! "$environment/bin/python" -m pip --disable-pip-version-check install -q "$wanted" numpy rich; then
    failed+=("$version (not installed)")
    continue
  fi
  "$environment/bin/python" -m pip --disable-pip-version-check install -q --no-deps --force-reinstall "$wheel"
  "$environment/bin/python" scripts/smoke.py || failed+=("$version")
done
if [ ${#failed[@]} -gt 0 ]; then
  echo "failed: ${failed[*]}" >&2
  exit 1
fi
echo "$(basename "$wheel") serves torch $*"
