"""Data sets: the catalogue, the prepared store, and how a sample becomes a network's input.

`catalogue` names the data sets, `store` prepares and opens them, `encoding` turns samples into time
steps, `augmentation` changes training samples, `run_data` finds a run's. `datasets` and `formats` read the files as
other projects lay them.
"""
