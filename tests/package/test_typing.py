# SPDX-License-Identifier: Apache-2.0
"""Type stubs of the compiled modules say what the modules have."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from types import ModuleType

import pytest
import warphash as wh
from warphash import _C

PACKAGE = Path(str(wh.__file__)).parent
CUDA_SOURCES = [
    Path(__file__).parents[2] / "csrc/python" / name for name in ("module_cuda.cpp", "module_cuda_probes.cpp")
]

Signatures = dict[str, list[str]]


def stubbed(body: list[ast.stmt]) -> Signatures:
    """Names of functions and their parameters in a stub."""
    return {node.name: [a.arg for a in node.args.args] for node in body if isinstance(node, ast.FunctionDef)}


def compiled(module: ModuleType) -> Signatures:
    """The same of a module, from the signatures in pybind11's docstrings; overloads share theirs."""
    out = {}
    for name, value in vars(module).items():
        if callable(value):
            signatures = re.findall(rf"^(?:\d+\. )?{name}\((.*)\) ->", value.__doc__, re.MULTILINE)
            (parameters,) = {tuple(re.findall(r"(\w+): ", inside)) for inside in signatures}
            out[name] = list(parameters)
    return out


def test_the_package_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()


def test_stub_of_the_cpu_half() -> None:
    tree = ast.parse((PACKAGE / "_C.pyi").read_text())
    assert stubbed(tree.body) == compiled(_C)
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    submodules = {
        node.target.id: node.annotation.id
        for node in tree.body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and isinstance(node.annotation, ast.Name)
    }
    assert set(submodules) == {name for name, value in vars(_C).items() if isinstance(value, ModuleType)}
    for name, class_ in submodules.items():
        assert stubbed(classes[class_].body) == compiled(getattr(_C, name)), name


@pytest.mark.skipif(not CUDA_SOURCES[0].is_file(), reason="no sources beside the tests")
def test_stub_of_the_cuda_half() -> None:
    """It does not load on every torch, so the stub is compared with the source."""
    text = "".join(source.read_text() for source in CUDA_SOURCES)
    defined = {}
    for part in text.split("module.def(")[1:]:
        definition = part.partition("module.def(")[0]
        name = re.match(r'\s*"(\w+)"', definition)
        assert name is not None
        defined[name[1]] = re.findall(r'"(\w+)"_a', definition)
    assert stubbed(ast.parse((PACKAGE / "_C_cuda.pyi").read_text()).body) == defined
