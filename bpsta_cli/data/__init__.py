"""Data sets: the catalogue, the prepared store, and how a sample becomes a network's input.

`catalogue` describes the data sets, `store` prepares and opens them, `encoding` turns samples into time
steps, `augmentation` changes training samples, `run_data` finds the data of a run. `datasets` finds the files of each
data set, in the directory layouts of torchvision, torchaudio, tonic and SpikingJelly; `formats` reads them.
"""
