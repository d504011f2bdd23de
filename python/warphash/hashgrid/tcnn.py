# SPDX-License-Identifier: Apache-2.0
"""Grids and parameters of tiny-cuda-nn: its configurations read, its flat parameter vector taken and given back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .. import _checks
from ..interop import as_tensor, like
from .functional import TABLE_DTYPES, checked_spec, checked_table
from .spec import GridSpec

_TYPES = {"grid": "hash", "hashgrid": "hash", "densegrid": "dense", "tiledgrid": "tiled"}
_KINDS = {"hash": "hash", "dense": "dense", "tiled": "tiled"}
_NUMBERS = {
    "n_levels": "levels",
    "n_features_per_level": "features",
    "log2_hashmap_size": "log2_table_size",
    "base_resolution": "base_resolution",
    "per_level_scale": "per_level_scale",
}
_WIDTHS = ("n_features", "n_grid_features")  # of all levels together
_SWITCHES = ("stochastic_interpolation", "fixed_point_pos")  # what we do not offer
_OTHERS = ("otype", "type", "interpolation", "hash", *_WIDTHS, *_SWITCHES)


def from_tcnn_config(dims: int, config: Mapping[str, Any]) -> GridSpec:
    """The spec of a tiny-cuda-nn encoding.

    Args:
        dims: number of coordinates.
        config: the encoding's part of its JSON: ``otype`` "Grid", "HashGrid", "DenseGrid" or "TiledGrid", ``type``,
            ``n_levels``, ``n_features_per_level`` (or ``n_features``), ``log2_hashmap_size``, ``base_resolution``,
            ``per_level_scale``, ``interpolation``, ``hash`` "CoherentPrime"; what is left out has tiny-cuda-nn's
            default.

    Returns:
        A spec with ``tcnn=True``: scales rounded in float32. tiny-cuda-nn rounds on the GPU, where the last bit of
        ``exp2f`` may differ from the host's; it matters only where a scale lies next to a whole number.
        Versions of tiny-cuda-nn differ in how they index tiled levels whose vertices are many more than their rows;
        here such levels wrap as the formula says.

    Raises:
        TypeError, ValueError: an entry is unknown, of the wrong kind, or has no counterpart here.
    """
    if not isinstance(config, Mapping):
        raise TypeError(f"config must be a mapping, got {type(config).__name__}")
    for name in config:
        if name not in _NUMBERS and name not in _OTHERS:
            known = ", ".join(sorted({*_NUMBERS, *_OTHERS}))
            raise ValueError(f"config must have entries out of {known}, got {name!r}")
    kind = _choice("otype", config.get("otype", "Grid"), _TYPES)
    if "type" in config:
        kind = _choice("type", config["type"], _KINDS)
    _choice("hash", config.get("hash", "CoherentPrime"), {"coherentprime": ""})
    for name in _SWITCHES:
        if config.get(name, False):
            raise ValueError(f"config[{name!r}] must be false: it has no counterpart here")
    arguments = {ours: config[theirs] for theirs, ours in _NUMBERS.items() if theirs in config}
    for name in _WIDTHS:
        if name not in config:
            continue
        if "n_levels" in config:
            raise ValueError(f"config must not have both {name} and n_levels")
        width = _checks.count(f"config[{name!r}]", config[name], 1)
        features = _checks.count("config['n_features_per_level']", config.get("n_features_per_level", 2), 1)
        if width % features:
            raise ValueError(f"config[{name!r}] must be a multiple of n_features_per_level, {features}, got {width}")
        arguments["levels"] = width // features
    arguments.setdefault("per_level_scale", _default_growth(kind, arguments))
    interpolation = _choice(
        "interpolation",
        config.get("interpolation", "Linear"),
        {name: name for name in ("nearest", "linear", "smoothstep")},
    )
    return GridSpec(dims, kind=kind, interpolation=interpolation, tcnn=True, **arguments)


def _default_growth(kind: str, arguments: Mapping[str, Any]) -> float:
    """Dense grids grow to 256 vertices, others by 2."""
    levels = _checks.count("config['n_levels']", arguments.get("levels", 16), 1)
    base = _checks.count("config['base_resolution']", arguments.get("base_resolution", 16), 1)
    return max(1.0, (256 / base) ** (1 / (levels - 1))) if kind == "dense" and levels > 1 else 2.0


def _choice(name: str, value: Any, choices: Mapping[str, str]) -> str:
    if not isinstance(value, str):
        raise TypeError(f"config[{name!r}] must be a str, got {type(value).__name__}")
    if value.lower() not in choices:
        raise ValueError(f"config[{name!r}] must be one of {', '.join(choices)}, got {value!r}")
    return choices[value.lower()]


def import_tcnn(params: Any, spec: GridSpec, *, dtype: torch.dtype | None = None) -> Any:
    """A table from tiny-cuda-nn's flat parameters of an encoding.

    Args:
        params: ``[rows * features]``, floating point. Of a network with an encoding the encoding's parameters are the
            last ``rows * features``.
        spec: the geometry, as by :func:`from_tcnn_config`.
        dtype: of the table; None keeps that of params.

    Returns:
        ``[rows, features]``, a copy.

    Raises:
        TypeError: params are not floating point.
        ValueError: their number is not that of the spec.
    """
    checked_spec(spec)
    flat = _checks.dense("params", as_tensor(params, "params"))
    wanted = flat.dtype if dtype is None else dtype
    if wanted not in TABLE_DTYPES:
        name = "params" if dtype is None else "dtype"
        raise TypeError(f"{name} must be float32, float64, float16 or bfloat16, got {wanted}")
    if tuple(flat.shape) != (spec.rows * spec.features,):
        raise ValueError(
            f"params must be [rows * features], ({spec.rows * spec.features},) for this spec, got {tuple(flat.shape)}"
        )
    if not isinstance(params, Tensor) and wanted == torch.bfloat16:
        raise TypeError("dtype must be one that arrays have, got torch.bfloat16: pass params as a torch tensor")
    table = flat.detach().to(wanted, copy=True).reshape(spec.rows, spec.features)
    return like(params, table)


def export_tcnn(table: Any, spec: GridSpec, *, dtype: torch.dtype = torch.float32) -> Any:
    """A table as tiny-cuda-nn's flat parameters ``[rows * features]``, which its bindings hold in float32; a copy.

    Raises:
        TypeError, ValueError: the table is not one of the spec.
    """
    rows: Tensor = checked_table(table, checked_spec(spec))
    if dtype not in TABLE_DTYPES:
        raise TypeError(f"dtype must be float32, float64, float16 or bfloat16, got {dtype}")
    return like(table, rows.detach().to(dtype, copy=True).flatten())
