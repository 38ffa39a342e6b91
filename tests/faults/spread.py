"""Work that is worth more than one core: many small runs that know nothing of each other, in processes of their own."""

from __future__ import annotations

import logging
import multiprocessing
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
Submit = Callable[..., "Future[T]"]


@contextmanager
def workers() -> Iterator[ProcessPoolExecutor]:
    """A pool with a process for each core. Its processes are new ones, not copies of this: pytest has threads."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context, initializer=_begin) as pool:
        yield pool


def _begin() -> None:
    """Makes a process as strict as pytest's own, and quiet: lost sessions are its daily work."""
    warnings.simplefilter("error")
    logging.disable(logging.CRITICAL)


def slices(items: Sequence[T], *, size: int) -> list[Sequence[T]]:
    """Returns the items in parts of about a size, each part from all over: what is slow is often next to its like."""
    parts = max(1, len(items) // size)
    return [items[start::parts] for start in range(parts)]
