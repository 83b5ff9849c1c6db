"""bpsta: deep spiking neural networks trained with BPSA and BPTA (Shen, Zhao and Zeng, Patterns 2022)."""

__version__ = "0.1.0"
