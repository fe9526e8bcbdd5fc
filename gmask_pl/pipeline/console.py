"""What the commands show of the messages that the library logs."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class Console(logging.Handler):
    """Prints messages, and warnings as such on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.levelno >= logging.WARNING:
            print(f"warning: {text}", file=sys.stderr)
        else:
            print(text)


@contextmanager
def shown() -> Iterator[None]:
    """Within it, messages of the project are shown, and by nobody else."""
    log = logging.getLogger("gmask_pl")
    if any(isinstance(handler, Console) for handler in log.handlers):
        yield
        return
    before, console = (log.level, log.propagate), Console()
    log.addHandler(console)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(console)
        log.level, log.propagate = before
