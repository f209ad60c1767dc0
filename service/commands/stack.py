"""The processes of ``photogram up``: Valkey, the gateway, the workers and the language engine."""

from __future__ import annotations

import argparse
import json
import logging
import os
import socket
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from redis.exceptions import RedisError

from models.jobs.kinds import DIFFUSION_QUEUE, job_kinds
from service.backbone.configuration import Configuration
from service.backbone.connections import connect, wait_for_redis
from service.backbone.files import ABANDONED_S, remove_partial
from service.backbone.permissions import tighten
from service.backbone.running import RunningServer, announced
from service.backbone.settings import Settings
from service.commands.first_key import ensure_key
from service.commands.welcome import second_terminal
from service.gpus import spread, visible_gpus
from service.llm.install import EngineMissing
from service.llm.own_engine import OwnEngine
from service.supervisor import Child, stop_in_order
from service.valkey import socket_url, valkey_command

log = logging.getLogger(__name__)

REDIS_START_S = 60.0
"""The time limit for Valkey's start, which reads the append-only file."""
POLL_S = 0.2
MISCONFIGURED = 2
"""The exit code of a worker whose settings or catalog are not valid (``workers.process``)."""
STOP_S = (7.0, 2.0)
"""The time limits for stopping gateway, workers and language engine, and then Valkey."""


def address_of(options: argparse.Namespace) -> str:
    """The address that ``--host`` and ``--port`` say."""
    host = f"[{options.host}]" if ":" in options.host else options.host
    return f"http://{host}:{options.port}"


def _own_engine(configuration: Configuration) -> OwnEngine | None:
    """The language engine to start, unless rewriting is off, another engine is configured, or it is not installed."""
    settings = configuration.settings
    if settings.llm == "off" or settings.llm_url is not None:
        return None
    try:
        return OwnEngine(settings.llm_folder, configuration.environment)
    except EngineMissing as error:
        print(f"photogram up: prompt rewriting is off: {error}, run `photogram llm install`", file=sys.stderr)
        return None


def _further_queues() -> list[str]:
    """The queues besides the diffusion queue that kinds with a plan or a function use; each gets one worker."""
    runnable = [kind for kind in job_kinds() if kind.plan is not None or kind.function is not None]
    return sorted({kind.queue for kind in runnable} - {DIFFUSION_QUEUE})


def _has_plans(queue: str) -> bool:
    """Whether a worker of ``queue`` runs models on a device."""
    return any(kind.plan is not None for kind in job_kinds() if kind.queue == queue)


def worker_children(settings: Settings, environment: Mapping[str, str]) -> list[Child]:
    """The workers of all queues, not started yet; those that run models have their places on the devices."""
    gpus = visible_gpus(environment) if settings.device in ("auto", "cuda") else ()
    numbered = [f"worker {number + 1}" for number in range(settings.workers or max(1, len(gpus)))]
    queues = dict.fromkeys(numbered, DIFFUSION_QUEUE) | {f"worker {queue}": queue for queue in _further_queues()}
    placed = [name for name, queue in queues.items() if _has_plans(queue)]
    places = dict(zip(placed, spread(len(placed), gpus), strict=True))
    threads = {
        "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // len(numbered))),
        "OMP_WAIT_POLICY": "PASSIVE",  # threads that spin while they wait take the cores of the processes beside them
    }
    children = []
    for name, queue in queues.items():
        place = places[name].variables if name in places else {}
        log.info("%s serves the queue %s %s", name, queue, " ".join(f"{key}={value}" for key, value in place.items()))
        command = [sys.executable, "-m", "workers", "--queue", queue]
        children.append(Child(name, command, {**threads, **environment, **place}))
    return children


class Stack:
    """Valkey, gateway, workers and language engine; they start and stop together.

    Args:
        listener: the listening socket that the gateway inherits; it is closed when everything stops.
    """

    def __init__(
        self, configuration: Configuration, options: argparse.Namespace, runtime: Path, listener: socket.socket
    ) -> None:
        valkey_socket, settings = runtime / "valkey.sock", configuration.settings
        self._configuration, self._settings = configuration, settings
        self._redis_url = settings.redis_url or socket_url(valkey_socket)
        self._address, self._listener = address_of(options), listener
        self._created_key: str | None = None
        self._is_temporary = options.temporary
        self.url = self._address.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]")
        """The address for clients on this machine."""
        self._engine = _own_engine(configuration)
        self._given_up: set[str] = set()
        self._is_ready = False
        self._is_told = False
        environment = self._environment()
        python = [sys.executable, "-m"]
        valkey = valkey_command(settings.data / "valkey", valkey_socket)
        self._storage = [] if settings.redis_url else [Child("valkey", valkey, environment)]
        descriptor = listener.fileno()
        gateway = ["service.commands.gateway", "--fd", str(descriptor)]
        self._gateway = Child("gateway", [*python, *gateway], environment, [descriptor])
        self._workers = worker_children(settings, environment)

    def _environment(self) -> dict[str, str]:
        return {
            **self._configuration.environment,
            **({} if self._engine is None else self._engine.variables(self._configuration.environment)),
            "REDIS_URL": self._redis_url,
            "PYTHONUNBUFFERED": "1",
        }

    def run(self, stopping: threading.Event) -> int:
        """Start, print the ready line, supervise, stop; returns the exit code."""
        embedded = self._redis_url if self._storage else None
        try:
            with announced(self._settings.data, RunningServer(os.getpid(), self.url, embedded)):
                return self._run(stopping)
        except (RedisError, TimeoutError, OSError) as error:
            print(f"photogram up: {error}", file=sys.stderr)
            return 1
        finally:
            self._listener.close()  # first, so that new clients are refused instead of waiting for nobody
            engine = [] if self._engine is None else [self._engine.child]
            stop_in_order([[self._gateway, *self._workers, *engine], self._storage], STOP_S)

    def _run(self, stopping: threading.Event) -> int:
        self._start(stopping)
        while not stopping.wait(POLL_S):
            if not self._is_ready and self._gateway.exit_code is not None:
                print(f"photogram up: the gateway could not start on {self._address}", file=sys.stderr)
                return 1
            self._restart_ended()
            if self._given_up and not self._is_ready:
                return 2
            if self._is_ready:
                self._supervise_engine()
            elif self._is_service_ready():
                self._is_ready = True
                print(f"ready {self._address}", flush=True)
                self._tell_second_terminal()
        return 0

    def _tell_second_terminal(self) -> None:
        if not self._is_temporary:
            key, is_created = self._created_key or self._settings.bootstrap_key, self._created_key is not None
            print(second_terminal(self.url, key, is_created=is_created), file=sys.stderr, flush=True)

    def _start(self, stopping: threading.Event) -> None:
        """Start Valkey, then the gateway and the workers once Valkey answers and there is an API key."""
        tighten(self._settings)
        self._remove_partial()
        for child in self._storage:
            child.start()

        def is_hopeless() -> bool:
            return stopping.is_set() or any(child.exit_code is not None for child in self._storage)

        with connect(self._redis_url, "photogram-up") as connection:
            wait_for_redis(connection, REDIS_START_S if self._storage else POLL_S, is_hopeless)
        self._created_key = ensure_key(self._redis_url, self._settings.bootstrap_key, is_hopeless)
        for child in (self._gateway, *self._workers):
            child.start()

    def _remove_partial(self) -> None:
        """Remove files that were never completed; with a Valkey of our own, nobody else can be writing them now."""
        settings, age_s = self._settings, 0.0 if self._storage else ABANDONED_S
        for folder in (settings.data, settings.images_folder, settings.inputs_folder, settings.files_folder):
            remove_partial(folder, age_s)

    def _restart_ended(self) -> None:
        for child in (*self._storage, self._gateway):
            child.keep_running()
        for worker in self._workers:
            self._keep_running(worker)

    def _keep_running(self, worker: Child) -> None:
        """Restart the worker if it has ended, unless a restart would not change why.

        That is so if it cannot import a function, or refuses its settings at its first start; later, a device that was
        there may come back.
        """
        is_refused = worker.exit_code == MISCONFIGURED and not self._is_ready
        if worker.exit_code != os.EX_CONFIG and not is_refused:
            worker.keep_running()
        elif worker.name not in self._given_up:
            self._given_up.add(worker.name)
            reason = (
                "it cannot run with these settings" if is_refused else "a function of its job kinds cannot be imported"
            )
            print(
                f"photogram up: {worker.name} is not started again, because {reason} (see its message above)",
                file=sys.stderr,
            )

    def _supervise_engine(self) -> None:
        """Start and restart the engine, only after the service is ready, so that it does not delay the first images."""
        if self._engine is not None:
            self._engine.keep_running()

    def _is_service_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=1.0) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError as error:
            self._tell_storage_problem(error.read())
            return False
        except (urllib.error.URLError, OSError):
            return False

    def _tell_storage_problem(self, body: bytes) -> None:
        """Say once why the service is not ready, if the disk or Redis accepts no writes; other reasons pass soon."""
        problem = json.loads(body)
        if problem["code"] in ("storage_unavailable", "ledger_unavailable") and not self._is_told:
            self._is_told = True
            print(f"photogram up: not ready yet: {problem['detail']}", file=sys.stderr, flush=True)
