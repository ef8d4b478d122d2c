"""Checks infra/modal_app.py with Modal's own SDK; run by modal.test.ts, which says what is printed."""

import json
import sys
import warnings
from types import SimpleNamespace
from unittest import mock

import modal
from modal.cli.import_refs import import_file_or_module, parse_import_ref

# What the SDK calls deprecated is an error.
warnings.simplefilter("error", DeprecationWarning)
warnings.simplefilter("error", modal.exception.DeprecationError)

# As `modal deploy infra/modal_app.py` does.
module = import_file_or_module(parse_import_ref(sys.argv[1]))


class Function:
    """Stands for a deployed one, which only Modal has."""

    def __init__(self, running: int, backlog: int) -> None:
        self.running, self.backlog, self.spawned = running, backlog, 0

    def get_current_stats(self) -> SimpleNamespace:
        return SimpleNamespace(num_total_runners=self.running, backlog=self.backlog)

    def spawn(self) -> None:
        self.spawned += 1


def spawned(document: dict, running: int = 0, backlog: int = 0) -> list[int]:
    drain, drain_long = Function(running, backlog), Function(0, 0)
    with mock.patch.multiple(module, drain=drain, drain_long=drain_long, coherence=lambda *_: document):
        module.tick.local()
    return [drain.spawned, drain_long.spawned]


def outcome(code: int, stdout: str = "", stopped_by: int | None = None) -> object:
    ended = SimpleNamespace(code=code, stdout=stdout, stopped_by=stopped_by)
    with mock.patch.object(module, "run_child", return_value=ended):
        try:
            return module.coherence("tick")
        except (RuntimeError, KeyboardInterrupt) as error:
            return type(error).__name__


print(
    json.dumps(
        {
            "functions": list(module.app.registered_functions),
            "spawned": {
                "another build": spawned({}),
                "nothing ready": spawned({"ready": {}}),
                "1 ready": spawned({"ready": {"pack": 1}}),
                "51 ready": spawned({"ready": {"pack": 1, "test-chunk": 50}}),
                "a million ready": spawned({"ready": {"run-analysis": 10**6}}),
                "a million ready, 3 running, 2 to come": spawned({"ready": {"run-analysis": 10**6}}, 3, 2),
                "1 ready, 3 running": spawned({"ready": {"pack": 1}}, 3),
                "2 events": spawned({"ready": {"compute-event": 2}}),
            },
            "outcomes": {
                "0": outcome(0, '{"ready": {}}\n'),
                "75": outcome(75, '{"error": {}}\n'),
                "1": outcome(1),
                "interrupted": outcome(0, "", 2),
            },
        }
    )
)
