"""Builds indexes and talks to the processes that search them."""

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from variants import Config, Variant

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]


def build_runner() -> Path:
    """Builds Magpie's worker with the release settings that ship (fat LTO)."""
    target = ROOT / "target/lean"
    manifest = HERE / "runner/Cargo.toml"
    cargo = [os.environ.get("CARGO", "cargo"), "build", "--profile", "dist", "--locked"]
    subprocess.run([*cargo, "--manifest-path", str(manifest), "--target-dir", str(target)], check=True)
    return target / "dist/magpie-search-peer"


class IndexStore:
    """Builds and stores the indexes of one set of vectors in `folder`."""

    def __init__(self, folder: Path, base: Path, runner: Path | None, threads: int):
        self.folder, self.base, self.runner, self.threads = folder, base, runner, threads

    def _command(self, variant: Variant, *arguments: str) -> list[str]:
        if variant.kind == "magpie":
            return [str(self.runner), *arguments]
        return [sys.executable, str(HERE / "worker.py"), variant.kind, *arguments]

    def index(self, variant: Variant) -> Path:
        name = f"{variant.kind} {variant.name} {json.dumps(variant.build, sort_keys=True)}"
        return self.folder / "".join(c if c.isalnum() else "_" for c in name)

    def build(self, variant: Variant) -> None:
        """Builds the index if it is missing, or, for Magpie, older than the program."""
        index = self.index(variant)
        built_file = index / "built.json"
        program = self.runner if variant.kind == "magpie" else None
        if built_file.exists() and (program is None or program.stat().st_mtime < built_file.stat().st_mtime):
            return
        shutil.rmtree(index, ignore_errors=True)
        index.mkdir(parents=True)
        print(f"building {variant.system}, {variant.name}", flush=True)
        arguments = ["build", str(self.base), str(index), json.dumps(variant.build), str(self.threads)]
        before = _children_cpu_s()
        subprocess.run(self._command(variant, *arguments), check=True, env=_environment(self.threads))
        built = self.built(variant) | {"build_cpu_s": _children_cpu_s() - before}
        built_file.write_text(json.dumps(built))

    def built(self, variant: Variant) -> dict[str, Any]:
        return json.loads((self.index(variant) / "built.json").read_text())

    def fresh(self, variant: Variant, config: Config, queries: Path) -> dict[str, float]:
        """Opening time and memory of a new process, each the lowest of three."""
        command = self._command(variant, "fresh", str(self.index(variant)), str(queries), json.dumps(config))
        runs = [json.loads(subprocess.check_output(command, env=_environment(1))) for _ in range(3)]
        return {name: min(run[name] for run in runs) for name in runs[0]}

    def serve(self, variant: Variant) -> "Server":
        return Server(self._command(variant, "serve", str(self.index(variant))))


class Server:
    """A process with an open index. It is idle between requests, so many can run at a time."""

    def __init__(self, command: list[str]):
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=_environment(1)
        )
        self._read()

    def request(
        self,
        queries: Path,
        count: int,
        config: Config,
        percent: int | None,
        batch: bool = False,
        cpu_time: bool = False,
    ) -> dict[str, Any]:
        request = {"queries": str(queries), "count": count, "config": config, "percent": percent}
        request |= {"batch": batch, "cpu_time": cpu_time}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self._read())

    def _read(self) -> str:
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args} exited with status {self.process.wait()}")
        return line

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _environment(threads: int) -> dict[str, str]:
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")
    return {**os.environ, **{name: str(threads) for name in names}}
