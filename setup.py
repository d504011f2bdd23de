# SPDX-License-Identifier: Apache-2.0
from scikit_build_core.setuptools.wrapper import setup

setup(packages=["warphash"], package_dir={"": "python"}, cmake_source_dir=".")
