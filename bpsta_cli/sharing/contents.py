"""The files of a run that are handed on."""

SHARED = ("model.safetensors", "settings.json", "history.csv", "metrics.json")
"""What is shared beside the card; metrics.json last, so that a folder with it is whole.

provenance.json stays: it names the machine.
"""
