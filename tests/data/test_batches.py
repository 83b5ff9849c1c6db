import threading
import time

import numpy as np
import pytest
import torch

from bpsta_cli.data import batches
from bpsta_cli.data.batches import AHEAD, Batch, ahead, load
from bpsta_cli.data.store import Split
from bpsta_cli.errors import DataError

CPU = torch.device("cpu")


def threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("bpsta-data")]


def wait_until(true, seconds=5.0):
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.001)
    return true()


def test_everything_is_made_once_in_order_and_by_one_other_thread():
    makers = []

    def make(item):
        makers.append((item, threading.current_thread()))
        return item**2

    assert list(ahead(make, range(20))) == [item**2 for item in range(20)]
    assert [item for item, _ in makers] == list(range(20))
    assert {thread for _, thread in makers}.isdisjoint({threading.current_thread()})
    assert len({thread for _, thread in makers}) == 1


def test_nothing_to_make_is_no_error():
    assert list(ahead(lambda item: item, [])) == []


def test_the_next_are_made_while_the_first_is_used_and_no_more_than_agreed():
    made = []
    stream = ahead(lambda item: made.append(item) or item, range(50))
    next(stream)
    assert wait_until(lambda: len(made) == 1 + AHEAD)
    time.sleep(0.02)
    assert made == list(range(1 + AHEAD))
    stream.close()


def test_what_is_raised_there_is_raised_here_in_its_turn_and_as_it_was():
    def make(item):
        if item == 3:
            raise DataError("a torn page", expected="8 bytes", got="7", todo="Prepare it again.")
        return item

    seen = []
    with pytest.raises(DataError, match="a torn page") as caught:
        seen.extend(ahead(make, range(10)))
    assert seen == [0, 1, 2]
    assert any(entry.name == "make" for entry in caught.traceback)
    assert not threads()


def close(stream):
    stream.close()


def interrupt(stream):
    with pytest.raises(KeyboardInterrupt):
        stream.throw(KeyboardInterrupt)


@pytest.mark.parametrize("end", [close, interrupt], ids=["closed", "interrupted"])
def test_the_thread_ends_with_the_stream_and_what_waits_is_never_made(end):
    made = []
    stream = ahead(lambda item: time.sleep(0.2 * (item > 0)) or made.append(item), range(100))
    next(stream)
    assert threads()
    end(stream)
    assert not threads()
    assert made in ([0], [0, 1])


def test_the_thread_ends_with_a_stream_that_is_forgotten():
    stream = ahead(lambda item: item, range(100))
    next(stream)
    del stream
    assert wait_until(lambda: not threads())


@pytest.mark.parametrize("inline", [{"cpu"}, set()], ids=["inline", "thread"])
def test_batches_are_the_samples_that_were_named_as_stored_and_changed(monkeypatch, inline):
    monkeypatch.setattr(batches, "INLINE", inline)
    part = Split(np.arange(24, dtype=np.uint8).reshape(12, 1, 1, 2), np.arange(12))
    rows = [np.array([1, 4, 7]), np.array([0, 11])]
    seen = list(load(part, rows, lambda x, chosen: x + chosen[:, None, None, None].astype(np.uint8), device=CPU))
    assert [batch.y.tolist() for batch in seen] == [[1, 4, 7], [0, 11]]
    assert [batch.x[:, 0, 0].tolist() for batch in seen] == [[[3, 4], [12, 13], [21, 22]], [[0, 1], [33, 34]]]
    assert {batch.x.dtype for batch in seen} == {torch.uint8}


def test_a_batch_is_not_a_view_of_the_map_it_was_read_from(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(8, dtype=np.uint16).reshape(4, 1, 1, 2))
    part = Split(np.load(tmp_path / "x.npy", mmap_mode="r"), np.arange(4))
    (batch,) = load(part, [np.arange(4)], lambda x, _: x, device=CPU)
    batch.x.zero_()
    assert part.x.sum() == 28


@pytest.mark.parametrize(("count", "sizes"), [(1, [7]), (2, [4, 3]), (3, [3, 2, 2]), (7, [1] * 7), (9, [1] * 7)])
def test_parts_hold_each_sample_once_and_none_is_empty(count, sizes):
    batch = Batch(torch.arange(14).view(7, 2), torch.arange(7), 10 + torch.arange(7))
    parts = batch.parts(count)
    assert [len(part.y) for part in parts] == sizes
    assert torch.cat([part.x for part in parts]).equal(batch.x)
    assert torch.cat([part.y for part in parts]).equal(batch.y)
    assert torch.cat([part.rows for part in parts]).equal(batch.rows)
