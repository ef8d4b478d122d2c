"""
Loads infra/modal_app.py as Modal does, without its SDK: `modal_stand_in.py FILE deploy|container`. Prints what the image
sets in its containers, and each function's arguments with its secrets by name.
"""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

file, where = Path(sys.argv[1]), sys.argv[2]
image_env: dict[str, str] = {}
functions: dict[str, dict] = {}


class Image:
    """Every step of a build is taken; `env` is remembered."""

    def __getattr__(self, step: str):
        if step.startswith("__"):
            raise AttributeError(step)
        return lambda *_, **__: self

    def env(self, variables: dict[str, str]) -> "Image":
        image_env.update(variables)
        return self


class App:
    def __init__(self, _name: str, image: Image) -> None:
        self.image = image

    def function(self, **given):
        def register(function):
            functions[function.__name__] = given
            return function

        return register


modal = ModuleType("modal")
modal.Image = Image()
modal.App = App
modal.Function = object
modal.Cron = lambda at: at
modal.Secret = SimpleNamespace(from_name=lambda name: name)
modal.fastapi_endpoint = lambda **_: lambda function: function
modal.is_local = lambda: where == "deploy"
sys.modules["modal"] = modal

sys.path.insert(0, str(file.parent))
spec = importlib.util.spec_from_file_location("modal_app", file)
spec.loader.exec_module(importlib.util.module_from_spec(spec))
print(json.dumps({"env": image_env, "functions": functions}))
