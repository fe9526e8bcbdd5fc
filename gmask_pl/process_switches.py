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
        for kept in (_environment, _logs, _bars, _signals, _random, _torch):
            stack.enter_context(kept())
        yield


@contextmanager
def _environment() -> Iterator[None]:
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update({k: v for k, v in before.items() if os.environ.get(k) != v})


@contextmanager
def _logs() -> Iterator[None]:
    def loggers() -> dict[str, logging.Logger]:
        known = dict(logging.root.manager.loggerDict)
        return {name: log for name, log in known.items() if isinstance(log, logging.Logger)}

    root, least = logging.root.level, logging.root.manager.disable
    before = {name: (log.level, log.disabled) for name, log in loggers().items()}
    try:
        yield
    finally:
        logging.root.setLevel(root)
        logging.disable(least)
        for name, log in loggers().items():
            if name in before:
                level, log.disabled = before[name]
                log.setLevel(level)


@contextmanager
def _bars() -> Iterator[None]:
    shown = transformers_logging.is_progress_bar_enabled()
    of_hub = dict(hub_bars.progress_bar_states)
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
        else:
            transformers_logging.disable_progress_bar()
        hub_bars.progress_bar_states.clear()
        hub_bars.progress_bar_states.update(of_hub)


@contextmanager
def _signals() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set any
        return
    settable = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
    before = {number: signal.getsignal(number) for number in settable}
    try:
        yield
    finally:
        for number, handler in before.items():
            # None: set by other means than Python, and cannot be set again.
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)


@contextmanager
def _random() -> Iterator[None]:
    own, of_numpy, of_torch = random.getstate(), np.random.get_state(), torch.get_rng_state()
    on_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    try:
        yield
    finally:
        random.setstate(own)
        np.random.set_state(of_numpy)
        torch.set_rng_state(of_torch)
        if on_gpus is not None:
            torch.cuda.set_rng_state_all(on_gpus)


@contextmanager
def _torch() -> Iterator[None]:
    cudnn = torch.backends.cudnn
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    of_cudnn = (cudnn.enabled, cudnn.benchmark, cudnn.deterministic)
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    try:
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.enable_grad())
            for kind in ("cpu", "cuda"):
                if torch.is_autocast_enabled(kind):
                    stack.enter_context(torch.autocast(kind, enabled=False))
            if torch.get_default_device().type != "cpu":
                stack.enter_context(torch.device("cpu"))
            torch.set_default_dtype(torch.float32)
            yield
    finally:
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        cudnn.enabled, cudnn.benchmark, cudnn.deterministic = of_cudnn
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)
