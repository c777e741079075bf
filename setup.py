"""Which folders of this repository are which Python packages; all else about the package is in pyproject.toml.

setuptools finds packages by itself only in folders that are called as they are. Every folder with a module in it
has an `__init__.py` and is found here; a folder without modules is data of the package that it lies in. Whatever
lies in these folders is installed: tests/test_package.py compares the wheel with `git ls-files`.
"""

import shutil

from setuptools import find_packages, setup

CODE = {"tzml": "py/tzml", "tzml_lab": "lab/tzml_lab", "tzml_zoo": "models"}
# what tzml_lab reads: in a checkout beside the package, where people look for it, and installed inside
# and what tzml.client compiles on a build host
DATA = {
    "tzml.client.sources.host": "host",
    "tzml.client.sources.runtime": "runtime",
    "tzml_lab.data": "lab/data",
    "tzml_lab.env": "lab/env",
    "tzml_lab.target": "lab/target",
}
# not `build`, which is full of images; emptied, for setuptools would install what was deleted since
BUILD = "build/python"

below = [f"{name}.{found}" for name, folder in CODE.items() for found in find_packages(folder)]
shutil.rmtree(BUILD, ignore_errors=True)
setup(
    packages=[*CODE, *below, *DATA],
    package_dir=CODE | DATA,
    include_package_data=False,  # it would be MANIFEST.in's
    package_data={"": ["**/*"]},
    exclude_package_data={"": ["*.pyc", "out/*"]},
    options={"build": {"build_base": BUILD}},
)
