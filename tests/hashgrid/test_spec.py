# SPDX-License-Identifier: Apache-2.0
"""Geometry: known tables of levels, snapping, axes, kinds, and how specs behave as values."""

from __future__ import annotations

import copy
import dataclasses
import math
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from warphash.hashgrid import GridSpec

STANDARD = (16, 23, 31, 43, 59, 81, 112, 154, 213, 295, 407, 562, 777, 1073, 1483, 2048)


def parameters(spec: GridSpec) -> int:
    """Numbers in a table."""
    return spec.rows * spec.features


# ---- Known tables ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("dims", "log2", "rows", "first_hashed"),
    [(3, 19, 6_098_120, 5), (3, 14, 245_640, 2), (2, 15, 312_080, 8)],
)
def test_the_standard_levels(dims: int, log2: int, rows: int, first_hashed: int) -> None:
    spec = GridSpec(dims, log2_table_size=log2)
    assert spec.resolutions == STANDARD
    assert spec.rows == spec.offsets[-1] == sum(spec.level_rows) == rows
    assert spec.offsets[0] == 0
    assert tuple(np.diff(spec.offsets)) == spec.level_rows
    assert [spec.is_hashed(level) for level in range(16)] == [level >= first_hashed for level in range(16)]
    assert all(count == 2**log2 for count in spec.level_rows[first_hashed:])
    for count, resolution in zip(spec.level_rows[:first_hashed], STANDARD, strict=False):
        assert count == math.ceil(resolution**dims / 8) * 8
    assert spec.output_features == 32


def test_the_default_table_is_that_of_the_paper() -> None:
    spec = GridSpec(3)
    assert (spec.levels, spec.features, spec.log2_table_size) == (16, 2, 19)
    assert (spec.base_resolution, spec.finest_resolution, spec.kind, spec.interpolation) == (16, 2048, "hash", "linear")
    assert spec.per_level_scale == pytest.approx(1.381913, abs=1e-6)
    assert not spec.tcnn
    assert parameters(spec) == 12_196_240


def test_a_table_of_tiny_cuda_nn() -> None:
    """Its own example: the number of its parameters, and its scales in float32."""
    options = {"levels": 20, "log2_table_size": 16, "base_resolution": 32, "per_level_scale": 1.5}
    for tcnn in (False, True):
        spec = GridSpec(3, **options, tcnn=tcnn)
        assert spec.level_rows == (32768, *(65536,) * 19)
        assert parameters(spec) == 2_555_904
        assert spec.finest_resolution is None
        assert spec.per_level_scale == 1.5
    exact = [32 * 1.5**level - 1 for level in range(20)]
    assert [scales[0] for scales in GridSpec(3, **options).scales] == exact
    for scales, real in zip(spec.scales, exact, strict=True):
        assert len(set(scales)) == 1
        assert scales[0] == np.float32(scales[0])
        assert scales[0] == pytest.approx(real, rel=1e-5)


@pytest.mark.parametrize(("growth", "base"), [(2.0, 16), (1.5, 16), (1.381913, 16), (1.2599211, 3)])
def test_scales_in_float32_are_its_formula(growth: float, base: int) -> None:
    spec = GridSpec(2, levels=12, base_resolution=base, per_level_scale=growth, tcnn=True)
    for level, (scale, _) in enumerate(spec.scales):
        power = np.exp2(np.float32(level) * np.log2(np.float32(growth)))
        assert power.dtype == np.float32
        assert scale == np.float32(power * np.float32(base) - np.float32(1))


# ---- Scales ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("levels", range(2, 40))
@pytest.mark.parametrize(("base", "finest"), [(16, 2048), (3, 1000), (7, 7), (1, 524288), (12, 13)])
def test_the_last_level_has_exactly_its_resolution(levels: int, base: int, finest: int) -> None:
    spec = GridSpec(2, levels=levels, base_resolution=base, finest_resolution=finest, log2_table_size=4)
    assert spec.resolutions[0] == base
    assert spec.resolutions[-1] == finest
    assert spec.scales[0] == (base - 1.0,) * 2
    assert spec.scales[-1] == (finest - 1.0,) * 2
    assert list(spec.scales) == sorted(spec.scales)
    for (scale, _), resolution in zip(spec.scales, spec.resolutions, strict=True):
        assert resolution == math.ceil(scale) + 1


def test_snapping_is_for_rounding_alone() -> None:
    """A scale next to a whole number but not by rounding keeps its fraction, and its own resolution."""
    near = GridSpec(1, levels=2, base_resolution=1000, per_level_scale=1 + 1e-6)
    assert near.scales[1][0] == pytest.approx(999.001)
    assert near.resolutions == (1000, 1001)
    assert GridSpec(1, levels=2, base_resolution=1000, per_level_scale=1 + 1e-13).resolutions == (1000, 1000)
    assert GridSpec(1, levels=2, base_resolution=1, per_level_scale=1 + 1e-10).scales[1] == (0.0,)


def test_doubling_has_whole_scales() -> None:
    spec = GridSpec(3, levels=8, base_resolution=16, per_level_scale=2)
    assert [scales[0] for scales in spec.scales] == [16.0 * 2**level - 1 for level in range(8)]
    assert spec.resolutions == tuple(16 * 2**level for level in range(8))


def test_one_level_is_the_base() -> None:
    spec = GridSpec(2, levels=1, base_resolution=20, finest_resolution=500)
    assert spec.resolutions == (20,)
    assert spec.per_level_scale == 1.0
    assert spec.rows == 400


def test_growth_of_one_repeats_a_level() -> None:
    assert GridSpec(2, levels=3, base_resolution=5, per_level_scale=1).resolutions == (5, 5, 5)
    assert GridSpec(2, levels=3, base_resolution=5, finest_resolution=5).resolutions == (5, 5, 5)


def test_resolution_one_is_a_single_vertex() -> None:
    spec = GridSpec(3, levels=2, base_resolution=1, finest_resolution=1)
    assert spec.scales == ((0.0,) * 3,) * 2
    assert spec.level_rows == (8, 8)


# ---- Kinds and axes -------------------------------------------------------------------------------------------------
def test_kinds() -> None:
    options = {"levels": 3, "base_resolution": 4, "finest_resolution": 16, "log2_table_size": 8}
    assert GridSpec(3, **options, kind="hash").level_rows == (64, 256, 256)
    assert GridSpec(3, **options, kind="dense").level_rows == (64, 512, 4096)
    assert GridSpec(3, **options, kind="tiled").level_rows == (64, 64, 64)
    for kind in ("dense", "tiled"):
        assert not any(GridSpec(3, **options, kind=kind).is_hashed(level) for level in range(3))


def test_rows_are_rounded_up_to_eight_and_not_hashed_for_it() -> None:
    spec = GridSpec(2, levels=2, base_resolution=3, finest_resolution=5, log2_table_size=19)
    assert spec.level_rows == (16, 32)
    assert GridSpec(2, levels=1, base_resolution=3, log2_table_size=3).is_hashed(0)
    assert not GridSpec(1, levels=1, base_resolution=8, log2_table_size=3).is_hashed(0)
    assert GridSpec(1, levels=1, base_resolution=9, log2_table_size=0).level_rows == (1,)


def test_axes_may_differ() -> None:
    spec = GridSpec(2, levels=2, base_resolution=(16, 32), finest_resolution=[64, 32])
    assert spec.base_resolution == (16, 32)
    assert spec.finest_resolution == (64, 32)
    assert spec.per_level_scale == pytest.approx((4.0, 1.0))
    assert spec.resolutions == ((16, 32), (64, 32))
    assert spec.level_rows == (512, 2048)
    assert spec.scales == ((15.0, 31.0), (63.0, 31.0))
    grown = GridSpec(3, levels=2, base_resolution=[2, 4, 8], per_level_scale=(2.0, 1.5, 1))
    assert grown.resolutions == ((2, 4, 8), (4, 6, 8))
    assert not grown.is_hashed(1)
    assert GridSpec(3, levels=1, base_resolution=(2, 4, 8), log2_table_size=5).is_hashed(0)


def test_equal_axes_are_one_number() -> None:
    assert GridSpec(2, base_resolution=(16, 16), finest_resolution=(2048, 2048)) == GridSpec(2)
    assert GridSpec(2, base_resolution=(16, 16)).base_resolution == 16
    mixed = GridSpec(2, levels=2, base_resolution=(4, 8), finest_resolution=(8, 8))
    assert mixed.resolutions == ((4, 8), 8)


def test_the_text_tells_the_operators_all() -> None:
    spec = GridSpec(2, levels=2, base_resolution=(2, 3), finest_resolution=(5, 8), kind="tiled")
    assert spec.text == "tiled linear 2;1.0 2.0 6;4.0 7.0 6"


def test_the_largest_table() -> None:
    spec = GridSpec(3, levels=1, base_resolution=2048, log2_table_size=31)
    assert spec.rows == 2**31
    assert not GridSpec(3, levels=4, log2_table_size=29, base_resolution=1024, finest_resolution=1024).rows > 2**31
    assert GridSpec(7, levels=1, base_resolution=2**31 - 1, per_level_scale=1, log2_table_size=31).rows == 2**31


# ---- Specs as values ------------------------------------------------------------------------------------------------
SPECS = [
    GridSpec(3),
    GridSpec(1, levels=1),
    GridSpec(2, levels=3, features=3, log2_table_size=7, base_resolution=(2, 3), finest_resolution=(9, 8)),
    GridSpec(3, per_level_scale=1.3, levels=5, kind="hash", interpolation="smoothstep"),
    GridSpec(2, per_level_scale=(1.1, 1.7), levels=4, kind="tiled", interpolation="nearest"),
    GridSpec(3, levels=4, per_level_scale=1.5, tcnn=True),
    GridSpec(2, levels=3, kind="dense", finest_resolution=40),
]


@pytest.mark.parametrize("spec", SPECS, ids=repr)
def test_specs_are_values(spec: GridSpec) -> None:
    copies = [eval(repr(spec)), copy.copy(spec), copy.deepcopy(spec), pickle.loads(pickle.dumps(spec))]
    for same in copies:
        assert same == spec
        assert hash(same) == hash(spec)
        assert vars(same) == vars(spec)
    assert [other == spec for other in SPECS].count(True) == 1
    assert len({*SPECS, *copies}) == len(SPECS)


def test_specs_equal_nothing_else() -> None:
    spec = GridSpec(3)
    assert spec != 3
    assert spec != spec.text
    assert spec != GridSpec(3, tcnn=True)
    assert (spec == object()) is False


@pytest.mark.parametrize("name", ["dims", "features", "kind", "text", "offsets", "new"])
def test_specs_do_not_change(name: str) -> None:
    spec = GridSpec(3)
    before = dict(vars(spec))
    with pytest.raises(AttributeError, match=f"immutable.*{name}"):
        setattr(spec, name, 1)
    with pytest.raises(AttributeError, match=f"immutable.*{name}"):
        delattr(spec, name)
    assert vars(spec) == before
    assert all(isinstance(value, int | float | str | bool | tuple | None) for value in before.values())


def test_specs_go_with_a_saved_state(tmp_path: Any) -> None:
    torch.save({"spec": SPECS[2]}, tmp_path / "spec.pt")
    assert torch.load(tmp_path / "spec.pt", weights_only=False)["spec"] == SPECS[2]

    @dataclasses.dataclass(frozen=True)
    class Config:
        spec: GridSpec

    assert Config(GridSpec(3)) == Config(GridSpec(3))


def test_numbers_of_any_integer_kind() -> None:
    spec = GridSpec(np.int64(3), levels=np.int32(4), features=np.uint8(2), base_resolution=np.int16(8))
    assert spec == GridSpec(3, levels=4, features=2, base_resolution=8)
    assert type(spec.dims) is int
    assert type(spec.base_resolution) is int
    assert eval(repr(spec)) == spec
    grown = GridSpec(2, levels=2, per_level_scale=np.float32(1.5))
    assert eval(repr(grown)) == grown == GridSpec(2, levels=2, per_level_scale=1.5)


# ---- Wrong arguments ------------------------------------------------------------------------------------------------
NAN, INF = math.nan, math.inf
WRONG: list[tuple[type[Exception], str, Any, dict[str, Any]]] = [
    (ValueError, "^dims must be at least 1, got 0", 0, {}),
    (ValueError, "^dims must be at most 7, got 8", 8, {}),
    (ValueError, "^dims must be at least 1, got -3", -3, {}),
    (TypeError, "^dims must be an int, got bool", True, {}),
    (TypeError, "^dims must be an int, got str", "3", {}),
    (TypeError, "^dims must be an int, got float", 2.5, {}),
    (TypeError, "^dims must be an int, got NoneType", None, {}),
    (ValueError, "^levels must be at least 1, got 0", 3, {"levels": 0}),
    (TypeError, "^levels must be an int, got float", 3, {"levels": 16.0}),
    (ValueError, "^features must be at least 1, got 0", 3, {"features": 0}),
    (TypeError, "^features must be an int, got bool", 3, {"features": True}),
    (ValueError, "^log2_table_size must be at least 0, got -1", 3, {"log2_table_size": -1}),
    (ValueError, "^log2_table_size must be at most 31, got 32", 3, {"log2_table_size": 32}),
    (ValueError, "^base_resolution must be at least 1, got 0", 3, {"base_resolution": 0}),
    (ValueError, f"^base_resolution must be at most {2**31 - 1}", 3, {"base_resolution": 2**31}),
    (TypeError, "^base_resolution must be an int, got float", 3, {"base_resolution": 16.0}),
    (TypeError, "^base_resolution must be an int, got str", 2, {"base_resolution": "16"}),
    (TypeError, "^base_resolution must be an int, got NoneType", 2, {"base_resolution": None}),
    (ValueError, "^base_resolution must be .* each of 3 axes, got 2", 3, {"base_resolution": (16, 16)}),
    (ValueError, "^base_resolution must be .* each of 3 axes, got 0", 3, {"base_resolution": ()}),
    (TypeError, "^base_resolution must be an int, got float", 2, {"base_resolution": (16, 2.0)}),
    (ValueError, "^finest_resolution must be at least base_resolution, 16, got 15", 3, {"finest_resolution": 15}),
    (ValueError, "^finest_resolution must be at least base", 2, {"base_resolution": (4, 9), "finest_resolution": 8}),
    (ValueError, "^finest_resolution must be .* each of 2 axes, got 3", 2, {"finest_resolution": (99, 99, 99)}),
    (TypeError, "^finest_resolution must be an int, got float", 3, {"finest_resolution": 2048.0}),
    (ValueError, "^finest_resolution must be at most", 3, {"finest_resolution": 2**31}),
    (
        ValueError,
        "^per_level_scale must not be given together with finest_resolution",
        3,
        {"finest_resolution": 2048, "per_level_scale": 1.5},
    ),
    (ValueError, "^per_level_scale must be at least 1, got 0.5", 3, {"per_level_scale": 0.5}),
    (ValueError, "^per_level_scale must be finite, got nan", 3, {"per_level_scale": NAN}),
    (ValueError, "^per_level_scale must be finite, got inf", 3, {"per_level_scale": INF}),
    (ValueError, "^per_level_scale must be finite, got nan", 2, {"per_level_scale": (1.5, NAN)}),
    (TypeError, "^per_level_scale must be a real number, got str", 3, {"per_level_scale": "2"}),
    (TypeError, "^per_level_scale must be a real number, got bool", 3, {"per_level_scale": True}),
    (ValueError, "^per_level_scale must be .* each of 2 axes, got 1", 2, {"per_level_scale": (1.5,)}),
    (ValueError, "^per_level_scale must keep", 3, {"per_level_scale": 10.0}),
    (ValueError, "^per_level_scale must keep", 3, {"per_level_scale": 1e300}),
    (ValueError, "^per_level_scale must keep", 3, {"per_level_scale": 10.0, "tcnn": True}),
    (ValueError, "^per_level_scale must keep", 3, {"per_level_scale": 1e30, "tcnn": True}),
    (ValueError, "^per_level_scale must keep", 3, {"per_level_scale": 1e300, "tcnn": True}),
    (ValueError, "^kind must be 'hash', 'dense' or 'tiled', got 'Hash'", 3, {"kind": "Hash"}),
    (TypeError, "^kind must be a str, got int", 3, {"kind": 0}),
    (TypeError, "^kind must be a str, got NoneType", 3, {"kind": None}),
    (ValueError, "^interpolation must be .*got 'cubic'", 3, {"interpolation": "cubic"}),
    (TypeError, "^interpolation must be a str, got bool", 3, {"interpolation": True}),
    (TypeError, "^tcnn must be a bool, got int", 3, {"tcnn": 1}),
    (ValueError, r"^kind 'dense' must have at most 2147483648 rows, got \d+ at level", 3, {"kind": "dense"}),
    (
        ValueError,
        r"^levels must have at most 2147483648 rows together, got \d+: lower log2_table_size",
        3,
        {"log2_table_size": 31, "base_resolution": 2048},
    ),
]


@pytest.mark.parametrize(
    ("error", "text", "dims", "options"), WRONG, ids=[f"{dims!r} {options}" for _, _, dims, options in WRONG]
)
def test_wrong_arguments_are_named(error: type[Exception], text: str, dims: Any, options: dict[str, Any]) -> None:
    with pytest.raises(error, match=text) as caught:
        GridSpec(dims, **options)
    assert caught.type is error


def test_only_dims_goes_by_position() -> None:
    with pytest.raises(TypeError, match="positional"):
        GridSpec(3, 16)  # type: ignore[misc]
