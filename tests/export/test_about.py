"""What an exported network says of itself, and what it does not."""

import json

from bpsta_cli import training
from bpsta_cli.export.about import about


def test_no_path_of_the_machine_that_trained_it_is_in_an_exported_network(samples):
    settings = training.settings("digits", T=2)
    data = settings.data.model_copy(update={"source": "/home/me/images"})
    paths = {"method": "/home/me/leaky.py", "init_from": "/home/me/runs/first", "data": data}
    store = samples()
    words = about(settings.model_copy(update=paths), store, "0")
    assert "/home/me" not in "".join(words.values())
    assert json.loads(words["settings"])["method"] == "leaky.py"
