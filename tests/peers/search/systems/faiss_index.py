"""faiss: any index that its factory can make."""

import time
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from .base import K, Config, System, bucket

FILE = "index.faiss"
TRAINING = 163_840  # 40 training vectors per list, with 4096 lists


class Faiss(System):
    def build(self, vectors: np.ndarray, folder: Path, settings: Config, threads: int) -> float:
        faiss.omp_set_num_threads(threads)
        # L2 and inner product rank unit vectors alike, but not their codes: with L2, the part of a code's error along
        # the vector cancels. SQ8 reaches a recall of 0.95 with inner product and 0.98 with L2.
        index = faiss.index_factory(vectors.shape[1], settings["factory"], faiss.METRIC_L2)
        hnsw = _hnsw(index)
        if hnsw is not None:
            hnsw.efConstruction = settings["ef_construction"]
        sample = np.ascontiguousarray(vectors[:: max(1, len(vectors) // TRAINING)])
        shared_s, ivf = 0.0, _ivf(index)
        if ivf is not None:
            centroids, shared_s = _centroids(sample, ivf.nlist, folder.parent)
            faiss.downcast_index(ivf.quantizer).add(centroids)
        index.train(sample)
        for start in range(0, len(vectors), 100_000):
            index.add(np.ascontiguousarray(vectors[start : start + 100_000]))
        faiss.write_index(index, str(folder / FILE))
        return shared_s

    def open(self, folder: Path) -> None:
        faiss.omp_set_num_threads(1)
        try:
            self.index = faiss.read_index(str(folder / FILE), faiss.IO_FLAG_MMAP_IFC)
        except RuntimeError:  # Some kinds of index cannot be memory-mapped.
            self.index = faiss.read_index(str(folder / FILE))
        self.distances = np.empty(K, np.float32)
        self.labels = np.empty(K, np.int64)
        self.outputs = faiss.swig_ptr(self.distances), faiss.swig_ptr(self.labels)

    def configure(self, config: Config, percent: int | None) -> None:
        if "nprobe" in config:
            _ivf(self.index).nprobe = config["nprobe"]
        if "qb" in config:
            _ivf(self.index).qb = config["qb"]
        if "k_factor" in config:
            self.index.k_factor = config["k_factor"]
        if "ef" in config:
            _hnsw(self.index).efSearch = config["ef"]
        self.parameters = None if percent is None else self._filtered(config, percent)

    def _filtered(self, config: Config, percent: int) -> Any:
        # Not timed, although Magpie's evaluation of the filter is: an advantage for faiss.
        allowed = bucket(np.arange(self.index.ntotal)) < percent
        self.bitmap = np.packbits(allowed, bitorder="little")
        self.selector = faiss.IDSelectorBitmap(self.bitmap)
        if "ef" in config:
            return faiss.SearchParametersHNSW(efSearch=config["ef"], sel=self.selector)
        if "qb" in config:
            self.inner = faiss.IVFRaBitQSearchParameters(nprobe=config["nprobe"], sel=self.selector, qb=config["qb"])
        else:
            self.inner = faiss.SearchParametersIVF(nprobe=config["nprobe"], sel=self.selector)
        return faiss.IndexRefineSearchParameters(k_factor=config["k_factor"], base_index_params=self.inner)

    def prepare(self, queries: np.ndarray) -> None:
        self.queries = queries
        self.pointers = [faiss.swig_ptr(query) for query in queries]

    def search(self, at: int) -> np.ndarray:
        # The call below Python's argument checks, as close to C++ as the wheel allows.
        self.index.search_c(1, self.pointers[at], K, *self.outputs, self.parameters)
        return self.labels

    def rows(self, found: np.ndarray) -> list[int]:
        return [row for row in found.tolist() if row >= 0]

    def search_batch(self) -> None:
        self.index.search(self.queries, K, params=self.parameters)


def _centroids(sample: np.ndarray, count: int, folder: Path) -> tuple[np.ndarray, float]:
    """The list centroids, shared by all indexes with this many lists, and the seconds they took, 0 if computed now."""
    cached = folder / f"centroids_{count}.npz"
    if cached.exists():
        with np.load(cached) as stored:
            return stored["centroids"], float(stored["seconds"])
    started = time.perf_counter()
    clustering = faiss.Kmeans(sample.shape[1], count, niter=10, seed=20261122, max_points_per_centroid=10_000)
    clustering.train(sample)
    np.savez(cached, centroids=clustering.centroids, seconds=time.perf_counter() - started)
    return clustering.centroids, 0.0


def _ivf(index: faiss.Index) -> faiss.IndexIVF | None:
    try:
        return faiss.downcast_index(faiss.extract_index_ivf(index))
    except RuntimeError:
        return None


def _hnsw(index: faiss.Index) -> Any:
    return getattr(faiss.downcast_index(index), "hnsw", None)
