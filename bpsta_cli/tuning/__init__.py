"""A search over settings for accuracy and few spikes on held-out training samples; the test part is never read.

study = Study(training.settings("digits", T=4), chosen_space(None, "bpsta"), Path("runs/tune"))
for event in study.run(store):
    print(event)
"""
