"""`benchmarks.scale` and its model: what they count. What they time is a machine's."""

import pytest

from benchmarks import scale, scale_model
from bpsta_cli.kernels import dispatch


@pytest.mark.skipif(dispatch.choose().name != "cpu", reason=dispatch.choose().why)
def test_a_turn_of_two_processes_counts_what_they_exchange_and_share(tmp_path, monkeypatch):
    monkeypatch.setattr(scale, "IMAGES", 160)
    scale._write_store(tmp_path / "store")
    alone, two = (scale._turn(world, "4C3-AP8-2Voting", tmp_path, 1, "shares") for world in (1, 2))
    assert (alone["sent"], alone["calls"], alone["share"]) == (0, 0, 0)
    assert two["calls"] == 3 + 4  # a norm's three; votes, gradients in two, the monitor
    assert two["sent"] > 0
    assert 0 < two["share"] < 1
    assert two["store_pss"] < alone["store_pss"] <= alone["store_rss"]


def test_the_model_sends_nothing_from_one_gpu_and_twice_the_gradients_at_most():
    assert scale_model.exchange_seconds(1e6, 4, 1) == (0, 0)
    assert scale_model.sent(100, 2) == 100
    assert scale_model.sent(100, 256) < 200
    assert scale_model.sent_as_shares(100, 12) == scale_model.sent(100, 12)
    rows = [line for line in scale_model.lines() if line.startswith("| resnet34")]
    assert len(rows) == len(scale_model.GPUS)
