# SPDX-License-Identifier: Apache-2.0
"""Compiles .cu files, and the .cpp files that name their launchers, with g++ into a shared library for emulated.py."""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
EMULATOR = HERE / "emulator"
DEFAULT_FOLDER = ROOT / "build" / "cuda_emulation"
MODES = ("plain", "asan", "races")
JOBS = 2

COMMON_FLAGS = [
    *("-std=c++20", "-x", "c++", "-g", "-fPIC", "-fvisibility=hidden", "-fdata-sections", "-ffp-contract=off"),
    *("-Wall", "-Wextra", "-Wno-unknown-pragmas", "-Wno-sign-compare", "-DWARPHASH_CUDA_EMULATION"),
    *("-I", str(ROOT / "csrc"), "-include", str(EMULATOR / "cuda_emulation.h")),
]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
COMPILE_FLAGS = {
    "plain": ["-O2"],
    "asan": ["-O1", *SANITIZERS, "-fno-omit-frame-pointer"],
    "races": ["-O1", "-DCUDA_EMULATION_RACES", "-fsanitize=thread", "--param", "tsan-distinguish-volatile=1"],
}
LINK_FLAGS = {"plain": [], "asan": SANITIZERS, "races": ["-ldl"]}  # races: the hooks are the emulator's own


class BuildError(RuntimeError):
    """The compiler's message for a file that does not build."""


def emulated(sources: Sequence[Path]) -> list[Path]:
    """The sources without those that only sm_90a hardware runs (wgmma)."""
    return [source for source in sources if not source.name.endswith("_sm90a.cu")]


def build(
    sources: Sequence[str | Path],
    mode: str = "plain",
    *,
    defines: Mapping[str, Sequence[str]] | None = None,
    folder: Path = DEFAULT_FOLDER,
) -> Path:
    """Returns the library made of the sources (relative to the project's root, or absolute).

    ``defines`` adds macros to single files: ``{"tests/room/kernel.cu": ["BUG=1"]}``. A file is compiled again only when
    its flags, its text or a header that it includes have changed.
    """
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}, got {mode!r}")
    files = emulated([ROOT / source for source in sources])
    macros = {ROOT / source: list(values) for source, values in (defines or {}).items()}
    if unknown := macros.keys() - set(files):
        raise ValueError(f"defines names files that are not among the sources: {sorted(map(str, unknown))}")
    place = folder / mode
    place.mkdir(parents=True, exist_ok=True)
    with _locked(place), concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        objects = list(pool.map(lambda file: _compile(file, mode, macros.get(file, []), place), files))
        return _link(objects, mode, place)


@contextlib.contextmanager
def _locked(place: Path) -> Iterator[None]:
    """Two test runs at once build one after the other."""
    with open(place / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _hash(*parts: str | bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


def _run(command: Sequence[str], what: str) -> None:
    # run.py preloads AddressSanitizer's runtime into pytest; the compiler has no use for it.
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode or done.stderr:
        raise BuildError(f"{what} failed or warned:\n{' '.join(command)}\n{done.stderr}")


def _compile(file: Path, mode: str, macros: Sequence[str], place: Path) -> tuple[Path, str]:
    """The object file and the hash of all that went into it."""
    flags = [*COMMON_FLAGS, *COMPILE_FLAGS[mode], *(f"-D{macro}" for macro in macros)]
    output = place / f"{file.stem}.{_hash(str(file), *flags)[:16]}.o"
    record = output.with_suffix(".json")
    if output.exists() and record.exists():
        headers: dict[str, str] = json.loads(record.read_text())
        if all(Path(name).exists() and _hash(Path(name).read_bytes()) == key for name, key in headers.items()):
            return output, _hash(str(output), *headers.values())
    depends = output.with_suffix(".d")
    compiler = ["ccache", "g++"] if shutil.which("ccache") else ["g++"]
    _run([*compiler, *flags, "-MMD", "-MF", str(depends), "-c", "-o", str(output), str(file)], f"compiling {file}")
    names = depends.read_text().replace("\\\n", " ").split(":", 1)[1].split()
    depends.unlink()
    headers = {name: _hash(Path(name).read_bytes()) for name in names}
    record.write_text(json.dumps(headers, indent=1))
    return output, _hash(str(output), *headers.values())


def _link(objects: Sequence[tuple[Path, str]], mode: str, place: Path) -> Path:
    names = [str(name) for name, _ in objects]
    prefix, script = f"kernels.{_hash(*names)[:16]}", EMULATOR / "shared_section.ld"
    key = _hash(script.read_bytes(), *(content for _, content in objects))[:16]
    # The content stands in the name, since a process that has loaded a name never looks at its file again.
    library = place / f"{prefix}.{key}.so"
    if not library.exists():
        fresh = library.with_suffix(".new")
        flags = ["-shared", "-Wl,-z,defs", *LINK_FLAGS[mode], f"-Wl,-T,{script}"]
        _run(["g++", "-o", str(fresh), *names, *flags], f"linking {library.name}")
        for old in place.glob(f"{prefix}.*.so"):
            old.unlink()
        fresh.replace(library)
    return library


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sources", nargs="+", type=Path, help=".cu and .cpp files; *_sm90a.cu are left out")
    parser.add_argument("--mode", choices=MODES, default="plain")
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER)
    arguments = parser.parse_args()
    try:
        print(build([source.resolve() for source in arguments.sources], arguments.mode, folder=arguments.folder))
    except BuildError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
