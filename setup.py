"""Puts ``conf/``, which stands at the top of a checkout, into the package ``gmask_pl`` of a wheel.

All else is in setup.cfg. An editable install goes on reading the ``conf/`` of the checkout.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConf(build_py):
    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            conf = Path(self.build_lib, "gmask_pl", "conf")
            shutil.rmtree(conf, ignore_errors=True)  # of an earlier build
            shutil.copytree("conf", conf)


setup(cmdclass={"build_py": BuildWithConf})
