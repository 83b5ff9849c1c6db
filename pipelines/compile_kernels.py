"""Compile the kernels for this machine's CPU where they are not there yet, so that no training waits for it.

python pipelines/compile_kernels.py
"""

from bpsta_cli.kernels.dispatch import choose

if __name__ == "__main__":
    choose("auto", device="cpu")
