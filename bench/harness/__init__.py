# SPDX-License-Identifier: Apache-2.0
"""What every room's bench shares: timing, the machine's limits, the model of a workload, table, JSON, pictures."""
