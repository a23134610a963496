"""scikit-build-core, and for an sdist the project's sources, which lie above this folder in a checkout."""
import pathlib
import shutil

from scikit_build_core.build import *  # noqa: F401, F403
from scikit_build_core import build

HERE = pathlib.Path(__file__).resolve().parent.parent
SOURCES = ("CMakeLists.txt", "LICENSE", "cmake", "src", "templates", "tuner", "db", "python/CMakeLists.txt",
           "python/native")


def build_sdist(sdist_directory, config_settings=None):
    tree = HERE / "tree"
    if not (HERE.parent / "src/triage.h").exists():  # in an sdist: they are there
        return build.build_sdist(sdist_directory, config_settings)
    try:
        for name in SOURCES:
            source, to = HERE.parent / name, tree / name
            to.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if source.is_dir() else shutil.copy2)(source, to)
        return build.build_sdist(sdist_directory, config_settings)
    finally:
        shutil.rmtree(tree, ignore_errors=True)
