"""What a process has only one of, such as the random state: left as it was found."""

from __future__ import annotations

import logging
import os
import random
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any

import numpy as np
import torch
from transformers.utils import logging as transformers_logging

# The package has a class of the same name.
hub_bars = import_module("huggingface_hub.utils.tqdm")
_one_at_a_time = threading.RLock()


def _unlocked() -> None:
    """A process that is forked while a thread explains has no thread that would end."""
    global _one_at_a_time
    _one_at_a_time = threading.RLock()


os.register_at_fork(after_in_child=_unlocked)


@contextmanager
def apart() -> Iterator[None]:
    """Nothing of the process is changed in the end, and only one thread is within."""
    with _one_at_a_time, as_they_were():
        quieten()
        try:
            yield
        except SystemExit as end:
            if isinstance(end.__context__, KeyboardInterrupt):  # Lightning ends a script by it
                raise KeyboardInterrupt from None
            raise


def quieten() -> None:
    """Hides advice that nobody here can follow, and bars of a few milliseconds."""
    transformers_logging.disable_progress_bar()
    hub_bars.enable_progress_bars()  # of downloads, which it hides too
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.WARNING)
    for advice in (
        "predict returned None",
        "does not have many workers",
        r"`isinstance\(treespec, LeafSpec\)` is deprecated",
    ):
        warnings.filterwarnings("ignore", message=f".*{advice}.*")


@contextmanager
def as_they_were() -> Iterator[None]:
    """Within, the switches are PyTorch's own; afterwards they are all as they were before.

    Those are the random states, what is deterministic, the default type and device, gradients,
    inference mode and autocast, threads, environment variables, warnings, log levels, progress
    bars and signal handlers. Precision of float32 products on a GPU stays as the caller has it.
    """
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        for keep in (_environment, _logs, _bars, _signals, _random, _torch):
            keep(stack)
        yield


def _environment(stack: ExitStack) -> None:
    before = dict(os.environ)

    def restore() -> None:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update({k: v for k, v in before.items() if os.environ.get(k) != v})

    stack.callback(restore)


def _logs(stack: ExitStack) -> None:
    stack.callback(logging.disable, logging.root.manager.disable)
    known = [logging.root, *logging.root.manager.loggerDict.values()]
    before = [(log, log.level, log.disabled) for log in known if isinstance(log, logging.Logger)]

    def restore() -> None:
        for log, level, disabled in before:
            log.disabled = disabled
            if log.level != level:  # each of these calls goes through all logs
                log.setLevel(level)

    stack.callback(restore)


def _bars(stack: ExitStack) -> None:
    # In the end the first is last: the bars of transformers switch those of the hub, too.
    stack.callback(hub_bars.progress_bar_states.update, dict(hub_bars.progress_bar_states))
    stack.callback(hub_bars.progress_bar_states.clear)
    if transformers_logging.is_progress_bar_enabled():
        stack.callback(transformers_logging.enable_progress_bar)
    else:
        stack.callback(transformers_logging.disable_progress_bar)


def _signals(stack: ExitStack) -> None:
    if threading.current_thread() is not threading.main_thread():
        return  # only the main thread may set any

    def restore(number: int, handler: Any) -> None:
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)

    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        # None: set by other means than Python, and cannot be set again.
        if (handler := signal.getsignal(number)) is not None:
            stack.callback(restore, number, handler)


def _random(stack: ExitStack) -> None:
    stack.callback(random.setstate, random.getstate())
    stack.callback(np.random.set_state, np.random.get_state())
    stack.callback(torch.set_rng_state, torch.get_rng_state())
    if torch.cuda.is_initialized():
        stack.callback(torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all())


def _torch(stack: ExitStack) -> None:
    """Has the switches that decide numbers as PyTorch has them, too."""
    stack.callback(torch.set_default_dtype, torch.get_default_dtype())
    threads, cudnn = torch.get_num_threads(), torch.backends.cudnn

    def restore_threads() -> None:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)

    stack.callback(restore_threads)
    for name in ("enabled", "benchmark", "deterministic"):
        stack.callback(setattr, cudnn, name, getattr(cudnn, name))
    stack.callback(
        torch.use_deterministic_algorithms,
        torch.are_deterministic_algorithms_enabled(),
        warn_only=torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    stack.enter_context(torch.inference_mode(False))
    stack.enter_context(torch.enable_grad())
    for kind in ("cpu", "cuda"):
        if torch.is_autocast_enabled(kind):
            stack.enter_context(torch.autocast(kind, enabled=False))
    if torch.get_default_device().type != "cpu":
        stack.enter_context(torch.device("cpu"))
    torch.set_default_dtype(torch.float32)
