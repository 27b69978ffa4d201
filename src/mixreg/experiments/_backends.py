"""Where the runs of a sweep are executed: every place takes a task and gives a future of it."""

import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import joblib
from joblib.externals.loky import ProcessPoolExecutor

from mixreg._errors import MixregError, require
from mixreg.settings import SweepSettings

SLURM = "slurm"  # as submitit names it; its "local" executes the jobs as processes of this machine
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Task(NamedTuple):
    """What a worker does, and what a cluster is asked for."""

    name: str
    work: Callable[[], Any]
    cores: int = 1
    gpus: int = 0


class Backend(NamedTuple):
    """A place: `submit(task)` gives a future; one that raises has lost its worker.

    As many as `slots()` may be handed over at a time; those of one `batch()` begin when it closes;
    `queued(futures)` counts those that nobody works on yet.
    """

    submit: Callable[[Task], Any]
    slots: Callable[[], int]
    batch: Callable[[], AbstractContextManager[Any]] = nullcontext
    queued: Callable[[Iterable[Any]], int] = lambda _futures: 0


def cores() -> int:
    """How many cores this process may use."""
    return int(joblib.cpu_count())


def side_by_side(settings: SweepSettings, count: int) -> int:
    """How many of so many tasks go side by side on this machine."""
    return max(1, min(settings.jobs or cores(), count))


def threads_each(slots: int) -> int:
    """The cores of this machine, shared out."""
    return max(1, cores() // slots)


@contextmanager
def _local(settings: SweepSettings, count: int) -> Iterator[Backend]:
    """Pools of one process each, so that one that dies takes no other along."""
    slots = side_by_side(settings, count)
    if slots == 1:
        yield Backend(_work_here, lambda: 1)
        return
    threads = dict.fromkeys(_THREADS, str(threads_each(slots)))
    last: dict[ProcessPoolExecutor, Future[Any]] = {}

    def start() -> ProcessPoolExecutor:
        return ProcessPoolExecutor(1, initializer=_end_with, initargs=(os.getpid(),), env=threads)

    def submit(task: Task) -> Future[Any]:
        ended = {pool: future.exception() for pool, future in last.items() if future.done()}
        idle = [pool for pool, error in ended.items() if error is None]
        for pool in ended.keys() - idle:
            pool.shutdown(kill_workers=True)
            del last[pool]
        pool = idle[0] if idle else start()
        last.pop(pool, None)  # for good, should it have died since
        last[pool] = pool.submit(task.work)
        return last[pool]

    try:
        yield Backend(submit, lambda: slots)
    finally:
        for pool in last:
            pool.shutdown(kill_workers=True)


def _work_here(task: Task) -> Future[Any]:
    """One task at a time needs no other process."""
    future = Future[Any]()
    future.set_result(task.work())
    return future


def _end_with(parent: int) -> None:
    """In a worker: end when the process that started it has gone, and with it who would listen."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _dask(settings: SweepSettings, count: int) -> Iterator[Backend]:
    """Dask's workers; new ones take orders, by certificates made for them, from here alone."""
    distributed = require("distributed", extra="dask", purpose="--backend dask")
    with ExitStack() as stack:
        place: Any = settings.address
        if not place:
            dask = require("dask", extra="dask", purpose="--backend dask")
            require("cryptography", extra="dask", purpose="--backend dask")
            slots = side_by_side(settings, count)
            options = {
                "distributed.scheduler.allowed-failures": 0,
                "distributed.scheduler.http.routes": [],
                "distributed.worker.http.routes": [],
                "distributed.worker.daemon": False,
                "distributed.nanny.pre-spawn-environ": dict.fromkeys(_THREADS, threads_each(slots)),
            }
            stack.enter_context(dask.config.set(options))
            place = distributed.LocalCluster(
                n_workers=slots,
                threads_per_worker=1,
                processes=True,
                memory_limit=None,
                host="127.0.0.1",
                protocol="tls://",
                security=distributed.Security.temporary(),
                dashboard_address="127.0.0.1:0",
                scheduler_kwargs={"dashboard": False},
                silence_logs=logging.CRITICAL,
            )
            stack.enter_context(place)
        try:
            client = stack.enter_context(distributed.Client(place))
        except (OSError, ValueError) as error:
            raise MixregError(f"no Dask scheduler answers at {place!r}: {error}") from error
        executor = client.get_executor(pure=False)
        yield Backend(
            lambda task: executor.submit(task.work),
            lambda: settings.jobs or max(1, sum(client.nthreads().values())),
        )


@contextmanager
def _ray(settings: SweepSettings, count: int) -> Iterator[Backend]:
    """Ray's workers; a new cluster listens on 127.0.0.1 alone, to those who have its token."""
    private = {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
    }
    added = {} if settings.address else {k: v for k, v in private.items() if k not in os.environ}
    with ExitStack() as stack:
        os.environ.update(added)
        stack.callback(lambda: [os.environ.pop(name) for name in added])
        ray = require("ray", extra="ray", purpose="--backend ray")
        options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
        if not settings.address:
            options |= {"num_cpus": side_by_side(settings, count), "include_dashboard": False}
        try:
            ray.init(settings.address or "local", **options)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise MixregError(f"no Ray cluster answers at {settings.address!r}: {error}") from error
        stack.callback(ray.shutdown)
        worker = ray.remote(lambda work: work())

        def submit(task: Task) -> Any:
            options = {"num_cpus": task.cores, "num_gpus": task.gpus, "max_retries": 0}
            return worker.options(name=task.name, **options).remote(task.work).future()

        yield Backend(
            submit, lambda: settings.jobs or max(1, int(ray.cluster_resources().get("CPU", 0)))
        )


@contextmanager
def _slurm(settings: SweepSettings, tasks: Sequence[Task], logs: Path) -> Iterator[Backend]:
    """One array of all tasks, and a further one for those that died."""
    submitit = require("submitit", extra="slurm", purpose="--backend slurm")
    try:
        executor = submitit.AutoExecutor(logs, cluster=SLURM)
    except RuntimeError as error:
        raise MixregError(f"there is no SLURM here: {error}; run this where sbatch is") from error
    executor.update_parameters(
        name="mixreg",
        timeout_min=240,
        nodes=1,
        cpus_per_task=max(task.cores for task in tasks),
        gpus_per_node=max(task.gpus for task in tasks),
        slurm_array_parallelism=settings.jobs or len(tasks),
    )
    jobs: list[Any] = []

    @contextmanager
    def batch() -> Iterator[None]:
        try:
            with executor.batch():
                yield
        except RuntimeError as error:
            raise MixregError(f"SLURM does not take the jobs: {error}") from error

    def submit(task: Task) -> Any:
        jobs.append(executor.submit(task.work))
        return jobs[-1]

    def queued(futures: Iterable[Any]) -> int:
        return sum(job.state != "RUNNING" for job in futures)

    try:
        yield Backend(submit, lambda: len(tasks), batch, queued)
    finally:
        for job in jobs:
            if not job.done():
                job.cancel()


_PLACES = {"local": _local, "dask": _dask, "ray": _ray}


def open_backend(
    settings: SweepSettings, tasks: Sequence[Task], logs: Path
) -> AbstractContextManager[Backend]:
    """The place of these tasks; at the end, what was started for them is stopped."""
    if settings.backend == "slurm":
        return _slurm(settings, tasks, logs)
    return _PLACES[settings.backend](settings, len(tasks))
