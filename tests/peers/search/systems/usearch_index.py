"""usearch: an HNSW graph over i8 or f16 vectors, memory-mapped."""

from pathlib import Path

import numpy as np
from usearch.index import BatchMatches, Index, Matches

from .base import K, Config, System

FILE = "index.usearch"


class Usearch(System):
    """usearch's own i8 conversion maps -1..1 to -127..127, of which the coordinates of 128-d unit vectors use only a
    few steps. So i8 indexes get integers that use the whole range: all coordinates are scaled by one factor, and the
    few largest are clipped.
    """

    def build(self, vectors: np.ndarray, folder: Path, settings: Config, threads: int) -> float:
        index = Index(
            ndim=vectors.shape[1],
            metric="cos",
            dtype=settings["dtype"],
            connectivity=settings["m"],
            expansion_add=settings["ef_construction"],
        )
        limit = float(np.quantile(np.abs(vectors[:: max(1, len(vectors) // 20_000)]), 0.9999))
        for start in range(0, len(vectors), 50_000):
            part = np.ascontiguousarray(vectors[start : start + 50_000])
            index.add(np.arange(start, start + len(part)), _numbers(part, settings["dtype"], limit), threads=threads)
        index.save(str(folder / FILE))
        np.save(folder / "limit.npy", limit)
        return 0.0

    def open(self, folder: Path) -> None:
        self.index = Index.restore(str(folder / FILE), view=True)
        self.limit = float(np.load(folder / "limit.npy"))

    def configure(self, config: Config, percent: int | None) -> None:
        if percent is not None:
            raise NotImplementedError("usearch's Python package has no filters")
        self.index.expansion_search = config["ef"]

    def prepare(self, queries: np.ndarray) -> None:
        kind = "i8" if "I8" in str(self.index.dtype).upper() else "f16"
        self.queries = _numbers(queries, kind, self.limit)

    def search(self, at: int) -> Matches | BatchMatches:
        return self.index.search(self.queries[at], K, threads=1)

    def rows(self, found: Matches | BatchMatches) -> list[int]:
        return found.keys.tolist()

    def search_batch(self) -> None:
        self.index.search(self.queries, K, threads=1)


def _numbers(vectors: np.ndarray, dtype: str, limit: float) -> np.ndarray:
    if dtype == "i8":
        return np.clip(np.rint(vectors * (127 / limit)), -127, 127).astype(np.int8)
    return vectors.astype(np.float16)
