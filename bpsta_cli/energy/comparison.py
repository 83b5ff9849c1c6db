"""A network's energy beside its twin's."""

from typing import Any


def compare(e_snn: float | None, e_ann: float, frames: int) -> dict[str, Any]:
    """Both energies (pJ a sample) and their ratios, with the twin's one pass and with its passes over all frames."""
    return {
        "e_snn_pj": e_snn,
        "e_ann_pj": e_ann,
        "ratio": ratio(e_ann, e_snn),
        "e_ann_frames_pj": e_ann * frames,
        "ratio_frames": ratio(e_ann * frames, e_snn),
    }


def ratio(above: float, below: float | None) -> float | None:
    """The ratio; None where there is none."""
    return above / below if below else None
