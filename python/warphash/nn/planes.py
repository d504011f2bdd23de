# SPDX-License-Identifier: Apache-2.0
"""What layers that hash by fixed random planes share: the planes' dtype, and their origin in saved states."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class FixedPlanes(nn.Module):
    """A module with a buffer ``planes`` that follows from its arguments and is never trained.

    Its state carries :meth:`get_extra_state`, what the planes were made from; a state with another one is refused
    before anything is loaded.
    """

    planes: Tensor

    def get_extra_state(self) -> dict[str, Any]:
        """What the planes were made from."""
        raise NotImplementedError

    def _refusal(self, saved: dict[str, Any], own: dict[str, Any]) -> str:
        """What to say of a state that was made from something else."""
        return f"state_dict was made with {saved}, this module with {own}"

    def set_extra_state(self, state: Any) -> None:
        """Nothing is left to do: it was compared before anything was loaded."""

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any, **options: Any) -> None:
        saved, own = state_dict.get(f"{prefix}_extra_state"), self.get_extra_state()
        if saved is not None and saved != own:
            raise ValueError(self._refusal(saved, own))
        super()._load_from_state_dict(state_dict, prefix, *rest, **options)

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        """Moves the planes, but leaves them in float32: rounded ones would put vectors into other buckets."""
        planes = self.planes
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if self.planes.dtype != planes.dtype:
            self.planes = planes.to(self.planes.device)
        return self
