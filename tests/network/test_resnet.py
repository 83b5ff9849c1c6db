"""The spiking residual network: its size, shapes and gradients, and its twin against another implementation."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import resnet34

from bpsta_cli.data.store import Split
from bpsta_cli.energy import account
from bpsta_cli.errors import StructureError
from bpsta_cli.evaluation.accuracy import counting_spikes
from bpsta_cli.network import builder, losses
from bpsta_cli.training.monitor import monitoring

CLASSES = 10
CPU = torch.device("cpu")


def build(method="bpsta", input_shape=(3, 8, 8), structure="resnet34", **settings):
    torch.manual_seed(0)
    return builder.build(structure, input_shape, CLASSES, method, **settings)


def randomise_norms(network):
    """Statistics and weights as training might leave them, so that nothing is tested at 0 or 1."""
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, 0.3, 0.2)
            nn.init.normal_(layer.running_mean, 0, 0.2)
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
    return network


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Tensors this small take far longer when threads wait for each other on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def network():
    return randomise_norms(build(input_shape=(3, 16, 16))).eval()


def output_shapes(network, x):
    """Shape of the output of every direct layer, by name."""
    shapes = {}
    handles = [
        layer.register_forward_hook(lambda _m, _i, y, name=name: shapes.update({name: tuple(y.shape)}))
        for name, layer in network.layers.named_children()
    ]
    with torch.no_grad():
        network(x)
    for handle in handles:
        handle.remove()
    return shapes


def plain_resnet34():
    """torchvision's network with the stem for small images and 10 outputs a class."""
    plain = resnet34(num_classes=10 * CLASSES)
    plain.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    plain.maxpool = nn.Identity()
    return plain


def plain_name(name):
    """The name that torchvision gives to one of this network's tensors."""
    stage, *rest = name.removeprefix("layers.").split(".")
    if stage == "stem":
        return ".".join([{"conv": "conv1", "norm": "bn1"}[rest[0]], *rest[1:]])
    if stage == "output":
        return ".".join(["fc", *rest[1:]])
    block, layer, *rest = rest
    if layer == "shortcut":
        layer, rest = "downsample", [{"conv": "0", "norm": "1"}[rest[0]], *rest[1:]]
    return ".".join([stage.replace("stage", "layer"), str(int(block[5:]) - 1), layer.replace("norm", "bn"), *rest])


def test_the_number_of_parameters_is_the_hand_worked_one(network):
    def block(channels, filters):
        norms = 2 * 2 * filters
        shortcut = channels * filters + 2 * filters if channels != filters else 0
        return 9 * channels * filters + 9 * filters * filters + norms + shortcut

    stem = 3 * 9 * 64 + 2 * 64
    stages = [
        3 * block(64, 64),
        block(64, 128) + 3 * block(128, 128),
        block(128, 256) + 5 * block(256, 256),
        block(256, 512) + 2 * block(512, 512),
    ]
    output = 512 * 100 + 100
    count = sum(p.numel() for p in network.parameters())
    assert count == stem + sum(stages) + output == 21_328_292


def test_the_number_of_parameters_is_torchvisions_but_for_stem_and_output(network):
    published = sum(p.numel() for p in resnet34().parameters())  # 7x7 stem, 1000 classes
    stem, output = 3 * 64 * (3 * 3 - 7 * 7), (512 + 1) * (10 * CLASSES - 1000)
    assert sum(p.numel() for p in network.parameters()) == published + stem + output


def test_thirty_four_layers_with_weights_and_three_shortcuts(network):
    names = list(network.synapses())
    assert len([name for name in names if "shortcut" not in name]) == 34
    assert [name for name in names if "shortcut" in name] == [f"stage{n}.block1.shortcut.conv" for n in (2, 3, 4)]
    assert names[:3] == ["stem.conv", "stage1.block1.conv1", "stage1.block1.conv2"]
    assert len(network.neurons()) == 34
    assert list(network.neurons())[-2:] == ["stage4.block3.lif2", "output.lif"]


def test_resnet18_has_eighteen():
    synapses = build(structure="resnet18").synapses()
    assert len([name for name in synapses if "shortcut" not in name]) == 18


def test_a_32_by_32_image_is_halved_at_stages_2_to_4():
    shapes = output_shapes(build(input_shape=(3, 32, 32)).eval(), torch.rand(1, 1, 3, 32, 32))
    assert shapes == {
        "stem": (1, 1, 64, 32, 32),
        "stage1": (1, 1, 64, 32, 32),
        "stage2": (1, 1, 128, 16, 16),
        "stage3": (1, 1, 256, 8, 8),
        "stage4": (1, 1, 512, 4, 4),
        "pool": (1, 1, 512, 1, 1),
        "flatten": (1, 1, 512),
        "output": (1, 1, CLASSES),
    }


def test_odd_and_oblong_images_are_halved_upwards():
    shapes = output_shapes(build(input_shape=(2, 9, 3)).eval(), torch.rand(1, 1, 2, 9, 3))
    assert [shapes[f"stage{n}"][3:] for n in (1, 2, 3, 4)] == [(9, 3), (5, 2), (3, 1), (2, 1)]
    assert shapes["pool"] == (1, 1, 512, 1, 1)


def test_outputs_are_mean_votes_and_every_convolution_but_the_first_sees_spikes(network):
    seen = {}
    handles = [
        layer.register_forward_hook(lambda _m, inputs, _y, name=name: seen.update({name: inputs[0]}))
        for name, layer in network.synapses().items()
    ]
    with torch.no_grad():
        y = network(torch.rand(4, 2, 3, 16, 16))
    for handle in handles:
        handle.remove()
    assert y.shape == (2, CLASSES)
    assert ((y >= 0) & (y <= 1)).all()
    not_spikes = [name for name, x in seen.items() if not ((x == 0) | (x == 1)).all()]
    assert not_spikes == ["stem.conv", "output.linear"]  # pixels; means of spikes over the image


def test_a_residual_block_adds_its_input_spikes_before_its_last_neurons(network):
    # With the second norm's weight and bias 0 the residual branch is 0: what is left is the shortcut, whose
    # spikes of 1 are above the threshold in every step, so the residual block passes on exactly its input.
    block = build(structure="resnet18").layers.stage1.block2.eval()
    nn.init.zeros_(block.norm2.weight)
    spikes = torch.randint(0, 2, (3, 2, 64, 4, 4)).float()
    with torch.no_grad():
        assert torch.equal(block(spikes), spikes)


@pytest.mark.parametrize("norm", ["per-step", "folded", "tdbn", "none"])
def test_every_normalisation_builds(norm):
    with torch.no_grad():
        assert build(structure="resnet18", norm=norm)(torch.rand(2, 2, 3, 8, 8)).isfinite().all()


@pytest.mark.parametrize("method", ["stbp", "bpsa", "bpsta"])
def test_every_parameter_gets_a_finite_gradient(method):
    network = build(method)
    with monitoring(network) as monitor:
        votes = network.votes(torch.rand(2, 2, 3, 8, 8))
        loss = losses.loss("mse", votes, torch.tensor([1, 7]))
        loss.backward()
        monitor.after_backward(loss.detach(), 2)
        monitor.read()  # refuses what is not finite
    gradients = {name: p.grad for name, p in network.named_parameters()}
    assert [name for name, g in gradients.items() if g is None or not g.isfinite().all()] == []
    assert gradients["layers.stem.conv.weight"].abs().sum() > 0  # the error reaches the first layer
    assert list(monitor.firing_rates()) == list(network.neurons())
    assert list(monitor.gradient_norms()) == list(network.synapses())


def test_the_twin_equals_torchvisions_resnet34_with_the_same_weights():
    twin = randomise_norms(build("ann", input_shape=(3, 16, 16), norm="folded")).double().eval()
    plain = plain_resnet34().double().eval()
    plain.load_state_dict({plain_name(name): tensor for name, tensor in twin.state_dict().items()})
    x = torch.rand(2, 3, 16, 16, dtype=torch.float64)
    with torch.no_grad():
        expected = plain(x).view(2, CLASSES, 10).mean(-1)
        torch.testing.assert_close(twin(x.expand(4, *x.shape)), expected, rtol=1e-10, atol=1e-10)
        other = torch.rand_like(x)  # an input that changes over time is seen step by step
        steps = torch.stack([expected, plain(other).view(2, CLASSES, 10).mean(-1)])
        torch.testing.assert_close(twin.votes(torch.stack([x, other])), steps, rtol=1e-10, atol=1e-10)


def test_a_spiking_network_becomes_its_twin_by_one_switch():
    twin, spiking = (build(method, structure="resnet18").eval() for method in ("ann", "bpsta"))
    spiking.spiking = False
    x = torch.rand(1, 2, 3, 8, 8)
    with torch.no_grad():
        assert torch.equal(spiking(x), twin(x))
    assert spiking.neurons() == {}


def store(count=1):
    generator = np.random.default_rng(0)
    x = generator.integers(0, 256, (count, 3, 16, 16), dtype=np.uint8)
    split = Split(x, np.arange(count, dtype=np.int64))
    classes = tuple(map(str, range(CLASSES)))
    return SimpleNamespace(path=Path("none"), classes=classes, scale=1 / 255, split=lambda _name: split)


def test_the_energy_account_knows_what_drives_what_and_counts_neurons_once(network):
    result = account(network, store(), T=3, device=CPU)
    rows = {row["layer"]: row for row in result["layers"]}
    shortcuts = {name for name, row in rows.items() if row["kind"] == "shortcut"}
    assert set(rows) - shortcuts == set(network.synapses())
    assert len(shortcuts) == 16 - 3  # residual blocks without a change of shape
    # At 32 x 32: 29 convolutions of 32 * 32 * 64 * 64 * 9 operations, three of half that at the head of stages
    # 2 to 4, three 1x1 shortcuts of 1/18, the stem; a quarter of it at 16 x 16; 512 x 100 of the output.
    full = 32 * 32 * 64 * 64 * 9
    assert (
        result["counted"]["dense_ops"] == (29 * full + 3 * full // 2 + 3 * full // 18 + 32 * 32 * 27 * 64) // 4 + 51200
    )
    # Neurons: stem and 6 in stage 1, then 8, 12 and 6 layers, each stage with half as many neurons a layer.
    neurons = 64 * 16 * 16 * (7 + 8 / 2 + 12 / 4 + 6 / 8) + 100
    assert result["counted"]["neuron_updates"] == 3 * neurons
    # Spikes cost accumulates; pixels and means of spikes cost multiply-accumulates.
    assert {name for name, row in rows.items() if row["macs"]} == {"stem.conv", "output.linear"}
    with counting_spikes(network) as counts, torch.no_grad():
        network(torch.from_numpy(store().split("test").x).float().mul(1 / 255).expand(3, 1, 3, 16, 16))
    rates = {name: spikes / slots for name, (spikes, slots) in counts.items()}
    assert list(rates) == list(network.neurons())
    drives = {"conv1": "lif1", "conv2": "lif2", "shortcut.conv": "lif2"}
    for synapse, neuron in drives.items():
        row = rows[f"stage2.block1.{synapse}"]
        assert row["firing_rate"] == rates[f"stage2.block1.{neuron}"] != rates["stage2.block2.lif1"]
    assert rows["stem.conv"]["firing_rate"] == rates["stem.lif"]
    assert rows["output.linear"]["firing_rate"] == rates["output.lif"]


def test_the_twin_has_no_neurons_to_account_for():
    result = account(build("ann", structure="resnet18", input_shape=(3, 16, 16)), store(), T=3, device=CPU)
    assert result["counted"]["neuron_updates"] == 0
    assert result["firing_rate"] is None


@pytest.mark.parametrize("input_shape", [(0, 8, 8), (3, 0, 8), (3, 8, 0)])
@pytest.mark.parametrize("structure", ["resnet34", "16C3-10Voting"])
def test_an_input_without_values_is_told(structure, input_shape):
    with pytest.raises(StructureError, match="the image is too small for the structure: expected an input of at least"):
        build(structure=structure, input_shape=input_shape)


def test_a_misspelt_name_is_told_with_the_nearest():
    with pytest.raises(StructureError, match="Did you mean resnet34"):
        build(structure="resnet-34")


def test_one_pixel_is_enough():
    with torch.no_grad():
        assert build(input_shape=(1, 1, 1)).eval()(torch.ones(2, 1, 1, 1, 1)).shape == (1, CLASSES)
