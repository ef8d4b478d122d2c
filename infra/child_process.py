"""Runs one process and passes on to it the signals that end its parent."""

import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass

# A stopped worker needs up to 20 s to finish or hand back its jobs; Modal kills after 30 s.
GRACE_SECONDS = 25.0


@dataclass(frozen=True)
class Ended:
    """How the process ended: its exit code (negative: the signal that killed it), its stdout, who stopped it."""

    code: int
    stdout: str
    stopped_by: signal.Signals | None


def run_child(argv: Sequence[str], grace_seconds: float = GRACE_SECONDS) -> Ended:
    """
    Runs `argv` to its end. On SIGTERM or SIGINT, and on an exception that another signal's handler raises here, it
    gets SIGTERM once, and SIGKILL `grace_seconds` later. Call it in the main thread: Python has signal handlers
    nowhere else.

    `subprocess.run` will not do: it kills the child a quarter of a second after SIGINT.
    """
    # In a session of its own: what is sent to our whole group must not reach it past this function.
    child = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, start_new_session=True)
    killer = threading.Timer(grace_seconds, child.kill)
    killer.daemon = True
    stopped_by: signal.Signals | None = None

    def stop(number: int, _frame: object) -> None:
        nonlocal stopped_by
        if stopped_by is None:
            stopped_by = signal.Signals(number)
            child.terminate()
            killer.start()

    handlers = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        stdout, _ = child.communicate()
    except BaseException:
        # Modal cancels an input by SIGUSR1, whose handler raises.
        stop(signal.SIGTERM, None)
        child.communicate()
        raise
    finally:
        killer.cancel()
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return Ended(child.returncode, stdout, stopped_by)


if __name__ == "__main__":
    ended = run_child(sys.argv[1:])
    sys.stdout.write(ended.stdout)
    sys.exit(ended.code if ended.code >= 0 else 128 - ended.code)
