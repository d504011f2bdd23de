# SPDX-License-Identifier: Apache-2.0
"""Bad input raises an error that names the argument, what was expected and what came."""

from __future__ import annotations

import pytest

from .op_case import BadCall, OpCase


def test_bad_input_is_refused_by_name(case: OpCase, bad: BadCall) -> None:
    assert bad.error in (ValueError, TypeError, IndexError)
    with pytest.raises(bad.error, match=bad.text) as caught:
        case.function(*bad.arguments, **bad.options)
    assert caught.type is bad.error
