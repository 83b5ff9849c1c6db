"""No operation whose bits depend on the machine is on the numeric path of training and evaluation on the CPU.

A sum's order, and exp, log, sin and even a square root, are torch's and its libraries' own choice, made by processor,
threads and version. Every kind of step is run here, and every operation that torch is asked for is looked at.
"""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bpsta_cli import kernels, rules
from bpsta_cli.config import TrainingSettings
from bpsta_cli.evaluation.accuracy import cumulative_votes
from bpsta_cli.evaluation.accuracy_over_time import margin
from bpsta_cli.evaluation.stepwise import Stepper, decide
from bpsta_cli.kernels import dispatch
from bpsta_cli.network import build, losses, resnet
from bpsta_cli.training import activation_checkpointing, optimisers
from bpsta_cli.training.monitor import monitoring

pytestmark = pytest.mark.skipif(dispatch.choose().name != "cpu", reason=dispatch.choose().why)

SUMS = "sum mean norm linalg_vector_norm var std var_mean std_mean cumsum prod cumprod logsumexp dot vdot trace nansum"
PRODUCTS = "mm addmm bmm baddbmm mv addmv addr linear matmul einsum convolution convolution_backward _convolution"
LAYERS = """native_batch_norm _native_batch_norm_legit native_batch_norm_backward batch_norm_backward native_layer_norm
    avg_pool2d avg_pool2d_backward _adaptive_avg_pool2d mse_loss mse_loss_backward _softmax _log_softmax
    _softmax_backward_data _log_softmax_backward_data nll_loss_forward nll_loss_backward"""
FUNCTIONS = "exp exp2 expm1 log log2 log10 log1p pow sqrt rsqrt sin cos tan tanh sigmoid erf erfinv logaddexp"
FUSED = "lerp addcmul addcdiv"
RANDOM = "uniform normal bernoulli rand randn randperm randint exponential native_dropout multinomial"
DENIED = {word for words in (SUMS, PRODUCTS, LAYERS, FUNCTIONS, FUSED, RANDOM) for word in words.split()}
"""Without the underscore at the end of those that write in place."""


class Observed(TorchDispatchMode):
    """The denied operations on floating values that were asked for while the context was open."""

    def __init__(self):
        super().__init__()
        self.found = set()

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        options = options or {}
        name = function.overloadpacket.__name__.removesuffix("_")
        tensors = [value for value in torch.utils._pytree.tree_leaves(arguments) if isinstance(value, torch.Tensor)]
        floating = name in RANDOM.split() or any(tensor.is_floating_point() for tensor in tensors)
        scaled = name in ("add", "sub") and options.get("alpha", 1) not in (1, -1)
        many = name.startswith(("_foreach", "_fused", "_amp_foreach"))
        if (name in DENIED and floating) or scaled or many:
            self.found.add(name)
        return function(*arguments, **options)


NETWORK = "6C3-MP2-5C3-AP4-20FC-DP-2Voting"
LABELS = torch.arange(4) % 3
VARYING = torch.rand(3, 4, 2, 8, 8)
CONSTANT = torch.rand(4, 2, 8, 8).expand(3, 4, 2, 8, 8)


class Own(rules.BPSTA):
    """A rule that the compiled kernels do not know."""


def step(network, x, *, loss="mse", recompute=False, smoothing=0.0, **settings):
    """A step of training with all that is noted and written down of it."""
    optimiser = optimisers.make(network.train(), TrainingSettings(**settings))
    network.dropout_samples(range(len(LABELS)))
    with monitoring(network) as monitor, network.dropout_by(seed=1, epoch=0), Observed() as observed:
        votes = activation_checkpointing.votes(network, x) if recompute else network.votes(x)
        value = losses.loss(loss, votes, LABELS, label_smoothing=smoothing) * 0.5
        value.backward()
        monitor.after_backward(kernels.sum_steps(torch.stack([value.detach()] * 2)), 4)
        monitor.read()
        optimisers.clip_gradients(network.parameters(), 1e-3)
        optimiser.step()
        cumulative_votes(votes.detach())
        monitor.firing_rates()
        monitor.gradient_norms()
    return observed.found


def network(structure=NETWORK, method="bpsta", **options):
    torch.manual_seed(1)
    return build(structure, (2, 8, 8), 3, method, **options)


@pytest.fixture(autouse=True)
def _narrow_residual_networks(monkeypatch):
    monkeypatch.setattr(resnet, "FILTERS", (8, 8, 16, 16))


def hooked():
    made = network()
    made.layers.norm1.register_forward_hook(lambda *_: None)
    return made


def warmed_up(**options):
    made = network(**options)
    for neurons in made.neurons().values():
        neurons.silent, neurons.spike_cost = rules.SilentGradient(), 0.01
    return made


KINDS = {
    "bpsta": (network, {}),
    "silent gradient": (warmed_up, {"idle_momentum": False, "norm_weight_decay": False}),
    "silent gradient, a rule of the user's own": (lambda: warmed_up(method=Own()), {}),
    "one-sided": (network, {"loss": "one-sided"}),
    "tet, smoothed": (network, {"loss": "tet", "smoothing": 0.1}),
    "cross-entropy": (network, {"loss": "cross-entropy"}),
    "recomputed": (network, {"recompute": True}),
    "twin": (lambda: network(method="ann"), {}),
    "stbp, sigmoid": (lambda: network(method="stbp", surrogate="sigmoid"), {}),
    "tdbn": (lambda: network(norm="tdbn"), {}),
    "per step": (lambda: network(norm="per-step"), {}),
    "per step, twin": (lambda: network(method="ann", norm="per-step"), {}),
    "no norm": (lambda: network(norm="none"), {}),
    "no norm, twin": (lambda: network(method="ann", norm="none"), {}),
    "a layer with a hook": (hooked, {}),
    "a rule of the user's own": (lambda: network(method=Own()), {}),
    "a curve of the user's own": (lambda: network(method=type("Mine", (rules.STBP,), {})("gaussian")), {}),
    "residual": (lambda: network("resnet18"), {}),
    "residual twin": (lambda: network("resnet18", "ann"), {}),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("x", [VARYING, CONSTANT], ids=["varying", "constant"])
def test_no_operation_of_a_training_step_has_bits_of_the_machines_choice(kind, x):
    make, options = KINDS[kind]
    assert step(make(), x, **options) == set()


@pytest.mark.parametrize("method", ["bpsta", "ann"])
def test_no_operation_of_an_evaluation_has_bits_of_the_machines_choice(method):
    made = network(method=method).eval()
    with torch.no_grad(), Observed() as observed:
        votes = made.votes(CONSTANT)
        losses.loss("mse", votes, LABELS).item()
        sums = cumulative_votes(votes)
        margin(sums, torch.arange(1, len(sums) + 1).view(-1, 1))
        if method != "ann":
            decide(Stepper(made), CONSTANT, confidence=0.5)
    assert observed.found == set()


def test_what_is_denied_is_seen():
    x = torch.ones(3)
    with Observed() as observed:
        x.sum()
        torch.add(x, x, alpha=0.3)
        x.sqrt_()
        torch.ones(3, dtype=torch.int64).sum()
    assert observed.found == {"sum", "add", "sqrt"}
