"""The model card says what the run's own files say."""

import json

import pytest
import yaml

from bpsta_cli.cli.main import run
from bpsta_cli.reporting.any_runs import read_runs
from bpsta_cli.sharing import card


def front_matter(text):
    _, front, body = text.split("---\n", 2)
    return yaml.safe_load(front), body


def written(path, **options):
    (found,) = read_runs([path])
    return card(found, name="tiny", where="hub:me/tiny", **options)


def test_the_front_matter_has_the_result_as_the_hub_reads_it(trained):
    front, _ = front_matter(written(trained, licence="mit"))
    metrics = json.loads((trained / "metrics.json").read_text())
    assert (front["license"], front["library_name"], front["pipeline_tag"]) == (
        "mit",
        "bpsta-cli",
        "image-classification",
    )
    assert {"spiking-neural-network", "bpsta"} <= set(front["tags"])
    (model,) = front["model-index"]
    (result,) = model["results"]
    assert (model["name"], result["dataset"]["type"], result["dataset"]["split"]) == ("tiny", "digits", "test")
    values = {each["type"]: each["value"] for each in result["metrics"]}
    assert values == {"accuracy": metrics["accuracy"], "firing_rate": metrics["firing_rate"]}


def test_the_hubs_own_reader_takes_the_front_matter(trained):
    repocard = pytest.importorskip("huggingface_hub.repocard")
    found = repocard.ModelCard(written(trained))
    (result,) = found.data.eval_results[:1]
    assert (result.metric_type, result.dataset_type) == ("accuracy", "digits")
    assert found.data.license is None


def test_it_says_data_split_accuracy_with_seed_rate_and_how_to_load(trained):
    _, body = front_matter(written(trained))
    metrics = json.loads((trained / "metrics.json").read_text())
    for text in (
        "| test accuracy | " + f"{100 * metrics['accuracy']:.2f} % (seed 3, one run) |",
        f"| firing rate | {metrics['firing_rate']:.4f} |",
        "| split | no official split: stratified 80/20",
        "| learning rule | bpsta (alpha = 0.2) |",
        "| weights | of epoch 2 of 2: the last epoch |",
        'network = bpsta.load("hub:me/tiny")',
        "x: [2, B, 1, 8, 8] -> votes: [B, 10]",
        "0, 1, 2, 3, 4, 5, 6, 7, 8, 9.",
    ):
        assert text in body


def test_energy_stands_by_account_and_not_at_all_where_it_was_not_measured(trained):
    _, body = front_matter(written(trained))
    energy = json.loads((trained / "energy.json").read_text())
    counted = energy["counted"]
    row = f"{counted['e_snn_pj'] / 1000:,.1f} | {counted['e_ann_pj'] / 1000:,.1f} | {counted['ratio']:.2f} |"
    assert f"| counted | {row}" in body
    assert body.count("quantised") == 2
    assert "the first 40 of 360 samples" in body
    (trained / "energy.json").unlink()
    _, body = front_matter(written(trained))
    assert "## Energy\n\nNot measured." in body


def test_a_run_of_the_twin_has_no_rate(data, tmp_path):
    out = tmp_path / "twin"
    options = ["--dataset", "digits", "--T", "2", "--network", "4C3-AP8-10Voting", "--epochs", "1", "--threads", "1"]
    assert run(["train", *options, "--method", "ann", "--data-dir", str(data), "--out", str(out)]) == 0
    front, body = front_matter(written(out))
    assert "The ReLU twin of a spiking network" in body
    assert [each["type"] for each in front["model-index"][0]["results"][0]["metrics"]] == ["accuracy"]


def test_what_a_user_named_breaks_neither_the_table_nor_the_front_matter(trained):
    settings = json.loads((trained / "settings.json").read_text())
    settings["classes"][0] = "a|b <script> ---\n---"
    del settings["sha256"]
    (trained / "settings.json").write_text(json.dumps(settings))
    (found,) = read_runs([trained])
    front, body = front_matter(card(found, name="x: [y\n---", where="folder"))
    assert front["model-index"][0]["name"] == "x: [y\n---"
    assert "a\\|b &lt;script> --- ---, 1, 2" in body


def test_a_rule_file_is_named_with_its_hash_and_no_path_of_it_is_told(trained):
    settings = json.loads((trained / "settings.json").read_text())
    del settings["sha256"]
    settings["settings"]["method"], settings["rule_sha256"] = "/home/somebody/leaky.py", "0" * 64
    (trained / "settings.json").write_text(json.dumps(settings))
    _, body = front_matter(written(trained))
    assert 'bpsta.load("hub:me/tiny", trust_rule="leaky.py")' in body
    assert f"only a file with SHA-256 {'0' * 64} is run" in body
    assert "somebody" not in body
