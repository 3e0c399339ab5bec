"""The indexes to build, and the search settings to try with each."""

from dataclasses import dataclass, field
from itertools import product
from typing import Any

Config = dict[str, Any]


@dataclass(frozen=True)
class Variant:
    """One index of a system. A system is represented by the best settings of all its variants."""

    system: str
    name: str
    kind: str
    build: Config
    grid: list[Config]
    # Settings to try with filters; empty if the system has no filters.
    filtered: list[Config] = field(default_factory=list)
    # Settings that are always reported, whatever the tuning chooses.
    always: list[Config] = field(default_factory=list)


MAGPIE = "Magpie"
QDRANT = "qdrant-edge int8"
IVF_PQ = "faiss IVF PQ fast scan"
IVF_RABITQ = "faiss IVF RaBitQ"
HNSW_SQ8 = "faiss HNSW SQ8"
FLAT_PQ = "faiss flat PQ fast scan"
HNSWLIB = "hnswlib f32"
USEARCH_I8 = "usearch i8"
USEARCH_F16 = "usearch f16"

EF = [12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512]
FILTERED_EF = [16, 32, 64, 128, 256, 512, 1024]


def variants(photos: int, dim: int) -> list[Variant]:
    large = photos > 300_000
    codes = f"PQ{dim // 2}x4fs"
    lists = ["IVF4096", "IVF4096_HNSW32"] if large else ["IVF256", "IVF512", "IVF1024"]
    middle = lists[1]
    # Refinement with 16 bits, for recalls that 8 bits do not reach.
    ivf = [f"{name},{codes},Refine(SQ8)" for name in lists] + [f"{middle},{codes},Refine(SQfp16)"]
    if not large:
        ivf.append(f"{middle},{codes}r,Refine(SQ8)")  # Residuals instead of vectors.
    rabitq = [f"{middle},RaBitQfs,Refine(SQ8)", f"{middle},RaBitQfs,Refine(SQfp16)"]
    probes = [8, 16, 24, 32, 48, 64, 96, 128, 192, 256] if large else [4, 8, 12, 16, 24, 32, 48, 64, 96, 128]
    k_factors = [2, 4, 6, 10, 20, 40]
    ivf_grid = _grid(nprobe=probes, k_factor=k_factors)
    ivf_filtered = _grid(nprobe=[32, 128, 512, 2048], k_factor=[4, 10, 30])
    found = [Variant(IVF_PQ, name, "faiss", {"factory": name}, ivf_grid, ivf_filtered) for name in ivf]
    for name in rabitq:
        grid = _grid(nprobe=probes, k_factor=k_factors[1:], qb=[4, 8])
        filtered = _grid(nprobe=[32, 128, 512, 2048], k_factor=[4, 10, 30], qb=[8])
        found.append(Variant(IVF_RABITQ, name, "faiss", {"factory": name}, grid, filtered))
    graphs = [(16, 128)] if large else [(16, 200), (32, 200)]
    for m, construction in graphs:
        build = {"factory": f"HNSW{m}_SQ8", "ef_construction": construction}
        found.append(Variant(HNSW_SQ8, f"M {m}", "faiss", build, _grid(ef=EF), _grid(ef=FILTERED_EF)))
    name = f"{codes},Refine(SQ8)"
    found.append(Variant(FLAT_PQ, name, "faiss", {"factory": name}, _grid(k_factor=[2, 4, 6, 8, 10, 15, 20, 30, 50])))
    for m, construction in graphs:
        build = {"m": m, "ef_construction": construction}
        # Its filter is a Python function that is called for every candidate. With more settings this takes an hour.
        found.append(Variant(HNSWLIB, f"M {m}", "hnswlib", build, _grid(ef=EF), _grid(ef=[16, 64, 256])))
        for system, dtype in [(USEARCH_I8, "i8")] + ([] if large else [(USEARCH_F16, "f16")]):
            build = {"m": m, "ef_construction": construction, "dtype": dtype}
            found.append(Variant(system, f"M {m}", "usearch", build, _grid(ef=EF)))
        build = {"m": m, "ef_construction": construction, "codes": "int8", "quantile": 0.99}
        grid = _grid(ef=EF, oversampling=[None, 1.0, 1.5, 2.0, 3.0])
        filtered = _grid(ef=FILTERED_EF[1:-1], oversampling=[1.5, 3.0], acorn=[False, True])
        found.append(Variant(QDRANT, f"m {m}", "qdrant", build, grid, filtered))
    # With a requested recall, as in apps, and with parameters set by hand, as for the peers.
    by_recall = _grid(recall=[0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 1.0])
    by_hand = _grid(probes=[4, 8, 12, *probes], rerank=[40, 60, 100, 150, 200, 400, 800])
    found.append(Variant(MAGPIE, "shard", "magpie", {}, by_recall + by_hand, by_recall, by_recall))
    return found


def _grid(**choices: list[Any]) -> list[Config]:
    return [dict(zip(choices, values)) for values in product(*choices.values())]


def text(variant: Variant, config: Config) -> str:
    """The settings as text, e.g. `IVF512,PQ64x4fs,Refine(SQ8), nprobe 16, k_factor 10`."""
    return ", ".join([variant.name, *(f"{name} {value}" for name, value in config.items())])
