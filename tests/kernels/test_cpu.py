"""The fused CPU backend is held to the reference: the same bits in the spikes, and in the gradients of every rule
that takes no exponential."""

import itertools
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from bpsta_cli import kernels, rules, surrogates
from bpsta_cli.errors import SettingsError
from bpsta_cli.kernels import dispatch, layouts
from bpsta_cli.kernels.cpu import library
from bpsta_cli.network.neurons import LIF

CHOICE = dispatch.choose()
needs_kernel = pytest.mark.skipif(CHOICE.name != "cpu", reason=CHOICE.why)
EPS = torch.finfo(torch.float32).eps
FUSES = torch.add(torch.tensor(-1 - 2 * EPS), torch.tensor(1 + EPS), alpha=1 + EPS).item() == EPS**2
needs_fusing_torch = pytest.mark.skipif(
    CHOICE.name != "cpu" or not FUSES, reason="torch's own decay * v + x is rounded twice here, the kernel's once"
)

STBP = [
    rules.STBP(curve, 0.3 if detach else 1.0, detach)
    for curve, detach in itertools.product(surrogates.SURROGATES, (False, True))
]
RULES = [rules.BPSA(), rules.BPSTA(), *STBP]
SIZES = [*itertools.product((1, 2, 7), (1, 63, 500, 4097)), (16, 1), (16, 4097)]
DTYPES = [torch.float32, torch.float64]


def run(backend, x, g, rule, threshold=0.5, decay=0.9):
    leaf = x.detach().requires_grad_()  # detach keeps the strides, which clone would not
    spikes = kernels.lif(leaf, threshold=threshold, decay=decay, rule=rule, backend=backend)
    (gradient,) = torch.autograd.grad(spikes, leaf, g)
    return spikes.detach(), gradient


def assert_equal_to_reference(x, g, rule, **constants):
    spikes, gradient = run("cpu", x, g, rule, **constants)
    expected_spikes, expected = run("reference", x, g, rule, **constants)
    torch.testing.assert_close(spikes, expected_spikes, rtol=0, atol=0)
    exact = getattr(rule, "surrogate", "") not in ("sigmoid", "gaussian")
    # two ways to take e^x differ in the last bit or two, and the steps add up
    largest = expected[expected.isfinite()].abs().max().item() if expected.isfinite().any() else 0
    tolerance = 0 if exact else 8 * torch.finfo(x.dtype).eps * largest
    torch.testing.assert_close(gradient, expected, rtol=0, atol=tolerance, equal_nan=True)
    return spikes, gradient


def randn(*shape, dtype=torch.float32, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def poisoned():
    """Fresh memory is filled with NaN, so that an element left unwritten shows."""
    was = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    assert torch.empty_strided((9,), (1,)).isnan().all()
    yield
    torch.use_deterministic_algorithms(was)


@needs_fusing_torch
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_spikes_and_gradients_equal_the_reference_at_odd_sizes(rule, dtype, poisoned):
    for seed, (steps, n) in enumerate(SIZES):
        x, g = randn(steps, n, dtype=dtype, seed=seed), randn(steps, n, dtype=dtype, seed=seed + 100)
        spikes, gradient = assert_equal_to_reference(x, g, rule)
        assert spikes.isfinite().all()
        assert gradient.isfinite().all()


@needs_fusing_torch
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("threshold", "decay"), [(0.3, 0.7), (1.0, 1.0), (0.1, 0.0)])
def test_other_constants_change_nothing_about_that(threshold, decay, dtype):
    x, g = randn(7, 500, dtype=dtype), randn(7, 500, dtype=dtype, seed=1)
    for rule in RULES:
        assert_equal_to_reference(x, g, rule, threshold=threshold, decay=decay)


@needs_fusing_torch
def test_more_steps_than_a_chunk_was_made_for():
    assert_equal_to_reference(randn(1000, 130), randn(1000, 130, seed=1), rules.BPSTA())


LAYOUTS = {
    "contiguous": lambda x: x,
    "channels last": lambda x: x.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3),
    "strided": lambda x: x.repeat_interleave(3, dim=-1)[..., 1::3],
    "padded rows": lambda x: torch.nn.functional.pad(x, (2, 5))[..., 2:-5],
    "every other step": lambda x: x.repeat_interleave(2, dim=0)[::2],
    "time last": lambda x: x.movedim(0, -1).contiguous().movedim(-1, 0),
    "batch first": lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
    "negated lazily": lambda x: torch._neg_view(-x),
}


@needs_fusing_torch
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_strides_of_the_input_and_of_its_error_change_nothing(layout, dtype, poisoned):
    x, g = randn(4, 3, 5, 6, 7, dtype=dtype), randn(4, 3, 5, 6, 7, dtype=dtype, seed=1)
    expected = run("reference", x, g, rules.BPSTA())
    for x_layout, g_layout in ((layout, layout), (layout, "contiguous"), ("contiguous", layout)):
        for result, wanted in zip(
            run("cpu", LAYOUTS[x_layout](x), LAYOUTS[g_layout](g), rules.BPSTA()), expected, strict=True
        ):
            assert torch.equal(result, wanted)


@needs_fusing_torch
def test_channels_last_comes_out_as_it_went_in():
    x = LAYOUTS["channels last"](randn(4, 3, 5, 6, 7))
    spikes, gradient = run("cpu", x, randn(4, 3, 5, 6, 7, seed=1), rules.BPSTA())
    assert spikes.stride() == gradient.stride() == x.stride()


@needs_fusing_torch
@pytest.mark.parametrize("layout", ["contiguous", "channels last", "strided"])
def test_an_input_constant_in_time_stays_one_step_of_memory(layout):
    x = LAYOUTS[layout](randn(1, 3, 5, 6, 7)).expand(6, 3, 5, 6, 7)
    assert layouts.dense_steps(x).stride(0) == 0
    g = randn(6, 3, 5, 6, 7, seed=1)
    for error in (g, g[:1].expand_as(g), torch.ones(()).expand_as(g)):
        assert_equal_to_reference(x, error, rules.BPSTA())
    one = x[:1].detach().clone().requires_grad_()
    kernels.lif(one.expand(6, 3, 5, 6, 7), backend="cpu").backward(g)
    torch.testing.assert_close(one.grad[0], run("reference", x, g, rules.BPSTA())[1].sum(0))


@needs_fusing_torch
@pytest.mark.parametrize("shape", [(2, 0), (1,), (5,), (3, 2, 1, 4, 5), (3, 1, 1)])
def test_any_number_of_axes_after_time_is_allowed(shape):
    x = randn(*shape)
    if x.numel():
        assert_equal_to_reference(x, torch.ones_like(x), rules.BPSTA())
    assert run("cpu", x, torch.ones_like(x), rules.BPSTA())[1].shape == shape


@needs_fusing_torch
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("threshold", [0.5, 0.1, 1 / 3])
def test_a_potential_exactly_at_the_threshold_fires_and_the_one_below_does_not(threshold, dtype):
    at = torch.full((1, 300), threshold, dtype=dtype)
    below = torch.nextafter(at, torch.zeros_like(at))
    above = torch.nextafter(at, torch.ones_like(at))
    for x, fires in ((at, 1), (below, 0), (above, 1)):
        for rule in RULES:
            spikes, _ = assert_equal_to_reference(x, torch.ones_like(x), rule, threshold=threshold)
            assert (spikes == fires).all()


@needs_fusing_torch
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_nan_infinity_and_extremes_come_out_as_in_the_reference(rule, dtype):
    nan, inf = float("nan"), float("inf")
    values = [nan, inf, -inf, 0.0, -0.0, 1e-45, -1e-38, 0.5, 12.0, -40.0, 95.0, 800.0, 1e10, -1e10, 1e30, -1e30]
    x = torch.tensor(list(itertools.product(values, repeat=3)), dtype=dtype).t().contiguous()
    g = randn(*x.shape, dtype=dtype)
    rounding = 8 * torch.finfo(dtype).eps
    for decay in (0.0, 0.9, 1.0):
        spikes, gradient = run("cpu", x, g, rule, decay=decay)
        expected_spikes, expected = run("reference", x, g, rule, decay=decay)
        assert (spikes[x.isnan()] == 0).all()
        assert torch.equal(spikes, expected_spikes)
        torch.testing.assert_close(gradient, expected, rtol=rounding, atol=rounding, equal_nan=True)


@needs_fusing_torch
@pytest.mark.parametrize("rule", [rules.BPSTA(), rules.STBP("gaussian")], ids=str)
def test_the_number_of_threads_changes_no_bit(rule):
    x, g = randn(5, 20_011), randn(5, 20_011, seed=1)
    results = []
    for number in (1, 2, 3):
        torch.set_num_threads(number)
        results.append(run("cpu", x, g, rule))
    for spikes, gradient in results[1:]:
        assert torch.equal(spikes, results[0][0])
        assert torch.equal(gradient, results[0][1])


@needs_fusing_torch
def test_the_input_alone_is_saved_and_nothing_without_gradient():
    saved = []

    def pack(tensor):
        saved.append(tensor)
        return tensor

    x = randn(4, 10).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        with torch.no_grad():
            assert not kernels.lif(x, backend="cpu").requires_grad
        assert not kernels.lif(x.detach(), backend="cpu").requires_grad
        assert saved == []
        assert kernels.lif(x, backend="cpu").requires_grad
    assert [tensor.data_ptr() for tensor in saved] == [x.data_ptr()]


@needs_fusing_torch
def test_an_input_changed_before_the_backward_is_told():
    x = randn(4, 10).requires_grad_()
    y = x * 1
    spikes = kernels.lif(y, backend="cpu")
    y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        spikes.sum().backward()


@needs_fusing_torch
@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_a_second_backward_and_a_second_derivative_are_refused(backend):
    x = randn(2, 3).requires_grad_()
    spikes = kernels.lif(x, backend=backend)
    spikes.sum().backward()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        spikes.sum().backward()
    (first,) = torch.autograd.grad(kernels.lif(x, backend=backend).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


# Which backend supports what


class Own(rules.BPSTA):
    """A rule that the kernel has never heard of."""

    name = "own"


@needs_kernel
def test_auto_takes_the_kernel_for_what_it_supports_and_says_why_not():
    for dtype, rule in itertools.product(DTYPES, RULES):
        assert dispatch.choose(dtype=dtype, rule=rule).name == "cpu"
    assert dispatch.choose(dtype=torch.bfloat16) == (
        "reference",
        "cpu does not support this: it has float32 and float64 and the input is bfloat16",
    )
    assert dispatch.choose(rule=Own()) == (
        "reference",
        "cpu does not support this: it knows the rules stbp, bpsa and bpsta, and not own",
    )
    assert library.unsupported_reason(torch.device("cuda:1"), torch.float32, None) == (
        "it runs on the CPU and the input is on cuda"
    )
    assert dispatch.choose("cpu") == ("cpu", "asked for by name")
    assert kernels.lif(randn(2, 3).half()).dtype == torch.float16


def test_a_kernel_asked_for_by_name_where_it_is_unsupported_is_refused_with_the_reason():
    with pytest.raises(SettingsError) as told:
        kernels.lif(randn(2, 3).bfloat16(), backend="cpu")
    assert str(told.value) == (
        'unusable backend "cpu": expected one that supports this input and rule here, got one that does not: it has '
        'float32 and float64 and the input is bfloat16. "auto" takes "reference" instead, with the same spikes.'
    )
    with pytest.raises(SettingsError, match="and not own"):
        LIF(Own(), backend="cpu")


# The build

UNOPTIMISED = tuple("-O0" if flag == "-O3" else flag for flag in library.FLAGS)  # quick to build
SPIKES = f"""
import torch
from bpsta_cli.kernels import dispatch, lif
from bpsta_cli.kernels.cpu import library
library.FLAGS = {UNOPTIMISED}
print(dispatch.choose(), lif(torch.ones(2)).tolist())
runtimes = {{line.split()[-1] for line in open("/proc/self/maps") if "omp" in line.split("/")[-1]}}
print("OpenMP runtimes:", len(runtimes))
"""


def in_a_process(cache, **environment):
    environment = {**os.environ, "BPSTA_CACHE": str(cache), **environment}
    done = subprocess.run([sys.executable, "-c", SPIKES], env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "[1.0, 1.0]\n" in done.stdout
    return done.stdout


@needs_kernel
def test_two_processes_that_build_at_once_leave_one_whole_library_that_shares_torchs_threads(tmp_path, monkeypatch):
    cache = tmp_path / "not there yet"
    with ThreadPoolExecutor(2) as both:
        for told in both.map(lambda _: in_a_process(cache), range(2)):
            assert "name='cpu'" in told
            assert "OpenMP runtimes: 1\n" in told  # its threads are torch's
    written = {file.name: file.stat().st_mtime_ns for file in cache.iterdir()}
    assert len(written) == 2  # the kernels, and what asks the processor for its instructions
    monkeypatch.setenv("BPSTA_CACHE", str(cache))
    monkeypatch.setattr(library, "FLAGS", UNOPTIMISED)
    library._loaded(library.SOURCES, (*UNOPTIMISED, *library.ISAS[library.isa()]))
    assert {file.name: file.stat().st_mtime_ns for file in cache.iterdir()} == written
    # what torch's own loops are told to use is nothing to the kernels
    assert "name='cpu'" in in_a_process(cache, ATEN_CPU_CAPABILITY="default")
    assert {file.name: file.stat().st_mtime_ns for file in cache.iterdir()} == written


@pytest.mark.parametrize(
    ("environment", "why"),
    [
        ({"PATH": ""}, "there is no compiler g++"),
        ({"BPSTA_CPU_ISA": "sse"}, "BPSTA_CPU_ISA is sse, none of avx2, avx512, wide-emulated"),
    ],
)
@needs_kernel
def test_without_compiler_or_vectors_the_reference_runs_and_the_choice_says_why(environment, why, tmp_path):
    told = in_a_process(tmp_path, **environment)
    assert f"Choice(name='reference', why='cpu does not support this: {why}')" in told


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BPSTA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(library, "FLAGS", UNOPTIMISED)
    library._library.cache_clear()
    library.isa.cache_clear()
    yield tmp_path
    library._library.cache_clear()
    library.isa.cache_clear()


@needs_kernel
def test_a_build_that_fails_is_told_in_one_line(empty_cache, monkeypatch):
    broken = empty_cache / "broken.cpp"
    broken.write_text("this is no C++\n")
    library.isa()
    monkeypatch.setattr(library, "SOURCES", (broken,))
    choice = dispatch.choose()
    assert choice.name == "reference"
    assert choice.why.startswith("cpu does not support this: the compiler failed: ")
    assert "\n" not in choice.why
    with pytest.raises(SettingsError, match="the compiler failed"):
        LIF(backend="cpu")
    assert LIF()(torch.ones(2, 1, 1)).flatten().tolist() == [1, 1]


def test_the_cache_is_where_the_user_keeps_caches(monkeypatch, tmp_path):
    for name in ("BPSTA_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert library.cache_folder() == tmp_path / ".cache" / "bpsta"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert library.cache_folder() == tmp_path / "caches" / "bpsta"
    monkeypatch.setenv("BPSTA_CACHE", str(tmp_path / "mine"))
    assert library.cache_folder() == tmp_path / "mine"
