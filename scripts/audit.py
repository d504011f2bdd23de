# SPDX-License-Identifier: Apache-2.0
"""Audits the compiled modules: stable ABI of torch, oldest torch they load on, no build paths, no weak symbols.

One binary for torch 2.10 and everything newer is a promise of the package; this is what keeps it between two runs of
`make abi`, which tries it. A weak symbol in an object compiled for an instruction set could be the copy that the linker
gives everybody.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OLDEST_TORCH = (2, 10)
LEVELS = ("_avx2", "_avx512", "_amx")


def modules() -> list[Path]:
    """The compiled modules that `import warphash` would load."""
    spec = importlib.util.find_spec("warphash")
    if spec is None:
        raise SystemExit("warphash is not installed: make build")
    import warphash

    folders = {Path(str(warphash._C.__file__)).parent, *map(Path, spec.submodule_search_locations or [])}
    return sorted({path for folder in folders for path in folder.glob("_C*.so")})


def complaints(module: Path) -> list[str]:
    """What is wrong with one module."""
    command = [str(Path(sys.executable).parent / "torch-abi-audit"), "--json", str(module)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return [f"torch-abi-audit ended with {done.returncode}: {done.stderr.strip()}"]
    found = []
    for extension in json.loads(done.stdout)["extensions"]:
        torch = extension["torch"]
        if not torch["stable"] or torch["unknown_shim_symbols"]:
            symbols = torch["unstable_symbols"] + torch["unknown_shim_symbols"]
            found.append(f"outside torch's stable ABI: {', '.join(symbols)}")
        needed = torch["min_torch_version"]
        if needed is None or tuple(int(part) for part in needed.split(".")[:2]) > OLDEST_TORCH:
            found.append(f"loads on torch {needed} and newer only")
    if str(ROOT).encode() in module.read_bytes():
        found.append(f"the build folder {ROOT} stands in it")
    return found


def weak_symbols() -> list[str]:
    """object: symbol, of every weak symbol in the objects of instruction sets, in the build tree of `make build`."""
    tree = ROOT / "build" / f"{_wheel_tag()}"
    objects = [path for path in tree.rglob("*.cpp.o") if path.name.removesuffix(".cpp.o").endswith(LEVELS)]
    if not objects:
        raise SystemExit(f"no objects in {tree}: make build")
    found = []
    for path in sorted(objects):
        lines = subprocess.run(["nm", "-C", str(path)], capture_output=True, text=True, check=True).stdout.splitlines()
        symbols = [line[17:] for line in lines if line[17:18] in "WVu" and "DW.ref." not in line]
        found += [f"{path.name}: {symbol}" for symbol in symbols]
    return found


def _wheel_tag() -> str:
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    return f"{python}-{python}-{sysconfig.get_platform().replace('-', '_')}"


def main() -> int:
    status = 0
    for module in modules():
        found = complaints(module)
        print(f"{module.name}: {'; '.join(found) or 'stable ABI, torch 2.10 and newer'}")
        status |= bool(found)
    weak = weak_symbols()
    print("\n".join(weak) or "no weak symbols in the objects of instruction sets")
    status |= bool(weak)
    return status


if __name__ == "__main__":
    sys.exit(main())
