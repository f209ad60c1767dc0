"""The engine: step-level continuous batching of many jobs on one device."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from pathlib import Path

import torch

from models.catalog.catalog import ModelSpec
from models.diffusion import snapshots
from models.diffusion.batching import advance, predict, split
from models.diffusion.capacity import Capacity, Forward
from models.diffusion.checkpoint import Checkpoint
from models.diffusion.events import Event, Failed, Finished, Progressed
from models.diffusion.model_cache import CacheCounts, ModelCache
from models.diffusion.observation import Observer, engine_step
from models.diffusion.plans import Tools, plan
from models.diffusion.previewing import Previews
from models.diffusion.row import AwaitingLoad, Ended, Finishing, OnHost, Preparing, Row, Running
from models.diffusion.scheduler import Scheduler, current_work
from models.diffusion.side_work import SideWork
from models.diffusion.streams import open_streams
from models.diffusion.timing import ForwardTimes
from models.diffusion.work import HostWork, LoadRequest, PlanEnd, PlanStep, Resumable, StepsAhead, Task, Work
from models.errors import JobFailure, OutOfMemory
from models.jobs.params import drawing_cost_key

CPU = torch.device("cpu")
LOADING_EVERY_S = 1.0
"""How often a row that waits for a model is told how far that is."""


class Engine:
    """Draws many jobs at once: rows join and leave at any step, and each step is one forward for one batch of rows.

    The law of the engine: a row's image does not depend on the rows beside it. Alone, a row gives the same image as
    the family's plain diffusers pipeline with the same seed. In a batch it gives the same image within 1/255 of each
    channel, on a CPU in float32. A failure in one row fails that row only.

    One thread owns the engine and calls :meth:`step`. :meth:`add_row` and :meth:`cancel_row` may be called from any
    thread, also during a step.

    Args:
        load: loads the checkpoint of a model.
        device: the device on which all models run.
        capacity: bounds the number of rows that are drawn at once; the others wait.
        preview_every: the number of steps between two previews of a row; 0 turns previews off.
        budget_bytes: the memory for models that no row uses; ``None`` keeps models until the device is full.
        observer: is told about each step with a forward.
        packages: the folder of deployed packages; a model is loaded anew when they changed, once no row uses it.

    Raises:
        ValueError: ``preview_every`` is negative.
    """

    def __init__(
        self,
        load: Callable[[ModelSpec], Checkpoint],
        *,
        device: torch.device = CPU,
        capacity: Capacity | None = None,
        preview_every: int = 5,
        budget_bytes: int | None = None,
        observer: Observer | None = None,
        packages: Path | None = None,
    ) -> None:
        self.capacity = capacity or Capacity()
        streams = open_streams(device)
        self._scheduler = Scheduler(self.capacity, prepares_ahead=streams.has_side)
        self._models = ModelCache(device, budget_bytes, lambda: self._scheduler.keys_in_use, streams.settle)
        self._side_work = SideWork(streams, self._models)
        self._times = ForwardTimes(streams, self._side_work, self.capacity)
        self._previews = Previews(preview_every, self._side_work)
        self._load = load
        self._tools = Tools(self._loaded, device, packages)
        self._observer = observer
        self._joining_soon = 1
        self._told_loading_at = time.monotonic()

    @property
    def row_ids(self) -> tuple[str, ...]:
        """The ids of all rows, running and then waiting, the oldest first."""
        return self._scheduler.row_ids

    @property
    def waiting_ids(self) -> tuple[str, ...]:
        """The ids of the rows that wait for admission; may be read by any thread."""
        return self._scheduler.waiting_ids

    @property
    def waiting(self) -> int:
        """The number of rows that wait for admission."""
        return self._scheduler.waiting

    @property
    def running(self) -> int:
        """The number of rows that were admitted."""
        return self._scheduler.running

    @property
    def cache_counts(self) -> CacheCounts:
        """What the cache of models did so far, and what it holds."""
        return self._models.counts

    @property
    def joining_soon(self) -> int:
        """How many waiting rows could be admitted at the next step, as it was known after the last one; at least 1."""
        return self._joining_soon

    @property
    def is_idle(self) -> bool:
        """Whether there are no rows."""
        return self._scheduler.is_idle

    @property
    def loaded(self) -> tuple[Hashable, ...]:
        """The keys of all loaded models; :func:`~models.diffusion.load_requests.weights_of` gives a model's key."""
        return self._models.loaded

    def load(self, spec: ModelSpec) -> Checkpoint:
        """Load the checkpoint of ``spec`` now, so that the first row that uses it need not wait.

        Raises:
            ModelUnavailable, OutOfMemory: the checkpoint cannot be loaded.
        """
        loaded = self._models.request(self._tools.checkpoint(spec)).result()
        if isinstance(loaded, JobFailure):
            raise loaded
        return loaded

    def _loaded(self, spec: ModelSpec) -> Checkpoint:
        """Load ``spec``, and begin with the batch size that is known of its package."""
        checkpoint = self._load(spec)
        if checkpoint.inputs_at_once is not None:
            size = spec.drawn_size(spec.defaults.width, spec.defaults.height)
            self.capacity.expect(drawing_cost_key(spec.name, size, any_backend=True), checkpoint.inputs_at_once)
        return checkpoint

    def add_row(
        self,
        row_id: str,
        task: Task,
        is_watched: Callable[[], bool] = lambda: True,
        snapshot: bytes | None = None,
        owner: str = "",
        weight: int = 1,
    ) -> None:
        """Add a row; it is admitted at the next step if there is capacity.

        Args:
            owner: who asked for the image; owners share the device, by their weights.
            is_watched: whether somebody wants previews of the row now; asked in the engine's thread.
            snapshot: from :meth:`save_row` of an engine that drew the same task in part; the row goes on there.
            weight: the share of the owner, compared with those of others.

        Raises:
            ValueError: there is a row with the same id.
        """
        row = Row(row_id, task, plan(task, self._tools), owner, weight, is_watched=is_watched)
        row.snapshot = None if snapshot is None else snapshots.read(snapshot)
        self._scheduler.add(row)

    @torch.inference_mode()
    def save_row(self, row_id: str) -> bytes | None:
        """What is drawn of a row so far; ``None`` if that is nothing more than its snapshot, or cannot be saved.

        The row is not changed. For the thread that calls :meth:`step`.
        """
        row = self._scheduler.find(row_id)
        if row is None or row.snapshot is not None:
            return None
        return snapshots.save(row.outcomes, row.piece)

    def cancel_row(self, row_id: str) -> None:
        """Remove a row at once; later steps report no event of it. An unknown id is no error."""
        self._scheduler.remove(row_id)

    def close(self) -> None:
        """End the engine's threads; rows in progress are lost."""
        self._models.close()
        self._side_work.close()

    # A row's life, from its admission to its end

    @torch.inference_mode()
    def step(self) -> list[Event]:
        """Admit and resume rows, then run one forward for the batch that the scheduler selects."""
        stepping_since = time.monotonic()
        events = [*self._admit(), *self._resume_ready()]
        rows = self._scheduler.select_batch()
        if rows:
            began_at, batch = time.monotonic(), [current_work(row) for row in rows]
            outputs = self._execute(batch)
            self._previews.begin(rows, outputs)
            events += self._advance(rows, outputs)
            self._scheduler.charge(rows, time.monotonic() - began_at)
            events += self._finish(rows)
            if self._observer is not None:
                self._observer(engine_step(rows, batch, time.monotonic() - stepping_since))
        else:
            self._side_work.wait()
        events += [*self._resume_ready(), *self._loading()]
        self._joining_soon = self._scheduler.joining_soon()
        return events

    def _admit(self) -> Iterator[Event]:
        """Waiting -> Preparing."""
        for row in self._scheduler.admit():
            self._side_work.prepare(row, None)
            yield from self._resume(row)

    def _resume_ready(self) -> Iterator[Event]:
        for row in self._side_work.take_ready():
            yield from self._resume(row)

    def _resume(self, row: Row) -> Iterator[Event]:
        """Take ``row`` from state to state until it is running, waits for unfinished side work, or has left.

        Preparing -> AwaitingLoad or OnHost -> Preparing while the plan requests models or work of the CPU; Preparing ->
        Running when it has work to run; Finishing -> Preparing with the outcome of that work.
        """
        while self._scheduler.is_running(row) and row.is_ready:
            match row.state:
                case Preparing(future):
                    yield from self._follow_plan(row, future.result())
                case AwaitingLoad(future) | OnHost(future) | Finishing(future):
                    outcome = future.result()
                    if isinstance(outcome, JobFailure):
                        yield self._fail(row, outcome)
                        return
                    if isinstance(row.state, Finishing):
                        self._take_outcome(row, outcome)
                    else:
                        self._side_work.prepare(row, outcome)
        if self._scheduler.is_running(row) and not isinstance(row.state, Running):
            self._side_work.watch(row)

    def _follow_plan(self, row: Row, following: PlanStep) -> Iterator[Event]:
        """Preparing -> AwaitingLoad, OnHost, Running or Ended."""
        match following:
            case LoadRequest():
                self._side_work.load(row, following)
                if not row.is_ready:
                    yield self._side_work.loading_of(row, following)
            case HostWork():
                self._side_work.compute_on_host(row, following)
            case PlanEnd(result):
                self._end(row)
                yield Finished(row.row_id, result, row.prepare_s, row.denoise_s, row.finish_s, tuple(row.backends))
            case JobFailure():
                yield from self._retry_or_fail(row, following)
            case StepsAhead(steps):
                row.steps_ahead = steps
                self._side_work.prepare(row, None)
            case work:
                self._begin(row, work)

    def _begin(self, row: Row, work: Work[object]) -> None:
        """Preparing -> Running; but what another engine has done of the row is not done again."""
        snapshot, number = row.snapshot, len(row.outcomes)
        if snapshot is not None and number < len(snapshot.outcomes):
            row.count_steps(work)
            self._take_outcome(row, snapshot.outcomes[number])
            return
        row.enter(Running(work))
        row.snapshot = None
        if snapshot is not None and snapshot.work is not None and isinstance(work, Resumable):
            work.restore(snapshot.work)
            if _is_done(work):
                self._side_work.finish([row])

    def _take_outcome(self, row: Row, outcome: object) -> None:
        """Finishing, or not begun -> Preparing, with the outcome of a piece of work."""
        row.outcomes.append(outcome)
        self._side_work.prepare(row, outcome)

    def _retry_or_fail(self, row: Row, failure: JobFailure) -> Iterator[Event]:
        """Prepare ``row`` once more if the memory was full and some could be freed; otherwise fail it.

        A plan cannot go back, so only a row that has taken no step yet is prepared once more. Preparing fills again
        what was freed, so a row that does not fit then would never end.
        """
        may_retry = isinstance(failure, OutOfMemory) and not row.was_retried and not row.steps_done
        if may_retry and self._free_memory():
            row.was_retried = True
            row.plan = plan(row.task, self._tools)
            self._side_work.prepare(row, None)
            return
        yield self._fail(row, failure)

    def _free_memory(self) -> bool:
        """Drop what no row needs: encoded prompts and unused models; whether there was anything."""
        had_encodings = self._tools.encodings.clear()
        return self._models.free_memory() or had_encodings

    def _loading(self) -> Iterator[Event]:
        """Once a second, what rows wait for and how far it is."""
        now = time.monotonic()
        if now - self._told_loading_at >= LOADING_EVERY_S:
            self._told_loading_at = now
            yield from self._side_work.loading()

    def _execute(self, batch: Sequence[Work[object]]) -> list[torch.Tensor | JobFailure]:
        """Run the model for all of ``batch``: one forward, or several small ones that measure its fixed cost."""
        forward = Forward.of(batch)
        parts = split(batch, self._times.begin(forward))
        refused: list[int] = []
        outputs = [output for part in parts for output in predict(part, self._free_memory, refused.append)]
        if refused:
            self.capacity.record_out_of_memory(forward.cost_key, min(refused))
        else:
            self._times.end(forward, [Forward.of(part) for part in parts])
        return outputs

    def _advance(self, rows: Sequence[Row], outputs: Sequence[torch.Tensor | JobFailure]) -> Iterator[Event]:
        """Take one step of each row with its output; rows that were canceled during the forward are skipped."""
        advancing: list[tuple[Row, torch.Tensor]] = []
        for row, output in zip(rows, outputs, strict=True):
            if not self._scheduler.is_running(row):
                continue
            if isinstance(output, JobFailure):
                yield self._fail(row, output)
            else:
                advancing.append((row, output))
        failures = advance([current_work(row) for row, _ in advancing], [output for _, output in advancing])
        for (row, _), failure in zip(advancing, failures, strict=True):
            yield self._progress(row) if failure is None else self._fail(row, failure)

    def _progress(self, row: Row) -> Progressed:
        work = current_work(row)
        steps = row.steps_done + work.steps + row.steps_ahead
        return Progressed(row.row_id, row.steps_done + work.step, steps, self._previews.take(row))

    def _finish(self, rows: Sequence[Row]) -> Iterator[Event]:
        """Running -> Finishing, for those of ``rows`` whose work has just taken its last step."""
        done = [row for row in rows if self._scheduler.is_running(row) and _is_done(current_work(row))]
        if done:
            self._side_work.finish(done)
        for row in done:
            yield from self._resume(row)

    def _fail(self, row: Row, failure: JobFailure) -> Failed:
        self._end(row)
        return Failed(row.row_id, failure)

    def _end(self, row: Row) -> None:
        row.enter(Ended())
        self._scheduler.end(row)


def _is_done(work: Work[object]) -> bool:
    return work.step == work.steps
