"""The loaders: each finds the files of a data set and reads its samples; a family of data sets shares a file.

The rows of `catalogue.toml` name them."""
