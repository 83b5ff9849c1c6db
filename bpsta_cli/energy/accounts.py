"""The accounts of one run side by side, as one dictionary."""

from typing import Any

import torch

from bpsta_cli.data.store import Store
from bpsta_cli.energy import costs, memory, neurobench, operations, paper, quantised
from bpsta_cli.energy.comparison import compare, ratio
from bpsta_cli.energy.costs import DEFAULT_TECH, PAPER_AC, TECHS, Prices, Tech
from bpsta_cli.energy.counting import count
from bpsta_cli.energy.counts import Counts, LayerCount
from bpsta_cli.evaluation.accuracy import OnBatch, sample_count
from bpsta_cli.network import Network

Layer = dict[str, Any]


def account(
    network: Network,
    store: Store,
    *,
    T: int,
    device: torch.device,
    samples: int | None = None,
    tech: Tech = TECHS[DEFAULT_TECH],
    on_batch: OnBatch | None = None,
) -> dict[str, Any]:
    """Every account of `network` over the first `samples` of the test part, per sample.

    Returns:
        Energies in picojoule, operations a sample:
        accuracy, samples of test_samples, firing_rate, firing_rates and firing_rates_at (of each layer, and at each
        step), neurons (of each layer), tech, and the accounts
        paper: `paper_estimate`;
        counted: dense_ops (padding included), synapses (without), macs, acs, shortcut_acs, neuron_updates;
        memory: with parts of both networks;
        quantised: bits, weight_bits, operations and memory, each with break_even_rate, at which the SNN would cost
        as much as its twin with that many bits (None where it costs more without a single spike);
        each with e_snn_pj (None for the ReLU twin, but in counted), e_ann_pj of one dense pass and ratio =
        e_ann_pj / e_snn_pj, and, but for the paper's, e_ann_frames_pj and ratio_frames: the twin as it runs on frames,
        `frames` passes;
        neurobench: effective_macs, effective_acs, dense, activation_sparsity, connection_sparsity, footprint;
        and layers, a list of one dictionary a layer.

    Raises:
        DataError: the test part is empty.
    """
    counts = count(network, store, T=T, device=device, samples=samples, on_batch=on_batch)
    evaluation, prices = counts.evaluation, costs.full_width(tech)
    layers = [_layer(row, counts, prices, tech) for row in counts.rows]
    counted = _counted(counts, layers, prices)
    for layer in layers:
        layer["share"] = ratio(layer["e_pj"], counted["e_snn_pj"]) or 0.0
    return {
        "accuracy": evaluation.accuracy,
        "samples": evaluation.samples,
        "test_samples": sample_count(store, store.split("test")),
        "T": T,
        "frames": counts.frames,
        "firing_rate": evaluation.firing_rate,
        "firing_rates": evaluation.firing_rates,
        "firing_rates_at": {
            name: [spikes / (counts.neurons[name] * evaluation.samples) for spikes in at]
            for name, at in counts.spike_counts.items()
        },
        "neurons": counts.neurons,
        "tech": tech.model_dump(mode="json"),
        "paper": paper.account(counts),
        "counted": counted,
        "memory": _memory(counts, prices, tech),
        "quantised": quantised.account(counts, tech),
        "neurobench": neurobench.account(counts),
        "layers": layers,
    }


def _counted(counts: Counts, layers: list[Layer], prices: Prices) -> dict[str, Any]:
    def total(name: str, *, shortcut: bool = False) -> Any:
        return sum(layer[name] for layer in layers if (layer["kind"] == "shortcut") == shortcut)

    return {
        "dense_ops": total("dense_ops"),
        "synapses": total("synapses"),
        "macs": total("macs"),
        "acs": total("acs"),
        "shortcut_acs": total("acs", shortcut=True),
        "neuron_updates": total("neuron_updates"),
        **compare(
            sum(layer["e_pj"] for layer in layers),
            sum(operations.ann_pj(row, prices) for row in counts.rows),
            counts.frames,
        ),
    }


def _memory(counts: Counts, prices: Prices, tech: Tech) -> dict[str, Any]:
    snn = sum((memory.snn_parts(row, counts, prices, tech) for row in counts.rows), memory.Parts())
    ann = sum((memory.ann_parts(row, prices, tech) for row in counts.rows), memory.Parts())
    spiking = bool(counts.spike_counts)
    return {
        **compare(snn.total if spiking else None, ann.total, counts.frames),
        "snn": snn.by_name() if spiking else None,
        "ann": ann.by_name(),
    }


def _layer(row: LayerCount, counts: Counts, prices: Prices, tech: Tech) -> Layer:
    evaluation = counts.evaluation
    reached = row.reached / evaluation.samples
    additions = row.binary or row.kind == "shortcut"
    rate = evaluation.firing_rate
    return {
        "layer": row.layer,
        "kind": row.kind,
        "shape": list(row.outputs),
        "dense_ops": row.dense_ops,
        "synapses": row.synapses,
        "input_density": row.nonzero / row.input_values,
        "firing_rate": evaluation.firing_rates.get(row.neuron),
        "macs": 0.0 if additions else reached,
        "acs": reached if additions else 0.0,
        "neuron_updates": row.neurons * counts.updating_steps if row.owner else 0,
        "e_paper_pj": None if rate is None else row.dense_ops * rate * PAPER_AC * counts.T,
        "e_pj": operations.snn_pj(row, counts, prices),
        "e_memory_pj": memory.snn_parts(row, counts, prices, tech).total if counts.spike_counts else None,
        "e_ann_pj": operations.ann_pj(row, prices),
        "e_ann_memory_pj": memory.ann_parts(row, prices, tech).total,
    }
