"""Readers of file formats: images, event recordings, sound."""
