"""qdrant-edge: an HNSW graph over int8 codes, with rescoring by the f32 vectors."""

from pathlib import Path
from typing import Any

import numpy as np
import qdrant_edge as qdrant

from .base import K, Config, System, bucket, disk_bytes

SHARD = "shard"
COLUMN = "bucket"


class QdrantEdge(System):
    def build(self, vectors: np.ndarray, folder: Path, settings: Config, threads: int) -> float:
        path = folder / SHARD
        path.mkdir()
        shard = qdrant.EdgeShard.create(str(path), _config(settings, vectors.shape[1], threads))
        for start in range(0, len(vectors), 5_000):
            rows = range(start, min(start + 5_000, len(vectors)))
            points = [qdrant.Point(row, vectors[row].tolist(), {COLUMN: bucket(row)}) for row in rows]
            shard.update(qdrant.UpdateOperation.upsert_points(points))
        shard.update(qdrant.UpdateOperation.create_field_index(COLUMN, qdrant.PayloadSchemaType.Integer))
        shard.optimize()
        shard.flush()
        shard.close()
        return 0.0

    def open(self, folder: Path) -> None:
        self.shard = qdrant.EdgeShard.load(str(folder / SHARD))

    def configure(self, config: Config, percent: int | None) -> None:
        quantization = qdrant.QuantizationSearchParams(
            rescore=config["oversampling"] is not None, oversampling=config["oversampling"]
        )
        acorn = None if percent is None else qdrant.AcornSearchParams(enable=config.get("acorn", False))
        self.parameters = qdrant.SearchParams(hnsw_ef=config["ef"], quantization=quantization, acorn=acorn)
        self.filter = None
        if percent is not None:
            below = qdrant.FieldCondition(COLUMN, range=qdrant.RangeFloat(lt=percent))
            self.filter = qdrant.Filter(must=[below])

    def prepare(self, queries: np.ndarray) -> None:
        self.requests = [
            qdrant.SearchRequest(
                query=qdrant.Query.Nearest(query.tolist()), limit=K, filter=self.filter, params=self.parameters
            )
            for query in queries
        ]
        self.batch = qdrant.QueryBatchRequest(
            [
                qdrant.QueryRequest(
                    query=qdrant.Query.Nearest(query.tolist()), limit=K, filter=self.filter, params=self.parameters
                )
                for query in queries
            ]
        )

    def search(self, at: int) -> list[Any]:
        return self.shard.search(self.requests[at])

    def rows(self, found: list[Any]) -> list[int]:
        return [point.id for point in found]

    def search_batch(self) -> None:
        self.shard.query_batch(self.batch)

    def index_bytes(self, folder: Path) -> int:
        """Excludes the payload, its index, and the empty segment for new points."""
        segments = list((folder / SHARD / "segments").iterdir())
        parts = ("payload_storage", "payload_index")
        return max(disk_bytes(segment) - sum(disk_bytes(segment / part) for part in parts) for segment in segments)


def _config(settings: Config, dim: int, threads: int) -> qdrant.EdgeConfig:
    if settings["codes"] == "int8":
        codes = qdrant.ScalarQuantizationConfig(
            qdrant.ScalarType.Int8, quantile=settings["quantile"], memory=qdrant.Memory.Pinned
        )
    else:
        codes = qdrant.TurboQuantQuantizationConfig(bits=qdrant.TurboQuantBitSize.Bits4, memory=qdrant.Memory.Pinned)
    return qdrant.EdgeConfig(
        vectors=qdrant.EdgeVectorParams(size=dim, distance=qdrant.Distance.Dot),
        hnsw_config=qdrant.HnswIndexConfig(
            m=settings["m"],
            ef_construct=settings["ef_construction"],
            full_scan_threshold=settings.get("full_scan_kb", 10_000),
            max_indexing_threads=threads,
        ),
        quantization_config=codes,
        # A single segment is the best case for a search with one thread.
        optimizers=qdrant.EdgeOptimizersConfig(
            default_segment_number=1, max_segment_size=100_000_000, indexing_threshold=100
        ),
        max_search_threads=1,
        wal_enabled=False,
    )
