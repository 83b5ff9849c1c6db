"""How the files of each data set become samples: one file a data set or family; `catalogue` names the loaders."""
