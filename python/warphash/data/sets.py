# SPDX-License-Identifier: Apache-2.0
"""Sets of tokens that come in batches, in memory or, where they are many, in a temporary file."""

from __future__ import annotations

import tempfile
from typing import IO

import numpy as np
import torch
from torch import Tensor


class TokenSets:
    """Sets in CSR that grow at their end, in a ``with`` block.

    Up to ``memory_limit`` bytes of tokens are held in memory; beyond, all go to a file without a name in the folder of
    temporary files (``TMPDIR``), which is read through a mapping and is gone with that.
    """

    def __init__(self, memory_limit: int) -> None:
        self.memory_limit = memory_limit
        self._tokens: list[Tensor] = []
        self._sizes: list[Tensor] = []
        self._file: IO[bytes] | None = None
        self._count = 0

    def __enter__(self) -> TokenSets:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    @property
    def spilled(self) -> bool:
        return self._file is not None

    def append(self, tokens: Tensor, offsets: Tensor) -> None:
        """Adds sets after those that are there."""
        self._sizes.append(offsets.diff())
        self._count += tokens.numel()
        self._tokens.append(tokens)
        if self._file is None and 8 * self._count > self.memory_limit:
            self._file = tempfile.TemporaryFile(prefix="warphash-")  # noqa: SIM115
        if self._file is not None:
            for part in self._tokens:
                self._file.write(part.numpy().data)
            self._tokens = []

    def whole(self) -> tuple[Tensor, Tensor]:
        """(tokens, offsets) of all sets; nothing can be added after."""
        sizes = torch.cat([torch.zeros(1, dtype=torch.int64, device="cpu"), *self._sizes])
        offsets = torch.cumsum(sizes, 0)
        if self._file is None:
            if len(self._tokens) == 1:
                return self._tokens.pop(), offsets
            # Part by part, so that hardly more than one copy is in memory at a time: untouched pages take none.
            whole = torch.empty(self._count, dtype=torch.int64, device="cpu")
            end = self._count
            while self._tokens:
                part = self._tokens.pop()
                whole[end - part.numel() : end] = part
                end -= part.numel()
            return whole, offsets
        self._file.flush()
        mapped = np.memmap(self._file, dtype=np.int64, mode="r+", shape=(self._count,))
        return torch.from_numpy(mapped), offsets
