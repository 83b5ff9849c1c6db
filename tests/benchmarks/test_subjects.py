"""What is timed computes with the network's weights, at the network's shapes."""

import torch
from tiny_benchmark import CPU, TINY
from torch import nn

from benchmarks import comparisons, measuring, subjects, weights


def test_the_whole_network_is_told_of_training_and_evaluation(ours):
    subject = ours["bpsta"].make(comparisons.build(TINY))
    assert subject.train().network.training
    assert not subject.eval().network.training
    assert len(list(subject.parameters())) == len(list(subject.layers.parameters()))


def test_the_convolutions_alone_see_the_shapes_that_the_network_sees():
    network = comparisons.build(TINY)
    alone = subjects.Convolutions(network)
    for kind, first in (("static", 3), ("varying", 9)):
        alone.prepare(comparisons.draw(TINY, 3, 3, varying=kind == "varying", device=CPU))
        assert [tuple(inputs.shape) for inputs, _ in alone.data] == [(first, 2, 8, 8), (9, 4, 4, 4), (9, 5)]
        assert [tuple(grad.shape) for _, grad in alone.data] == [(first, 4, 8, 8), (9, 5, 4, 4), (9, 6)]
    assert [inputs.requires_grad for inputs, _ in alone.data] == [False, True, True]


def test_folding_the_twins_norms_changes_no_vote():
    twin = subjects.Twin(comparisons.build(TINY).eval()).eval()
    x = twin.prepare(torch.rand(2, 3, *TINY.shape))
    weights.follow_only_this(comparisons.build(TINY), x)
    expected = twin(x)
    folded = measuring.folded(twin)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in folded.modules())
    torch.testing.assert_close(folded(x), expected)
