"""Where equal bytes are promised, and what differs between two processes that made a run."""

from typing import Any

from bpsta_cli.kernels.dispatch import Choice

COMPILED = "cpu"
"""The name of the compiled kernels, and how the name of the device begins that they run on."""
NOT_RECORDED = "not recorded"
DIGITS = 12
"""So much of a hash is shown."""


def unpromised(recorded: dict[str, Any], here: dict[str, Any], kernel: Choice, precision: str) -> str:
    """Why no equal bytes are promised, in one clause; empty where they are.

    They are for float32 with the compiled kernels, in which the order of every sum is fixed. A run that does not tell
    its kernel is taken for one of these.

    Args:
        recorded: the provenance of the run that is there.
        here: the provenance of the run that was made again.
        kernel: what runs here, and why.
        precision: of the run's training.
    """
    for when, provenance in (("it was trained", recorded), ("it is trained again", here)):
        device = provenance.get("device", COMPILED)
        if not device.startswith("cpu"):
            return f"{when} on {device}"
    if (recorded.get("kernel") or COMPILED) != COMPILED:
        return f"it was trained with the {recorded['kernel']} kernel"
    if recorded.get("reduce") == "sums":
        return f"it was trained over {recorded.get('processes')} processes, whose sums were added as they came"
    if kernel.name != COMPILED:
        return f"the compiled kernels do not run here ({kernel.why})"
    if precision != "float32":
        return f"it was trained in {precision}"
    return ""


def changes(recorded: dict[str, Any], here: dict[str, Any]) -> list[str]:
    """What of the provenance is another, each as "name: before -> now"; one line where nothing was recorded."""
    if not recorded:
        return [f"provenance: {NOT_RECORDED}"]
    before, now = _flat(recorded), _flat(here)
    return [
        f"{name}: {before[name]} -> {now.get(name, NOT_RECORDED)}" for name in before if before[name] != now.get(name)
    ]


def _flat(provenance: dict[str, Any]) -> dict[str, str]:
    """Its entries as text, those of libraries and machine by their own names; hashes by their beginnings."""
    flat: dict[str, Any] = {name: _short(provenance[name]) for name in ("commit", "code") if name in provenance}
    flat["python"] = provenance.get("python")
    flat |= provenance.get("libraries", {}) | provenance.get("machine", {})
    flat |= {name: provenance.get(name) for name in ("threads", "kernel", "processes", "reduce")}
    if "device" in provenance:  # a CPU is told by its machine
        flat["device"] = COMPILED if provenance["device"].startswith("cpu") else provenance["device"]
    return {name: str(value) for name, value in flat.items() if value is not None}


def _short(digest: str) -> str:
    """The beginning of a hash; what follows it, as in "-dirty", stays."""
    head, sign, rest = digest.partition("-")
    return head[:DIGITS] + sign + rest
