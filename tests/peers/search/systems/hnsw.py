"""hnswlib: an HNSW graph over f32 vectors."""

from pathlib import Path

import hnswlib
import numpy as np

from .base import K, Config, System, bucket

FILE = "index.hnsw"
DIM = "dim.npy"


class Hnswlib(System):
    def build(self, vectors: np.ndarray, folder: Path, settings: Config, threads: int) -> float:
        index = hnswlib.Index("ip", vectors.shape[1])
        index.init_index(len(vectors), ef_construction=settings["ef_construction"], M=settings["m"], random_seed=1)
        index.add_items(vectors, num_threads=threads)
        index.save_index(str(folder / FILE))
        np.save(folder / DIM, vectors.shape[1])
        return 0.0

    def open(self, folder: Path) -> None:
        self.index = hnswlib.Index("ip", int(np.load(folder / DIM)))
        self.index.load_index(str(folder / FILE))
        self.index.set_num_threads(1)

    def configure(self, config: Config, percent: int | None) -> None:
        self.index.set_ef(config["ef"])
        self.filter = None if percent is None else (lambda row: bucket(row) < percent)

    def prepare(self, queries: np.ndarray) -> None:
        self.queries = queries
        self.singles = [queries[at : at + 1] for at in range(len(queries))]

    def search(self, at: int) -> np.ndarray:
        labels, _ = self.index.knn_query(self.singles[at], K, 1, self.filter)
        return labels

    def rows(self, found: np.ndarray) -> list[int]:
        return found[0].tolist()

    def search_batch(self) -> None:
        self.index.knn_query(self.queries, K, 1, self.filter)
