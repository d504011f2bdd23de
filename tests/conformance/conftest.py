# SPDX-License-Identifier: Apache-2.0
"""Every check with a parameter ``case`` runs over all operators; with ``sample`` too, over all of their samples.

Some checks run over a group: ``differentiable`` operators; ``constant`` ones, of floating-point inputs and without a
derivative; ``data_dependent`` ones, whose outputs' sizes depend on data, and ``vmapped`` ones, all others.
"""

from __future__ import annotations

import pytest

from .op_case import all_cases


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Spreads checks over operators and samples."""
    cases = all_cases()
    groups = {
        "differentiable": [case for case in cases if case.differentiable],
        "constant": [
            case for case in cases if not case.differentiable and any(s.requires_grad() for s in case.samples)
        ],
        "vmapped": [case for case in cases if not case.data_dependent],
        "data_dependent": [case for case in cases if case.data_dependent],
    }
    for name, group in groups.items():
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, group, ids=[case.op for case in group])
    if "sample" in metafunc.fixturenames:
        pairs = [(case, sample) for case in cases for sample in case.samples]
        names = [f"{case.op}-{sample.name}" for case, sample in pairs]
        metafunc.parametrize(("case", "sample"), pairs, ids=names)
    elif "bad" in metafunc.fixturenames:
        calls = [(case, bad) for case in cases for bad in case.bad_calls]
        metafunc.parametrize(("case", "bad"), calls, ids=[f"{case.op}-{bad.name}" for case, bad in calls])
    elif "case" in metafunc.fixturenames:
        metafunc.parametrize("case", cases, ids=[case.op for case in cases])
