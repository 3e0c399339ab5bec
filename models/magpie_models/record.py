"""The record of a run, in a folder of its own:

    config.json       every option, the git revision, library versions, the machine
    metrics.jsonl     one line per epoch; line 0 is before the first step
    events.out.*      the same metrics for TensorBoard
    checkpoint.pt     the state to resume from
    split.json        the paths of the training photos

TensorBoard rather than MLflow: its writer comes with torch and adds 6 packages to the environment, MLflow adds more
than 70. Energy is an estimate (CPU time times an assumed power per core), not a measurement.
"""

import json
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from .config import Config

LIBRARIES = ("torch", "numpy", "pillow", "onnx", "onnxruntime")


def git_revision() -> str:
    """The commit of this code, with `+changes` if the work tree differs from it; `unknown` outside a repository."""

    def git(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", *words], cwd=Path(__file__).parent, capture_output=True, text=True)

    try:
        head, status = git("rev-parse", "HEAD"), git("status", "--porcelain", "--untracked-files=no", ".")
    except FileNotFoundError:
        return "unknown"
    if head.returncode != 0:
        return "unknown"
    return head.stdout.strip() + ("+changes" if status.stdout.strip() else "")


def watt_hours(cpu_seconds: float, watts_per_core: float) -> float:
    return cpu_seconds * watts_per_core / 3600


class Record:
    """Writes a run's folder. Resuming a run with a different configuration is an error."""

    def __init__(self, folder: Path, config: Config, watts_per_core: float, epochs_done: int):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        if epochs_done:
            changed = config.differences(read_config(folder))
            if changed:
                raise SystemExit(f"{folder} holds a run with other options: {'; '.join(changed)}")
        else:
            for old in folder.glob("events.out.*"):
                old.unlink()
            (folder / "metrics.jsonl").unlink(missing_ok=True)
            contents = {
                "config": config.to_json(),
                "git": git_revision(),
                "command": " ".join(sys.orig_argv[1:]),
                "watts_per_core": watts_per_core,
                "libraries": {name: version(name) for name in LIBRARIES},
                "machine": {"cpu": cpu_name(), "cores": os.cpu_count(), "system": platform.system()},
            }
            write_json(folder / "config.json", contents)
        # Purges events of epochs after the checkpoint: they will be run again.
        self.writer = SummaryWriter(str(folder), purge_step=epochs_done + 1 if epochs_done else None)
        if not epochs_done:
            self.writer.add_text("config", "\n".join(f"    {k}: {v}" for k, v in config.to_json().items()))

    def epoch(self, history: list[dict[str, float]]) -> None:
        """Rewrites metrics.jsonl from the whole history, so that it agrees with the checkpoint, and logs the last epoch
        to TensorBoard.
        """
        lines = "".join(json.dumps(line) + "\n" for line in history)
        part = self.folder / "metrics.part"
        part.write_text(lines)
        part.rename(self.folder / "metrics.jsonl")
        for name, value in history[-1].items():
            if name != "epoch":
                self.writer.add_scalar(name, value, history[-1]["epoch"])
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n")


def read_config(folder: Path) -> Config:
    return Config.from_json(json.loads((folder / "config.json").read_text())["config"])


def read_metrics(folder: Path) -> list[dict[str, float]]:
    path = folder / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
