"""
The workers on Modal: `npm run build && modal deploy infra/modal_app.py` (docs/deploy-modal.md).

A cron ticks, and starts as many workers as the queue needs. Nothing runs, and nothing is billed, in between. Every
function may be preempted at any moment: what a worker held goes back to the queue.
"""

import json
import math
import os
from pathlib import Path

import modal
from child_process import run_child

APP = "/app"
COHERENCE = ["node", f"{APP}/dist/infra/coherence.js"]

TICK = modal.Cron("*/3 * * * *")
DAILY = modal.Cron("17 3 * * *")
# Less than the time between two ticks.
SHORT_SECONDS = 170

MAX_WORKERS = 8
JOBS_A_WORKER = 50
# Workers take no new job after 13 minutes, and have 2 more for the one in hand.
WORK_SECONDS = 780
TIMEOUT_SECONDS = 900
# One job of this queue may take an hour and more.
LONG_QUEUE = "compute-event"
LONG_WORK_SECONDS = 3600
LONG_TIMEOUT_SECONDS = 5 * 3600
# MiB: what is billed at least, and where the container is ended; the worker takes no new job near that.
DRAIN_MEMORY = (512, 1024)
# "Try again later" of sysexits.h: the queues belong to another build, whose workers do the work.
OTHER_BUILD = 75

ROOT = Path(__file__).resolve().parent.parent
if modal.is_local() and not (ROOT / "dist/infra/coherence.js").exists():
    raise FileNotFoundError("There is no build to deploy: run `npm run build` first.")

# Modal's secrets by name, later ones over earlier: COHERENCE_SECRETS=supabase,storj modal deploy …
SECRETS = os.environ.get("COHERENCE_SECRETS", "supabase")

# What the last stage of infra/Dockerfile holds, and the Python that Modal needs.
image = (
    modal.Image.from_registry("node:24-slim", add_python="3.12")
    # Of all functions `wake` alone needs it.
    .pip_install("fastapi~=0.125")
    .workdir(APP)
    .add_local_file(ROOT / "package.json", f"{APP}/package.json", copy=True)
    .add_local_file(ROOT / "package-lock.json", f"{APP}/package-lock.json", copy=True)
    .run_commands("npm ci --omit=dev --omit=optional --ignore-scripts --no-audit --no-fund")
    # Objects on a container's own disk would be gone with it: the command's default, "local", is no choice here.
    # The secrets' names too: in its containers Modal loads this file again, and runs nothing if they are others there.
    .env(
        {
            "NODE_ENV": "production",
            "STORAGE_DRIVER": "supabase",
            "WORK_MEMORY": f"{DRAIN_MEMORY[1]}M",
            "COHERENCE_SECRETS": SECRETS,
        }
    )
    .add_local_dir(ROOT / "dist", f"{APP}/dist")
    .add_local_python_source("child_process")
)
app = modal.App("coherence", image=image)
secrets = [modal.Secret.from_name(name) for name in SECRETS.split(",")]


def coherence(*arguments: str) -> dict:
    """
    Runs one command; returns its JSON document, {} if the queues belong to another build. Raises RuntimeError if it
    fails, and KeyboardInterrupt, for which Modal runs the same input again elsewhere, if it was interrupted.
    """
    ended = run_child([*COHERENCE, *arguments, "--json"])
    if ended.stopped_by is not None:
        raise KeyboardInterrupt
    print(ended.stdout, end="")
    if ended.code == OTHER_BUILD:
        return {}
    if ended.code != 0:
        raise RuntimeError(f"coherence {arguments[0]} ended with {ended.code}")
    return json.loads(ended.stdout)


def start_workers(function: modal.Function, wanted: int) -> int:
    """Starts those of the wanted workers that are not there yet; returns how many."""
    stats = function.get_current_stats()
    # One that runs, or is about to, goes on until nothing is ready.
    missing = max(0, wanted - stats.num_total_runners - stats.backlog)
    for _ in range(missing):
        function.spawn()
    return missing


@app.function(
    secrets=secrets,
    schedule=TICK,
    timeout=SHORT_SECONDS,
    max_containers=1,
    # Else the container waits, billed, for another minute.
    single_use_containers=True,
    memory=256,
)
def tick() -> None:
    """Rescues lost jobs, sends what is due, starts workers for what is ready."""
    ready = coherence("tick").get("ready", {})
    long = ready.pop(LONG_QUEUE, 0)
    start_workers(drain, min(MAX_WORKERS, math.ceil(sum(ready.values()) / JOBS_A_WORKER)))
    start_workers(drain_long, min(1, long))


@app.function(
    secrets=secrets,
    timeout=TIMEOUT_SECONDS,
    max_containers=MAX_WORKERS,
    single_use_containers=True,
    cpu=1.0,
    memory=DRAIN_MEMORY,
)
def drain() -> None:
    """Does jobs until none is ready."""
    coherence("work", "--drain", "--max-seconds", str(WORK_SECONDS), "--except", LONG_QUEUE)


@app.function(
    secrets=secrets,
    timeout=LONG_TIMEOUT_SECONDS,
    max_containers=1,
    single_use_containers=True,
    cpu=1.0,
    memory=DRAIN_MEMORY,
)
def drain_long() -> None:
    """Does the jobs that take too long for `drain`."""
    coherence("work", "--drain", "--max-seconds", str(LONG_WORK_SECONDS), "--queues", LONG_QUEUE)


@app.function(
    secrets=secrets,
    schedule=DAILY,
    timeout=TIMEOUT_SECONDS,
    max_containers=1,
    single_use_containers=True,
    memory=256,
)
def maintain() -> None:
    """Once a day: fails, and Modal says so, if an assumption of `coherence doctor` no longer holds."""
    coherence("doctor")


# Without secrets: it starts a worker and needs to know nothing.
@app.function(timeout=30, max_containers=1, scaledown_window=2)
@modal.fastapi_endpoint(method="POST", requires_proxy_auth=True)
def wake() -> dict[str, int]:
    """
    For a database webhook, so that work begins now and not at the next tick. Modal answers 401 to whoever lacks a
    proxy token of the workspace in the headers Modal-Key and Modal-Secret.
    """
    return {"started": start_workers(drain, 1)}
