#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The CPU kernels under AddressSanitizer and UBSan: a build and an environment of their own in build/asan.
#   asan.sh PYTHON [pytest arguments]    PYTHON: of .venv, whose packages are used
set -euo pipefail
python=$1
shift
folder=$PWD/build/asan
environment=$folder/venv
reports=$folder/reports

# An environment that sees .venv's packages through a path, so that the editable install's import hook, which stands in a
# .pth file there, does not come before the sanitized build.
if [ ! -x "$environment/bin/python" ]; then
  "$python" -m venv --without-pip "$environment"
fi
site=$("$environment/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
"$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' >"$site/packages.pth"

WARPHASH_SANITIZE=address,undefined WARPHASH_CUDA=OFF "$python" -m pip --disable-pip-version-check install -q \
  --no-build-isolation --no-deps --upgrade --target "$site" -C build-dir="$folder/cmake" .

runtime=()
for library in libasan.so libubsan.so libstdc++.so; do
  runtime+=("$(readlink -f "$("${CXX:-g++}" -print-file-name=$library)")")
done
rm -rf "$reports"
mkdir -p "$reports"

run() {
  # Without log_path pytest swallows the report. Python leaves much to the end of the process: no leak check. The CUDA
  # driver, where there is one, maps what lies in the sanitizer's shadow gap.
  env LD_PRELOAD="${runtime[*]}" ASAN_OPTIONS="detect_leaks=0:protect_shadow_gap=0:log_path=$reports/asan" \
    UBSAN_OPTIONS="print_stacktrace=1:log_path=$reports/ubsan" WARPHASH_AMX_EMULATION=asan \
    "$environment/bin/python" "$@"
}

run -c 'import warphash as wh; assert "address" in wh.build_info()["sanitizers"], "not the sanitized build"'
status=0
run scripts/smoke.py || status=$?
test_run() {
  [ $status -ne 0 ] || run -m pytest -q -p no:cacheprovider "$@" || status=$?
}
if [ $# -gt 0 ]; then
  test_run "$@"
else
  # The emulated CUDA kernels have a sanitizer run of their own: make emulate.
  test_run tests/hamming tests/hashgrid tests/lsh tests/spgemm tests/retrieval tests/amx_emulation --ignore-glob='*test_emulated*'
  # Masked vector loads are not instrumented: pages that must not be touched catch what they read too much.
  test_run tests/conformance/test_processes.py -k "forbidden_pages or wrong_operands" --deselect \
    tests/conformance/test_processes.py::test_forbidden_pages_kill
fi
if compgen -G "$reports/*" >/dev/null; then
  echo "== reports of the sanitizers" >&2
  cat "$reports"/* >&2
  exit 1
fi
exit $status
