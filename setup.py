from setuptools import setup

setup()  # everything is in pyproject.toml; colcon builds through CMakeLists.txt and ignores both
