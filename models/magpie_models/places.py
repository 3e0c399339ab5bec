"""Folders of data, weights and results, with the same flags in every command."""

import argparse
import subprocess
from pathlib import Path

WORK = Path("models/.work")
SHIPPED = Path("models/packs/default")
# Written by `evaluate` in a run's folder.
FIGURES = "figures.json"


def add_flags(parser: argparse.ArgumentParser, weights: bool = True) -> None:
    parser.add_argument("--data", type=Path, default=Path("../shared/data/products"), help="labelled photos")
    parser.add_argument("--goods", type=Path, default=Path("../shared/data/goods"), help="pictures of broad goods")
    if weights:
        parser.add_argument("--weights", type=Path, default=Path("../shared/weights"), help="LiteRT files")
    parser.add_argument("--work", type=Path, default=WORK, help="folder of caches and runs (models/.work)")


def cache(work: Path) -> Path:
    return work / "cache"


def run_folder(work: Path, name: str) -> Path:
    return work / "runs" / name


def refuse_tracked(target: Path) -> None:
    """Exits if `target` is inside a git work tree and not ignored: photos must not be committed."""
    target = target.absolute()
    existing = next(folder for folder in (target, *target.parents) if folder.is_dir())
    answer = subprocess.run(["git", "rev-parse", "--is-inside-work-tree"], cwd=existing, capture_output=True, text=True)
    if answer.stdout.strip() != "true":
        return
    if subprocess.run(["git", "check-ignore", "--quiet", str(target)], cwd=existing).returncode != 0:
        raise SystemExit(f"{target} is in a git repository and not ignored: photos must not be copied there")
