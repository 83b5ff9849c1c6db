"""The operations on the CPU: C++ compiled once and cached (`library`), and what calls it."""
