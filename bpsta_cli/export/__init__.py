"""A trained network in the formats of others: ONNX and NIR, and how far what they hold is the network."""
