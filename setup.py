"""For pip; everything is in pyproject.toml. colcon builds through CMakeLists.txt and ignores both."""

from setuptools import setup

setup()
