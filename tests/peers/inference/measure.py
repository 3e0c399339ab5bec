"""Measures systems on one net: each in its own process, taking turns."""

import json
import os
import random
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np

from packs import Net, cosines

HERE = Path(__file__).resolve().parent
# Warm-up runs of each turn, not counted: after waiting, a process has cold caches and its second thread a sleeping
# core.
WARM = 20


@dataclass(frozen=True)
class System:
    """A system to measure: its runner's command line, including the net."""

    name: str
    command: list[str]
    threads: int = 1


@dataclass
class Measured:
    """The measurements of one system on one net: outputs, and milliseconds of each run."""

    system: System
    net: Net
    outputs: np.ndarray
    thread_cpu: list[float] = field(default_factory=list)
    process_cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)

    @property
    def median_ms(self) -> float:
        """Median thread CPU time, or wall time of systems with several threads."""
        return median(self.thread_cpu) if self.system.threads == 1 else self.wall_ms

    @property
    def wall_ms(self) -> float:
        return median(self.wall)

    @property
    def cosine(self) -> float:
        """Cosine to ONNX Runtime's output with exact sums, of the worst photo."""
        return float(cosines(self.outputs, self.net.expected).min())

    @property
    def equal(self) -> bool:
        """Whether all outputs equal ONNX Runtime's with exact sums, bit for bit."""
        return np.array_equal(self.outputs, self.net.expected)

    @property
    def hidden_work(self) -> float:
        """Share of CPU time spent in other threads of a system that should use one."""
        return 1 - sum(self.thread_cpu) / sum(self.process_cpu)


def peer(name: str, system: str, net: Net, threads: int = 1) -> System:
    return System(name, [sys.executable, str(HERE / "workers.py"), system, str(net.folder), str(threads)], threads)


class Process:
    def __init__(self, system: System, net: Net):
        quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        self.process = subprocess.Popen(
            system.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=quiet
        )
        self.measured = Measured(system, net, np.array(self.read_json(), np.float32))

    def read_json(self) -> list:
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args} exited with status {self.process.wait()}")
        return json.loads(line)

    def turn(self, runs: int) -> None:
        self.process.stdin.write(f"{WARM + runs}\n")
        self.process.stdin.flush()
        for thread_cpu, process_cpu, wall in self.read_json()[WARM:]:
            self.measured.thread_cpu.append(thread_cpu)
            self.measured.process_cpu.append(process_cpu)
            self.measured.wall.append(wall)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def take_turns(systems: list[System], net: Net, rounds: int, runs: int) -> list[Measured]:
    """Measures `rounds` turns of `runs` runs of each system, in a new order each round."""
    processes = []
    try:
        for system in systems:
            processes.append(Process(system, net))
        order = list(processes)
        shuffle = random.Random(7).shuffle
        for _ in range(rounds):
            shuffle(order)
            for process in order:
                process.turn(runs)
    finally:
        for process in processes:
            process.close()
    return [process.measured for process in processes]


@dataclass(frozen=True)
class Layers:
    """The totals of Magpie's layers of one kind."""

    kind: str
    count: int
    macs: int
    ms: float

    @property
    def gmac_per_second(self) -> float:
        return self.macs / self.ms / 1e6


def profile(runner: Path, net: Net) -> list[Layers]:
    """Times Magpie's own layers (not those that tract runs), by kind, the slowest kind first."""
    result = subprocess.run([runner, net.folder, "--profile"], capture_output=True, text=True, check=True)
    rows = json.loads(result.stdout)
    timed = [row for row in rows if row[2] > 0]
    kinds = {kind: [(macs, ms) for other, macs, ms in timed if other == kind] for kind, _, _ in timed}
    sums = [Layers(kind, len(each), sum(m for m, _ in each), sum(ms for _, ms in each)) for kind, each in kinds.items()]
    return sorted(sums, key=lambda layers: -layers.ms)


def peak(runner: Path) -> tuple[str, float] | None:
    """The best instruction set and the int8 GMAC/s of one core without memory accesses, or None if unknown."""
    result = subprocess.run([runner, "--peak"], capture_output=True, text=True)
    if result.returncode != 0:
        return None
    isa, speed = result.stdout.split()
    return isa, float(speed)
