"""Runs one Python system in its own process. The Rust runner has the same arguments and output.

    worker.py KIND build BASE.npy FOLDER BUILD_JSON THREADS   builds the index and writes FOLDER/built.json
    worker.py KIND fresh FOLDER QUERIES.npy CONFIG_JSON       opens it, runs ten queries, prints time and memory
    worker.py KIND serve FOLDER                               answers each line of JSON with a line of JSON
"""

import gc
import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from systems.base import System, disk_bytes

KINDS = {
    "faiss": ("systems.faiss_index", "Faiss"),
    "hnswlib": ("systems.hnsw", "Hnswlib"),
    "usearch": ("systems.usearch_index", "Usearch"),
    "qdrant": ("systems.qdrant", "QdrantEdge"),
}


def main() -> None:
    kind, verb, *arguments = sys.argv[1:]
    module, name = KINDS[kind]
    system: System = getattr(importlib.import_module(module), name)()
    match verb:
        case "build":
            _build(system, *arguments)
        case "fresh":
            _fresh(system, *arguments)
        case "serve":
            _serve(system, *arguments)


def _build(system: System, base: str, folder: str, settings: str, threads: str) -> None:
    vectors = np.load(base)
    started = time.perf_counter()
    shared_s = system.build(vectors, Path(folder), json.loads(settings), int(threads))
    built = {
        "build_s": time.perf_counter() - started + shared_s,
        "build_threads": int(threads),
        "index_bytes": system.index_bytes(Path(folder)),
        "disk_bytes": disk_bytes(Path(folder)),
        "photos": len(vectors),
    }
    (Path(folder) / "built.json").write_text(json.dumps(built))


def _fresh(system: System, folder: str, queries: str, config: str) -> None:
    asked = np.array(np.load(queries, mmap_mode="r")[:10])
    before = _rss()
    started = time.perf_counter()
    system.open(Path(folder))
    open_ms = (time.perf_counter() - started) * 1e3
    system.configure(json.loads(config), None)
    system.prepare(asked)
    for at in range(len(asked)):
        system.search(at)
    after = _rss()
    print(json.dumps({"open_ms": open_ms, "rss_mb": after - before, "rss_process_mb": after}))


def _serve(system: System, folder: str) -> None:
    system.open(Path(folder))
    gc.disable()
    print("ready", flush=True)
    for line in sys.stdin:
        try:
            answer = _pass(system, json.loads(line))
        except (NotImplementedError, RuntimeError) as error:
            answer = {"unsupported": str(error)}
        print(json.dumps(answer), flush=True)
        gc.collect()


def _pass(system: System, request: dict[str, Any]) -> dict[str, Any]:
    queries = np.load(request["queries"])[: request["count"]]
    system.configure(request["config"], request["percent"])
    system.prepare(queries)
    nanoseconds, rows = [], []
    clock = time.process_time_ns if request["cpu_time"] else time.perf_counter_ns
    for at in range(len(queries)):
        started = clock()
        found = system.search(at)
        nanoseconds.append(clock() - started)
        rows.append(system.rows(found))
    batch = None
    if request["batch"]:
        try:
            started = time.process_time_ns()
            system.search_batch()
            batch = (time.process_time_ns() - started) / len(queries)
        except NotImplementedError:
            pass
    return {"nanoseconds": nanoseconds, "rows": rows, "batch_nanoseconds": batch}


def _rss() -> float:
    resident = int(Path("/proc/self/statm").read_text().split()[1])
    return resident * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main()
