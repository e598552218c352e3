"""Carries out a Dockerfile's steps in a folder that stands for the image's root, without an engine.

FROM is this Python; COPY, RUN, ENV, WORKDIR, ENTRYPOINT and CMD are done as an engine would, with the image's folders
found under the root. What is not done: users, layers, the base image itself.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

from dockerfile_parse import DockerfileParser
from packaging.utils import canonicalize_name

PLACES = ("/opt/edgekit", "/build", "/srv")
NOT_LENT = re.compile(r"_?(editable_impl_)?edgekit\b.*|pip\b.*|setuptools\b.*|pkg_resources|__pycache__|.*\.pth")
PATIENCE_S = 900


class Root:
    """A root in which the steps of the last stage have been done.

    Attributes:
        folder: Stands for ``/``.
        environment: What ENV set in the last stage.
        entrypoint: ENTRYPOINT and CMD, with the places under the root.
        healthcheck: The command of HEALTHCHECK, or None.
    """

    def __init__(self, context: Path, folder: Path, *, after=lambda root, instruction: None, environment=None):
        self.folder = folder
        self.context = context
        self.environment = {}
        self.entrypoint, self.cmd, self.healthcheck, self.workdir = [], [], None, folder
        self._extra = environment or {}
        for step in stages(context)[0]:
            self._do(step)
            after(self, step)
        for step in stages(context)[1]:
            self._do(step)

    def here(self, text: str) -> str:
        """A command or path, with the image's places under this root."""
        for place in PLACES:
            text = re.sub(rf"(?<![\w/.]){place}\b", f"{self.folder}{place}", text)
        return text.replace("file:///build/", f"file://{self.folder}/build/")

    def variables(self) -> dict[str, str]:
        """The environment of a process in the image."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "EDGEKIT", "COV"))}
        return own | self._extra | self.environment

    def _do(self, step):
        name, value = step["instruction"], step["value"]
        if name == "COPY":
            self._copy(value)
        elif name == "RUN":
            command = re.sub(r"(^|\s)python ", rf"\1{sys.executable} ", self.here(value))
            subprocess.run(command, shell=True, check=True, cwd=self.folder, env=self.variables(), timeout=PATIENCE_S)  # noqa: S602
        elif name == "ENV":
            for pair in shlex.split(value):
                key, _, text = pair.partition("=")
                self.environment[key] = self.here(text).replace("$PATH", os.environ["PATH"])
        elif name == "WORKDIR":
            self.workdir = Path(self.here(value))
        elif name == "ENTRYPOINT":
            self.entrypoint = [self.here(word) for word in json.loads(value)]
        elif name == "CMD":
            self.cmd = json.loads(value)
        elif name == "HEALTHCHECK":
            self.healthcheck = json.loads(value.partition("CMD")[2])

    def _copy(self, value):
        *sources, target = [word for word in value.split() if not word.startswith("--")]
        place = Path(self.here(target))
        if "--from=build" in value:
            assert sources == [target], "the stages share one root here"
            return
        for source in sources:
            found = self.context / source
            if found.is_dir():
                shutil.copytree(found, place, dirs_exist_ok=True)
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(found, place)
        requirements = place / "requirements.txt"
        if requirements.is_file():
            requirements.write_text(self.here(requirements.read_text("utf-8")), "utf-8")


def lend(site: Path, folder: Path, names=None):
    """Put an environment's packages into another one: removed there, they stay here.

    Args:
        site: Its ``site-packages``.
        folder: The other's.
        names: Of the packages; all but edgekit and pip where None.
    """
    found = distributions(path=[str(site)])
    wanted = [one for one in found if names is None or canonicalize_name(one.name) in names]
    paths = {Path(path) for one in wanted for path in one.files or ()}
    for path in paths:
        if path.parts[0] == ".." or NOT_LENT.fullmatch(path.parts[0]) or "__pycache__" in path.parts:
            continue
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(site / path, folder / path)
        except OSError:  # on another disk
            shutil.copyfile(site / path, folder / path)


def stages(context: Path):
    """The Dockerfile's instructions, stage by stage."""
    found = []
    for step in DockerfileParser(str(context), cache_content=True).structure:
        if step["instruction"] == "FROM":
            found.append([])
        elif found and step["instruction"] != "COMMENT":
            found[-1].append(step)
    return found
