"""Speed and memory of this package beside its ReLU twin, its convolutions alone and other packages: README.md."""
