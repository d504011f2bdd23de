# SPDX-License-Identifier: Apache-2.0
"""Right kernels pass under every schedule, and what the emulator refuses it refuses clearly."""

from __future__ import annotations

import numpy as np
import pytest

from . import build, checks
from .emulated import EmulatedKernels, EmulationError, load

SOURCES = checks.SOURCES


@pytest.mark.parametrize("check", checks.CHECKS)
def test_kernels_are_right(emulated_kernels: EmulatedKernels, check: str) -> None:
    checks.CHECKS[check](emulated_kernels)


def test_a_seed_repeats_a_run() -> None:
    def float_sums(seed: int) -> bytes:
        kernels = load(SOURCES, seed=seed)
        points, dy = np.full((300, 3), 0.3, np.float32), np.geomspace(1e-4, 1e4, 600, dtype=np.float32)
        dtable = np.zeros((1, 8, 2), np.float32)
        kernels.grid_backward(points, dy.reshape(300, 1, 2), dtable, 300, 1, 8)
        return dtable.tobytes()

    assert float_sums(2) == float_sums(2)
    assert len({float_sums(seed) for seed in range(4)}) > 1  # the order of float atomics follows the seed


def test_a_wait_for_a_block_that_has_not_started_ends() -> None:
    kernels = load(SOURCES, resident_blocks=4)
    flags = np.zeros(4, np.uint32)
    kernels.wait_for_last_block(flags, 4)
    assert (flags == 1).all()
    flags[:] = 0
    kernels = load(SOURCES, resident_blocks=2)
    with pytest.raises(EmulationError, match=r"no progress.*2 blocks are resident") as caught:
        kernels.wait_for_last_block(flags, 4)
    assert caught.value.code == 719
    kernels.seed(0)
    checks.scan(kernels)  # a failed launch leaves nothing behind


def test_launch_limits() -> None:
    kernels = load(SOURCES)
    x = np.zeros(1, np.float32)
    with pytest.raises(EmulationError, match="invalid launch configuration"):
        kernels.block_sum(x, x.copy(), 1, 0)
    csr = [np.zeros(2, np.int32), np.zeros(1, np.int32), x]
    with pytest.raises(EmulationError, match="spgemm returned cudaError_t 1"):  # 1 MiB of dynamic shared memory
        kernels.spgemm(*csr, *csr, np.zeros(1, np.int32), None, None, None, 1, 1 << 17)
    with pytest.raises(EmulationError, match="hamming_topk returned cudaError_t 1"):
        kernels.hamming_topk(*(np.zeros((1, 1), np.uint64) for _ in range(3)), 1, 1, 1, 65)


def test_groups_of_floats_are_aligned() -> None:
    room = np.zeros(6, np.float32)
    with pytest.raises(EmulationError, match=r"red, block .*multiple of the group's size"):
        load(SOURCES).unaligned_adds(room[room.ctypes.data % 8 // 4 :])


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (0, r"waits at cluster_sync(.|\n)*exited the kernel"),
        (1, "the other block may not have begun"),
        (2, "ended while another one may use its shared memory|the other block has ended"),
        (3, "takes an address in the caller's dynamic shared memory"),
        (4, "the cluster has 2 blocks, none of rank 2"),
        (5, "moves a multiple of 16 bytes"),
        (6, "reads the block's own shared memory"),
    ],
)
def test_wrong_clusters_and_copies(kind: int, said: str) -> None:
    room = np.zeros(8, np.uint32)
    for seed in range(4):
        kernels = load(SOURCES, seed=seed)
        with pytest.raises(EmulationError, match=said):
            kernels.wrong_cluster(room[-room.ctypes.data % 16 // 4 :], kind)
    checks.cluster_scan(kernels)  # a failed launch leaves nothing behind


def test_cards_without_clusters() -> None:
    kernels = load(SOURCES)
    clusters, bulk_copies = np.zeros(2, np.int32)[:1], np.zeros(1, np.int32)
    kernels.card(9, 8, clusters, bulk_copies)
    assert clusters > 0
    assert bulk_copies == 1
    for major, size in ((8, 8), (9, 16)):
        with pytest.raises(EmulationError, match="invalid launch configuration"):
            kernels.card(major, size, clusters, bulk_copies)
        assert clusters == 0
        assert bulk_copies == (major == 9)
    with pytest.raises(EmulationError, match="invalid launch configuration"):
        kernels.cluster_scan(np.zeros(1, np.uint32), np.zeros(1, np.uint32), 1, 1, 9, 1)


def test_arguments_are_checked() -> None:
    kernels = load(SOURCES)
    x, sums = np.zeros(8, np.float32), np.zeros(1, np.float32)
    with pytest.raises(TypeError, match="takes 4 arguments"):
        kernels.block_sum(x, sums, 8)
    with pytest.raises(TypeError, match="a pointer to f4 is wanted, got an array of f8"):
        kernels.block_sum(x.astype(np.float64), sums, 8, 1)
    with pytest.raises(TypeError, match="contiguous"):
        kernels.block_sum(np.zeros(16, np.float32)[::2], sums, 8, 1)
    with pytest.raises(OverflowError, match="does not fit into i4"):
        kernels.block_sum(x, sums, 2**31, 1)
    sums.flags.writeable = False
    with pytest.raises(TypeError, match="read-only"):
        kernels.block_sum(x, sums, 8, 1)
    with pytest.raises(AttributeError, match="no EMULATED_LAUNCHER"):
        kernels.nothing_of_the_kind()


def test_torch_tensors_are_pointers() -> None:
    torch = pytest.importorskip("torch")
    kernels = load(SOURCES)
    x, sums = torch.arange(100, dtype=torch.float32), torch.zeros(2)
    kernels.block_sum(x, sums, 100, 2)
    assert sums.sum() == 4950
    with pytest.raises(TypeError, match="got an array of bf2"):
        kernels.block_sum(x.bfloat16(), sums, 100, 2)


def test_only_what_changed_is_built_again(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    compiled: list[str] = []
    run = build._run
    monkeypatch.setattr(build, "_run", lambda command, what: (compiled.append(what), run(command, what)))
    header, kernel, other = tmp_path / "value.cuh", tmp_path / "value.cu", tmp_path / "left_out_sm90a.cu"
    header.write_text("constexpr int value = 1;\n")
    kernel.write_text('#include "value.cuh"\ncudaError_t f(int* x, cudaStream_t) { return *x = value, cudaSuccess; }\n')
    kernel.write_text(kernel.read_text() + "EMULATED_LAUNCHER(f, f);\n")
    other.write_text("#error only a GPU can run this\n")
    x = np.zeros(1, np.int32)

    def value() -> int:
        EmulatedKernels(build.build([kernel, other], folder=tmp_path)).f(x)
        return int(x[0])

    assert (value(), len(compiled)) == (1, 2)  # compiled, linked
    assert (value(), len(compiled)) == (1, 2)
    header.write_text("constexpr int value = 2;\n")
    assert (value(), len(compiled)) == (2, 4)
    kernel.write_text("int broken = ;\n")
    with pytest.raises(build.BuildError, match="expected primary-expression"):
        value()
