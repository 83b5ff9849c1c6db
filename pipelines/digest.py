"""Hashes the modules that a stage of dvc.yaml depends on into one file: `python pipelines/digest.py STAGE OUT`.

The stages of every run then depend on that file instead of on each module: DVC reads and writes the whole of dvc.lock
after every stage, which for some fifty runs of twenty modules took longer than to train them.
"""

import hashlib
import sys
from pathlib import Path

import yaml


def digests(root: Path, stage: str) -> str:
    """A line a file, as sha256sum writes it; folders are walked, what Python compiled is left out."""
    declared = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))["stages"][stage]["deps"]
    lines = []
    for name in declared:
        for file in sorted((root / name).rglob("*")) if (root / name).is_dir() else [root / name]:
            if file.is_file() and file.suffix != ".pyc":
                digest = hashlib.sha256(file.read_bytes()).hexdigest()
                lines.append(f"{digest}  {file.relative_to(root).as_posix()}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    target = Path(sys.argv[2])
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(digests(Path.cwd(), sys.argv[1]), encoding="utf-8")
