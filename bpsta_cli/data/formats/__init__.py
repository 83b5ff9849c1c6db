"""How a file of each format is read: images, event recordings, sound."""
