# SPDX-License-Identifier: Apache-2.0
"""Configurations and parameters of tiny-cuda-nn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from warphash.hashgrid import GridSpec, export_tcnn, from_tcnn_config, import_tcnn

from .samples import rows, small


def test_its_own_example() -> None:
    """The hash grid of its sample image: two dims, 16 levels to a scale of 1.5, tables of 2^15."""
    config = {
        "otype": "HashGrid",
        "n_levels": 16,
        "n_features_per_level": 2,
        "log2_hashmap_size": 15,
        "base_resolution": 16,
        "per_level_scale": 1.5,
    }
    spec = from_tcnn_config(2, config)
    expected = GridSpec(
        2, levels=16, features=2, log2_table_size=15, base_resolution=16, per_level_scale=1.5, tcnn=True
    )
    assert spec == expected
    assert spec.output_features == 32


def test_its_defaults() -> None:
    spec = from_tcnn_config(3, {})
    assert (spec.levels, spec.features, spec.log2_table_size, spec.base_resolution) == (16, 2, 19, 16)
    assert (spec.kind, spec.interpolation, spec.per_level_scale, spec.tcnn) == ("hash", "linear", 2.0, True)


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ({"otype": "HashGrid"}, "hash"),
        ({"otype": "hashgrid"}, "hash"),
        ({"otype": "DenseGrid", "n_levels": 4}, "dense"),
        ({"otype": "TiledGrid"}, "tiled"),
        ({"otype": "Grid", "type": "Tiled"}, "tiled"),
        ({"otype": "Grid", "type": "Hash", "hash": "CoherentPrime"}, "hash"),
    ],
)
def test_kinds(config: dict[str, Any], kind: str) -> None:
    assert from_tcnn_config(2, config).kind == kind


def test_widths_of_all_levels_together() -> None:
    assert from_tcnn_config(3, {"n_features": 24, "n_features_per_level": 4}).levels == 6
    assert from_tcnn_config(3, {"n_grid_features": 10}).levels == 5


@pytest.mark.parametrize("name", ["Nearest", "Linear", "Smoothstep"])
def test_interpolations(name: str) -> None:
    assert from_tcnn_config(3, {"interpolation": name}).interpolation == name.lower()


@pytest.mark.parametrize(
    ("config", "error", "text"),
    [
        ([], TypeError, "^config must be a mapping, got list"),
        ({"n_level": 3}, ValueError, "^config must have entries out of .*got 'n_level'"),
        ({"otype": "Frequency"}, ValueError, r"^config\['otype'\] must be one of .*got 'Frequency'"),
        ({"otype": 3}, TypeError, r"^config\['otype'\] must be a str, got int"),
        ({"hash": "Rng"}, ValueError, r"^config\['hash'\] must be one of coherentprime, got 'Rng'"),
        ({"interpolation": "Cubic"}, ValueError, r"^config\['interpolation'\] must be one of"),
        ({"stochastic_interpolation": True}, ValueError, r"^config\['stochastic_interpolation'\] must be false"),
        ({"n_features": 5}, ValueError, r"^config\['n_features'\] must be a multiple of .*2, got 5"),
        ({"n_features": 8, "n_levels": 4}, ValueError, "^config must not have both n_features and n_levels"),
        ({"n_levels": 0}, ValueError, "^config.*n_levels.* must be at least 1|^levels must be at least 1"),
        ({"n_levels": "4"}, TypeError, "must be an int, got str"),
        ({"per_level_scale": 0.5}, ValueError, "^per_level_scale must be at least 1"),
    ],
)
def test_what_has_no_counterpart(config: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        from_tcnn_config(3, config)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_parameters_there_and_back(dtype: torch.dtype) -> None:
    spec = small()
    params = rows(spec, dtype).flatten()
    table = import_tcnn(params, spec)
    assert table.dtype == dtype
    assert torch.equal(table, params.view(spec.rows, 2))
    assert table.data_ptr() != params.data_ptr()
    assert export_tcnn(table, spec).dtype == torch.float32
    assert torch.equal(export_tcnn(table, spec, dtype=dtype), params)
    assert import_tcnn(params, spec, dtype=torch.bfloat16).dtype == torch.bfloat16
    asking = table.requires_grad_()
    assert not export_tcnn(asking, spec).requires_grad
    array = import_tcnn(params.numpy(), spec)
    assert isinstance(array, np.ndarray)


@pytest.mark.parametrize("change", [lambda x: x[:-1], lambda x: x.view(-1, 2), lambda x: torch.cat([x, x])])
def test_parameters_of_another_grid(change: Any) -> None:
    spec = small()
    with pytest.raises(ValueError, match=r"^params must be \[rows \* features\]"):
        import_tcnn(change(rows(spec).flatten()), spec)


def test_parameters_of_other_types() -> None:
    spec = small()
    with pytest.raises(TypeError, match=r"^params must be float32.*int64"):
        import_tcnn(rows(spec).flatten().long(), spec)
    with pytest.raises(TypeError, match=r"^dtype must be float32.*int32"):
        import_tcnn(rows(spec).flatten(), spec, dtype=torch.int32)
    with pytest.raises(TypeError, match=r"^dtype must be float32.*int32"):
        export_tcnn(rows(spec), spec, dtype=torch.int32)
    with pytest.raises(ValueError, match=r"^table must be"):
        export_tcnn(rows(spec)[:-1], spec)
