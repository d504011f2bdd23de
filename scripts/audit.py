# SPDX-License-Identifier: Apache-2.0
"""Audits the compiled modules of the installed package: stable ABI of torch, oldest torch they load on, no build paths.

One binary for torch 2.10 and everything newer is a promise of the package; this is what keeps it between two runs of
`make abi`, which tries it.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OLDEST_TORCH = (2, 10)


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


def main() -> int:
    status = 0
    for module in modules():
        found = complaints(module)
        print(f"{module.name}: {'; '.join(found) or 'stable ABI, torch 2.10 and newer'}")
        status |= bool(found)
    return status


if __name__ == "__main__":
    sys.exit(main())
