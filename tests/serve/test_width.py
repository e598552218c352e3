"""A lone request has all threads; many have one each, side by side; and no answer says which way it was asked."""

import asyncio
import threading
import time

import pytest

from edgekit.errors import InputError
from edgekit.serve.failures import RefusedError
from edgekit.serve.lane import Lane
from edgekit.serve.width import Widths

from .services import eventually

WIDE, NARROW = "wide", "narrow"


def begun(widths, *waiting):
    """Calls that begin, given (requests, inputs) that wait each time: model and share."""
    turns = [widths.begin(*one) for one in waiting]
    return turns, [(turn.model, turn.share) for turn in turns]


def test_a_lone_request_is_asked_wide_and_alone():
    widths = Widths(WIDE, NARROW, calls=2)
    assert widths.free
    (turn,), found = begun(widths, (1, 3))
    assert found == [(WIDE, 3)]
    assert not widths.free
    widths.end(turn)
    assert widths.free
    assert begun(widths, (1, 1))[1] == [(WIDE, 1)]


def test_what_waits_is_split_evenly_over_the_calls_that_may_begin():
    assert begun(Widths(WIDE, NARROW, calls=4), (9, 9), (6, 6), (4, 4), (2, 2))[1] == [
        (NARROW, 3),
        (NARROW, 2),
        (NARROW, 2),
        (NARROW, 2),
    ]
    widths = Widths(WIDE, NARROW, calls=2)
    begun(widths, (2, 2), (1, 1))
    assert not widths.free


def test_while_a_narrow_call_runs_even_a_lone_request_is_asked_narrow_and_afterwards_wide():
    widths = Widths(WIDE, NARROW, calls=2)
    turns, found = begun(widths, (2, 4), (1, 2))
    assert found == [(NARROW, 2), (NARROW, 2)]
    widths.end(turns[0])
    assert widths.free
    (third,), found = begun(widths, (1, 1))
    assert found == [(NARROW, 1)]
    widths.end(turns[1])
    widths.end(third)
    assert begun(widths, (1, 1))[1] == [(WIDE, 1)]


def test_where_few_wait_for_many_cores_they_share_a_wide_call():
    widths = Widths(WIDE, NARROW, calls=8, narrow_from=5)
    (turn,), found = begun(widths, (4, 4))
    assert found == [(WIDE, 4)]
    assert not widths.free
    widths.end(turn)
    assert begun(widths, (5, 5))[1] == [(NARROW, 1)]


def test_without_a_narrow_model_calls_are_wide_and_not_alone():
    widths = Widths(WIDE, calls=2)
    turns, found = begun(widths, (5, 7), (1, 1))
    assert found == [(WIDE, 7), (WIDE, 1)]
    assert not widths.free
    widths.end(turns[0])
    assert widths.free


class Gated:
    """Squares of numbers; every call waits until it is let go.

    Attributes:
        calls: (model, inputs) of those that began.
    """

    def __init__(self):
        self.calls = []
        self._gates = []
        self._lock = threading.Lock()

    def __call__(self, model, items, options, batch):
        gate = threading.Event()
        with self._lock:
            self.calls.append((model, list(items)))
            self._gates.append(gate)
        assert gate.wait(60)
        if any(item < 0 for item in items):
            raise InputError("negative")
        return [item * item for item in items]

    def let_go(self, *numbers):
        for number in numbers:
            self._gates[number].set()

    async def begin(self, count):
        """Wait until so many calls have begun."""
        while len(self.calls) < count:
            await asyncio.sleep(0.001)


def play(scene, *, calls=2, max_batch=16, queue_s=60, wait_s=0.0, clock=time.monotonic):
    """Run a scene with a lane that has a wide and a narrow model."""
    lane = Lane(
        "scene",
        Widths(WIDE, NARROW, calls=calls),
        max_batch=max_batch,
        wait_s=wait_s,
        queue_s=queue_s,
        watch=lambda inputs, seconds: None,
        clock=clock,
    )
    gated = Gated()
    try:
        asyncio.run(scene(lane, gated))
    finally:
        for number in range(len(gated.calls)):
            gated.let_go(number)
        lane.close()


async def ask(lane, gated, *numbers, key="a"):
    """Requests of a number each, all of which wait or are worked on."""
    waiting = lane.waiting
    tasks = [asyncio.create_task(lane.ask(gated, [number], {}, key=key)) for number in numbers]
    while lane.waiting < waiting + len(tasks):
        await asyncio.sleep(0.001)
    return tasks


async def first(lane, gated):
    """A lone request whose call has begun."""
    task = asyncio.create_task(lane.ask(gated, [1], {}, key="a"))
    await gated.begin(1)
    return task


def test_what_gathers_behind_a_wide_call_is_shared_out_among_narrow_ones():
    async def scene(lane, gated):
        alone = await first(lane, gated)
        others = await ask(lane, gated, 2, 3, 4)
        await asyncio.sleep(0.05)
        assert gated.calls == [(WIDE, [1])]  # nobody beside it
        gated.let_go(0)
        await gated.begin(3)
        assert sorted(gated.calls[1:]) == [(NARROW, [2, 3]), (NARROW, [4])]
        late = await ask(lane, gated, 5, 6)
        gated.let_go(1)  # the other one still runs
        await gated.begin(4)
        assert gated.calls[3] == (NARROW, [5, 6])
        gated.let_go(2, 3)
        assert await asyncio.gather(alone, *others, *late) == [[1], [4], [9], [16], [25], [36]]
        again = asyncio.create_task(lane.ask(gated, [7], {}, key="a"))
        await gated.begin(5)
        assert gated.calls[4] == (WIDE, [7])
        gated.let_go(4)
        assert await again == [49]

    play(scene)


def test_a_narrow_call_has_no_more_inputs_than_a_batch():
    async def scene(lane, gated):
        await first(lane, gated)
        others = await ask(lane, gated, *range(10, 20))
        gated.let_go(0)
        await gated.begin(3)
        assert [len(items) for _, items in gated.calls[1:]] == [3, 3]
        gated.let_go(1)
        await gated.begin(4)
        assert len(gated.calls[3][1]) == 3
        gated.let_go(2, 3)
        await gated.begin(5)
        gated.let_go(4)
        assert await asyncio.gather(*others) == [[number * number] for number in range(10, 20)]

    play(scene, max_batch=3)


def test_without_a_gain_of_batches_each_narrow_call_is_a_request():
    async def scene(lane, gated):
        await first(lane, gated)
        others = await ask(lane, gated, 2, 3, 4)
        gated.let_go(0)
        await gated.begin(3)
        assert [len(items) for _, items in gated.calls[1:]] == [1, 1]
        gated.let_go(1, 2)
        await gated.begin(4)
        gated.let_go(3)
        assert await asyncio.gather(*others) == [[4], [9], [16]]

    play(scene, max_batch=1)


def test_narrow_calls_share_only_what_asks_the_same():
    async def scene(lane, gated):
        await first(lane, gated)
        some, others = await ask(lane, gated, 2, 3, key="a"), await ask(lane, gated, 4, 5, key="b")
        gated.let_go(0)
        await gated.begin(3)
        assert sorted(gated.calls[1:]) == [(NARROW, [2, 3]), (NARROW, [4, 5])]
        gated.let_go(1, 2)
        assert await asyncio.gather(*some, *others) == [[4], [9], [16], [25]]

    play(scene)


def test_a_call_that_is_held_open_for_others_takes_all_that_may_share_it():
    async def scene(lane, gated):
        tasks = []
        for number in (1, 2, 3):
            tasks.append(asyncio.create_task(lane.ask(gated, [number], {}, key="a")))
            await asyncio.sleep(0)
            while lane.waiting:  # until it has been taken
                await asyncio.sleep(0.001)
        await gated.begin(1)
        assert gated.calls == [(WIDE, [1, 2, 3])]
        gated.let_go(0)
        assert await asyncio.gather(*tasks) == [[1], [4], [9]]

    play(scene, max_batch=3, wait_s=60)


def test_an_error_in_a_narrow_call_is_only_its_own_requests():
    async def scene(lane, gated):
        await first(lane, gated)
        others = await ask(lane, gated, -2, 3, 4, 5)
        gated.let_go(0)
        await gated.begin(3)
        assert (NARROW, [-2, 3]) in gated.calls
        gated.let_go(1, 2)
        await gated.begin(4)  # both of the failing call are asked by themselves
        assert gated.calls[3] == (NARROW, [-2])
        gated.let_go(3)
        await gated.begin(5)
        assert gated.calls[4] == (NARROW, [3])
        gated.let_go(4)
        found = await asyncio.gather(*others, return_exceptions=True)
        assert isinstance(found[0], InputError)
        assert found[1:] == [[9], [16], [25]]
        again = asyncio.create_task(lane.ask(gated, [6], {}, key="a"))
        await gated.begin(6)
        assert gated.calls[5] == (WIDE, [6])  # the failed call has ended too
        gated.let_go(5)
        assert await again == [36]

    play(scene)


def test_a_request_whose_turn_does_not_come_in_time_is_refused_and_the_next_one_is_answered():
    now = [0.0]

    async def scene(lane, gated):
        alone = await first(lane, gated)
        late = await ask(lane, gated, 2, 3, 4)
        now[0] = 30.0
        others = await ask(lane, gated, 5)
        now[0] = 50.0
        gated.let_go(0)
        found = await asyncio.gather(*late, return_exceptions=True)
        assert [type(error) for error in found] == [RefusedError] * 3
        await gated.begin(2)
        gated.let_go(1)
        assert await asyncio.gather(alone, *others) == [[1], [25]]
        assert [items for _, items in gated.calls] == [[1], [5]]

    play(scene, queue_s=40, clock=lambda: now[0])


@pytest.mark.parametrize("waiting", [0, 3])
def test_closing_ends_all_threads_and_what_waits_is_not_asked(waiting):
    async def scene(lane, gated):
        alone = await first(lane, gated)
        others = await ask(lane, gated, *range(2, 2 + waiting))
        assert len(own_threads()) == 3
        closing = asyncio.get_running_loop().run_in_executor(None, lane.close)
        while lane.alive:
            await asyncio.sleep(0.001)
        gated.let_go(0)
        assert await alone == [1]
        await closing
        assert not own_threads()
        assert gated.calls == [(WIDE, [1])]
        with pytest.raises(RefusedError):
            await lane.ask(gated, [9], {}, key="a")
        for task in others:
            task.cancel()

    play(scene, calls=3)
    eventually(lambda: not own_threads())


def own_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("edgekit-scene-")]
