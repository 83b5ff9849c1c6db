"""The model card of a run, README.md: made from its own files, with the front matter that the Hub reads.

Front matter: huggingface.co/docs/hub/model-cards, and `model-index` of the Papers with Code format for the result.
"""

from importlib.resources import files as resources
from pathlib import Path
from typing import Any

import yaml

from bpsta_cli.data import catalogue
from bpsta_cli.errors import DataError, RunError
from bpsta_cli.reporting.any_runs import AnyRun, said
from bpsta_cli.rules import TWIN

NAME = "README.md"
LIBRARY = "bpsta-cli"
TASKS = {"image": "image-classification", "events": "video-classification", "speech": "audio-classification"}
"""The Hub's task of each kind of data; it has none for recordings of an event camera."""
ACCOUNTS = {
    "paper (Eq. 1)": ("paper",),
    "counted": ("counted",),
    "with memory": ("memory",),
    "against a quantised twin": ("quantised", "operations"),
    "against a quantised twin, with memory": ("quantised", "memory"),
}
"""The accounts of energy, and where each stands in the measurement."""
MOST_CLASSES = 100
"""So many are listed."""
SELECTION = {
    "final": "the last epoch",
    "validation": "chosen on a held-out part",
    "test": "chosen on the test part, which makes the accuracy too high",
}


def card(run: AnyRun, *, name: str, where: str, licence: str | None = None) -> str:
    """The text of README.md.

    Args:
        run: a finished run; its energy is taken in where it lies in the directory as energy.json.
        name: what the model is called.
        where: what `bpsta_cli.load` takes to load it.
        licence: of the weights, as the Hub spells it ("mit"); None: the card says nothing of it.

    Raises:
        RunError: the run is not finished, or its energy.json cannot be read.
    """
    import jinja2

    if not run.metrics:
        raise RunError(
            "run not finished",
            expected="a run with metrics.json",
            got=f"{run.path} without it",
            todo="Go on with it: bpsta train --resume --out RUN.",
        )
    text = (resources("bpsta_cli.sharing") / "templates" / "card.md.j2").read_text(encoding="utf-8")
    # Markdown, not HTML: what the user named is escaped by `_plain`
    environment = jinja2.Environment(
        trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    front = yaml.safe_dump(_front_matter(run, name, licence), sort_keys=False, allow_unicode=True)
    return environment.from_string(text).render(front=front, name=_plain(name), where=where, **_facts(run))


def _front_matter(run: AnyRun, name: str, licence: str | None) -> dict[str, Any]:
    settings, metrics = run.settings, run.metrics
    row = _row(settings.dataset)
    task = TASKS.get(row.kind) if row else None
    rates = [] if metrics["firing_rate"] is None else [_value("firing_rate", "Firing rate", metrics["firing_rate"])]
    result = {
        "task": {"type": task or "other"},
        "dataset": {"name": row.title if row else settings.dataset, "type": settings.dataset, "split": "test"},
        "metrics": [_value("accuracy", "Test accuracy", metrics["accuracy"]), *rates],
    }
    return {
        **({"license": licence} if licence else {}),
        "library_name": LIBRARY,
        **({"pipeline_tag": task} if task else {}),
        "tags": ["spiking-neural-network", "snn", Path(settings.label).stem],
        "metrics": ["accuracy"],
        "model-index": [{"name": name, "results": [result]}],
    }


def _value(kind: str, name: str, value: float) -> dict[str, Any]:
    return {"type": kind, "name": name, "value": value}


def _facts(run: AnyRun) -> dict[str, Any]:
    """What the template shows, every text escaped."""
    settings, metrics = run.settings, run.metrics
    row = _row(settings.dataset)
    title = row.title if row else settings.dataset
    rule = ", ".join(f"{key} = {said(value)}" for key, value in settings.rule.items())
    file = Path(settings.method).name if settings.method.endswith(".py") else ""
    shape = "x".join(map(str, run.recorded["input_shape"]))
    chosen = SELECTION.get(metrics["selection"], metrics["selection"])
    table = {
        "data": f"{title} (`{settings.dataset}`), SHA-256 {run.recorded['data_hash'][:12]}",
        "split": metrics.get("split") or "not recorded",
        "classes": str(len(run.recorded["classes"])),
        "structure": f"`{metrics['network']}`, input {shape}",
        "time steps": str(settings.T),
        "learning rule": f"{run.rule}{f' ({rule})' if rule else ''}",
        "test accuracy": f"{100 * metrics['accuracy']:.2f} % (seed {settings.seed}, one run)",
        "test loss": f"{metrics['loss']:.4f}",
        "firing rate": "-" if metrics["firing_rate"] is None else f"{metrics['firing_rate']:.4f}",
        "weights": f"of epoch {metrics['selected_epoch'] + 1} of {metrics['epochs']}: {chosen}",
    }
    made = run.provenance
    return {
        "twin": settings.method == TWIN,
        "table": {key: _plain(value) for key, value in table.items()},
        "disclosure": row.disclosure if row else "",
        "energy": _energy(run),
        "shape": f"[{settings.T}, B, {', '.join(map(str, run.recorded['input_shape']))}]",
        "outputs": len(run.recorded["classes"]),
        "classes": [_plain(each) for each in run.recorded["classes"][:MOST_CLASSES]],
        "rule_file": file,
        "rule_sha256": run.recorded.get("rule_sha256", ""),
        "commit": _plain(str(made.get("commit", "not recorded"))),
        "libraries": _plain(", ".join(f"{key} {value}" for key, value in made.get("libraries", {}).items())),
        "kernel": _plain(str(made.get("kernel") or "not recorded")),
    }


def _energy(run: AnyRun) -> dict[str, Any] | None:
    """The accounts of energy in nJ a sample, and over how many samples; None where it was not measured."""
    found = run.measured("energy")
    if not found:
        return None
    rows = []
    for title, path in ACCOUNTS.items():
        account = found
        for key in path:
            account = account.get(key, {})
        values = [account.get("e_snn_pj"), account.get("e_ann_pj")]
        shown = ["-" if value is None else f"{value / 1000:,.1f}" for value in values]
        ratio = account.get("ratio")
        rows.append([title, *shown, "-" if ratio is None else f"{ratio:.2f}"])
    samples, whole = found["samples"], found.get("test_samples", found["samples"])
    seen = f"{samples:,}" if samples == whole else f"the first {samples:,} of {whole:,}"
    return {"rows": rows, "samples": seen, "tech": _plain(str(found.get("tech", {}).get("name", "-")))}


def _row(dataset: str) -> catalogue.Dataset | None:
    """What the catalogue says of a data set; None where it knows it no longer."""
    try:
        return catalogue.get(dataset)
    except DataError:
        return None


def _plain(text: str) -> str:
    """A text in a cell of a Markdown table: on one line, and neither a column nor HTML."""
    flat = " ".join(text.split())
    return flat.replace("|", "\\|").replace("<", "&lt;")
