"""The accounts of one run side by side, as one dictionary."""

from collections.abc import Callable
from typing import Any

import torch

from bpsta_cli.data.store import Store
from bpsta_cli.energy import costs, memory, operations
from bpsta_cli.energy.costs import DEFAULT_TECH, PAPER_AC, PAPER_MAC, TECHS, Prices, Tech
from bpsta_cli.energy.counting import Counts, LayerCount, count
from bpsta_cli.evaluation.accuracy import OnBatch, sample_count
from bpsta_cli.network import Network

Layer = dict[str, Any]


def paper_estimate(dense_ops: int, firing_rate: float, T: int) -> dict[str, float | None]:
    """The paper's account, Eq. 1: E_ANN = FLOPs * 4.6 pJ, E_SNN = FLOPs * firing rate * 0.1 pJ * T.

    It takes every layer's input for spikes, costs an integer addition each, and leaves out memory, neuron
    updates and the first layer's real-valued input. The ratio is 46 / (T * firing rate), whatever the network.

    Args:
        dense_ops: multiply-accumulates of one dense pass of one sample (the paper's FLOPs).
        firing_rate: mean over all neurons and steps, in [0, 1].
        T: time steps.

    Returns:
        e_ann_pj and e_snn_pj in picojoule a sample, ratio = e_ann_pj / e_snn_pj (None for a silent network).
    """
    e_ann, e_snn = dense_ops * PAPER_MAC, dense_ops * firing_rate * PAPER_AC * T
    return {"ratio": _over(e_ann, e_snn), "e_ann_pj": e_ann, "e_snn_pj": e_snn}


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
        e_ann_pj / e_snn_pj, and, but for the paper's, e_ann_frames_pj and ratio_frames: the twin as it really runs,
        `frames` passes;
        neurobench: effective_macs, effective_acs, dense, activation_sparsity, connection_sparsity, footprint;
        and layers, a list of one dictionary a layer.

    Raises:
        DataError: the test part is empty.
    """
    counts = count(network, store, T=T, device=device, samples=samples, on_batch=on_batch)
    seen, prices = counts.seen, costs.full_width(tech)
    layers = [_layer(row, counts, prices, tech) for row in counts.rows]
    counted = _counted(counts, layers, prices)
    for layer in layers:
        layer["share"] = _over(layer["e_pj"], counted["e_snn_pj"]) or 0.0
    return {
        "accuracy": seen.accuracy,
        "samples": seen.samples,
        "test_samples": sample_count(store, store.split("test")),
        "T": T,
        "frames": counts.frames,
        "firing_rate": seen.firing_rate,
        "firing_rates": seen.firing_rates,
        "firing_rates_at": {
            name: [spikes / (counts.neurons[name] * seen.samples) for spikes in at]
            for name, at in counts.spikes.items()
        },
        "neurons": counts.neurons,
        "tech": tech.model_dump(mode="json"),
        "paper": _paper(counts),
        "counted": counted,
        "memory": _memory(counts, prices, tech),
        "quantised": _quantised(counts, tech),
        "neurobench": _neurobench(counts),
        "layers": layers,
    }


def _paper(counts: Counts) -> dict[str, float | None]:
    dense, rate = sum(row.dense_ops for row in counts.rows), counts.seen.firing_rate
    if rate is None:
        return {"ratio": None, "e_ann_pj": dense * PAPER_MAC, "e_snn_pj": None}
    return paper_estimate(dense, rate, counts.T)


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
        **_compare(
            sum(layer["e_pj"] for layer in layers),
            sum(operations.ann_pj(row, prices) for row in counts.rows),
            counts.frames,
        ),
    }


def _memory(counts: Counts, prices: Prices, tech: Tech) -> dict[str, Any]:
    snn = sum((memory.snn_parts(row, counts, prices, tech) for row in counts.rows), memory.Parts())
    ann = sum((memory.ann_parts(row, prices, tech) for row in counts.rows), memory.Parts())
    spiking = bool(counts.spikes)
    return {
        **_compare(snn.total if spiking else None, ann.total, counts.frames),
        "snn": snn.by_name() if spiking else None,
        "ann": ann.by_name(),
    }


def _quantised(counts: Counts, tech: Tech) -> dict[str, Any]:
    prices = costs.quantised(tech, counts.T)
    rows = counts.rows
    return {
        "bits": prices.activation_bits,
        "weight_bits": prices.weight_bits,
        "operations": _rival(
            counts,
            lambda firing: sum(operations.snn_pj(row, counts, prices, firing) for row in rows),
            sum(operations.ann_pj(row, prices) for row in rows),
        ),
        "memory": _rival(
            counts,
            lambda firing: sum(memory.snn_parts(row, counts, prices, tech, firing).total for row in rows),
            sum(memory.ann_parts(row, prices, tech).total for row in rows),
        ),
    }


def _rival(counts: Counts, snn_at: Callable[[float], float], e_ann: float) -> dict[str, Any]:
    """The comparison, and the rate at which both cost the same; E_SNN grows in a straight line with the rate."""
    rate = counts.seen.firing_rate
    if rate is None:
        return {**_compare(None, e_ann, counts.frames), "break_even_rate": None}
    silent, now = snn_at(0.0), snn_at(1.0)
    break_even = _over((e_ann - silent) * rate, now - silent) if e_ann >= silent else None
    return {**_compare(now, e_ann, counts.frames), "break_even_rate": break_even}


def _neurobench(counts: Counts) -> dict[str, Any]:
    """NeuroBench's figures (github.com/NeuroBench/neurobench, 2.3) as it gives them at batch size 1.

    There a step of a sample whose input is all 0 and 1 costs ACs and any other MACs, a constant input counts at
    every step, and dense operations are those of all T steps.
    """
    samples, rows = counts.seen.samples, [row for row in counts.rows if row.kind != "shortcut"]
    steps = counts.updating_steps or counts.frames
    rate = counts.seen.firing_rate
    return {
        "effective_macs": sum(row.step_macs for row in rows) / samples,
        "effective_acs": sum(row.step_acs for row in rows) / samples,
        "dense": sum(row.synapses for row in rows) * steps,
        "activation_sparsity": None if rate is None else 1 - rate,
        "connection_sparsity": counts.connection_sparsity,
        "footprint": counts.footprint,
    }


def _layer(row: LayerCount, counts: Counts, prices: Prices, tech: Tech) -> Layer:
    seen = counts.seen
    reached = row.reached / seen.samples
    additions = row.binary or row.kind == "shortcut"
    rate = seen.firing_rate
    return {
        "layer": row.layer,
        "kind": row.kind,
        "shape": list(row.outputs),
        "dense_ops": row.dense_ops,
        "synapses": row.synapses,
        "input_density": row.nonzero / row.slots,
        "firing_rate": seen.firing_rates.get(row.neuron),
        "macs": 0.0 if additions else reached,
        "acs": reached if additions else 0.0,
        "neuron_updates": row.neurons * counts.updating_steps if row.owner else 0,
        "e_paper_pj": None if rate is None else row.dense_ops * rate * PAPER_AC * counts.T,
        "e_pj": operations.snn_pj(row, counts, prices),
        "e_memory_pj": memory.snn_parts(row, counts, prices, tech).total if counts.spikes else None,
        "e_ann_pj": operations.ann_pj(row, prices),
        "e_ann_memory_pj": memory.ann_parts(row, prices, tech).total,
    }


def _compare(e_snn: float | None, e_ann: float, frames: int) -> dict[str, Any]:
    return {
        "e_snn_pj": e_snn,
        "e_ann_pj": e_ann,
        "ratio": _over(e_ann, e_snn),
        "e_ann_frames_pj": e_ann * frames,
        "ratio_frames": _over(e_ann * frames, e_snn),
    }


def _over(above: float, below: float | None) -> float | None:
    """The ratio; None where there is none."""
    return above / below if below else None
