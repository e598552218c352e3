"""How wide a call is: a lone request is answered soonest by all threads, many requests by a thread each.

Threads that share a call wait for the slowest of them behind every operator: each time one of them loses its core, to
the side that reads requests or to a neighbour, all stand still. Calls of one thread each do not wait for one another,
and finish more together.

So a *wide* call has all threads and runs alone; *narrow* calls have one thread each and run side by side. A request
that finds a bundle idle is asked wide. What gathers while it runs is shared out among narrow calls, where that is
enough to keep the cores busy, and so is what comes while those run. Once all is idle again, the next lone request is
asked wide.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Turn:
    """A call that may begin.

    Attributes:
        model: Who is asked.
        share: Inputs of those waiting that it should take, so that as many are left for the other calls.
        alone: Whether no other call may run beside it.
    """

    model: Any
    share: int
    alone: bool = False


class Widths:
    """Says whether a further call may begin, and how wide. Whoever asks holds a lock.

    Args:
        wide: The model with all threads.
        narrow: The same with one thread; None where it would gain nothing: then all calls are asked wide.
        calls: Calls at a time: of the narrow model where there is one, else of the wide one.
        narrow_from: Requests that must wait before narrow calls begin, at least 2: fewer leave too many cores idle.
    """

    def __init__(self, wide: Any, narrow: Any = None, *, calls: int = 1, narrow_from: int = 2) -> None:
        self.calls = calls
        self._narrow_from = narrow_from
        self._wide = wide
        self._narrow = narrow
        self._running = 0
        self._alone = False

    @property
    def free(self) -> bool:
        """Whether a call may begin."""
        return self._running < self.calls and not self._alone

    def begin(self, requests: int, inputs: int) -> Turn:
        """Begin a call.

        Args:
            requests: That wait, at least 1.
            inputs: That those have in all, at least 1.
        """
        if self._narrow is None:
            turn = Turn(self._wide, inputs)
        elif not self._running and requests < self._narrow_from:
            turn = Turn(self._wide, inputs, alone=True)
        else:
            turn = Turn(self._narrow, -(-inputs // (self.calls - self._running)))
        self._running += 1
        self._alone = turn.alone
        return turn

    def end(self, turn: Turn) -> None:
        """A call that was begun has ended."""
        self._running -= 1
        if turn.alone:
            self._alone = False
