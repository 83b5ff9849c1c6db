"""What an exported network says of itself, whatever the format."""

import json
from pathlib import Path

from bpsta_cli import __version__
from bpsta_cli.config import RunSettings
from bpsta_cli.data.store import Store


def about(settings: RunSettings, store: Store, weights_sha256: str) -> dict[str, str]:
    """What an exported network says of itself: each value a text, lists and settings as JSON.

    Paths of the machine that trained it are left out; of a rule of one's own, the name of its file stays.
    """
    public = settings.model_dump(mode="json", exclude={"data": {"source"}, "init_from": True})
    if settings.method.endswith(".py"):
        public["method"] = Path(settings.method).name
    return {
        "bpsta_version": __version__,
        "dataset": settings.dataset,
        "data_hash": store.content_hash,
        "structure": settings.data.network,
        "T": str(settings.T),
        "classes": json.dumps(store.classes, ensure_ascii=False),
        "input": "an image, the same at every step" if store.T is None else "a frame a step",
        "input_scale": repr(store.scale),
        "settings": json.dumps(public, ensure_ascii=False),
        "weights_sha256": weights_sha256,
    }
