"""The operations on a GPU, in Triton; imports nothing of the CPU's."""
