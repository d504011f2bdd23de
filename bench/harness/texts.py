# SPDX-License-Identifier: Apache-2.0
"""Numbers for readers."""

from __future__ import annotations


def seconds_text(seconds: float) -> str:
    """Three digits and a unit that fits: 12.3 ms."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}" if seconds < 1000 * scale else f"{seconds / scale:.0f} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def rate_text(rate: float) -> str:
    """Three digits in thousands, millions or thousands of millions a second."""
    for unit, scale in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if rate >= scale:
            return f"{rate / scale:.3g} {unit}"
    return f"{rate:.3g}"
