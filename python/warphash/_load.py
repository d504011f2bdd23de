# SPDX-License-Identifier: Apache-2.0
"""Loads the compiled halves and tells what is present.

The CPU half ``_C`` must load. The CUDA half ``_C_cuda`` is tried only on a CUDA build of torch; what went wrong is kept
and told when a CUDA tensor arrives, so that ``import warphash`` works on any machine.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from typing import Any

import torch

from . import _C

_NOT_BUILT = "not built (no nvcc was found, or WARPHASH_CUDA=OFF)"


def _load_cuda() -> tuple[Any, str]:
    """The CUDA half and, where it is missing, why: not built, not loaded, or both."""
    built = importlib.util.find_spec("warphash._C_cuda") is not None
    if torch.version.cuda is None:
        torch_lacks_it = f"torch {torch.__version__} is a build without CUDA"
        return None, f"built, not loaded: {torch_lacks_it}" if built else f"{_NOT_BUILT}; {torch_lacks_it}"
    if not built:
        return None, _NOT_BUILT
    try:
        return importlib.import_module("warphash._C_cuda"), ""
    except ImportError as error:
        return None, f"built, but did not load: {error}"


_cuda, cuda_missing_because = _load_cuda()


def require_cuda() -> None:
    """Raises RuntimeError with the reason where the CUDA half is missing."""
    if _cuda is None:
        raise RuntimeError(f"CUDA tensors cannot be served: the CUDA half of warphash is {cuda_missing_because}")


def version() -> str:
    """The installed version of warphash."""
    return importlib.metadata.version("warphash")


def build_info() -> dict[str, Any]:
    """What was built and what this machine offers.

    Returns:
        A dict with ``version``, ``compiler``, ``target_torch`` (the oldest torch the binary loads on), ``sanitizers``,
        ``torch`` (the running version), ``machine_isa`` (the best instruction set of this machine), ``isa`` (the one
        in use), ``amx_permitted``, ``threads``, and ``cuda``: a dict of the CUDA half, or a str that says whether it
        was built and why it is not in use.
    """
    info: dict[str, Any] = dict(_C.build_info())
    info["version"] = version()
    info["torch"] = torch.__version__
    info.update(_C.cpu_features())
    info["threads"] = torch.get_num_threads()
    info["cuda"] = dict(_cuda.build_info()) if _cuda is not None else cuda_missing_because
    return info
