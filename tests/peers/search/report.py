"""Reports: the tables, the rows for the JSON file, and the ratios to the project's targets."""

from collections.abc import Callable
from typing import Any

from measure import Point
from servers import IndexStore
from variants import FLAT_PQ, HNSW_SQ8, IVF_PQ, IVF_RABITQ, MAGPIE, QDRANT, text

Row = dict[str, Any]
FAISS = [IVF_PQ, IVF_RABITQ, HNSW_SQ8, FLAT_PQ]
COLUMNS = [
    ("system", "system"),
    ("settings", "config"),
    ("filter %", "filter_percent"),
    ("recall@10", "recall_at_10"),
    ("p50 us", "p50_us"),
    ("single", "single_p50_us"),
    ("batch", "batch_us"),
    ("p99 us", "p99_us"),
    ("p99 CPU", "p99_cpu_us"),
    ("B/photo", "bytes_per_photo"),
    ("open ms", "open_ms"),
    ("RSS MB", "rss_mb"),
    ("build s", "build_s"),
    ("build CPU s", "build_cpu_s"),
]


def rows(points: list[Point], size: str, store: IndexStore, fresh: Callable[[Point], dict[str, float]]) -> list[Row]:
    found = []
    for point in sorted(points, key=lambda p: (p.percent or 0, p.variant.system != MAGPIE, p.variant.system, p.recall)):
        built = store.built(point.variant)
        opened = fresh(point)
        found.append(
            {
                "system": point.variant.system,
                "config": text(point.variant, point.config),
                "size": size,
                "recall_at_10": round(point.recall, 4),
                "p50_us": round(point.p50, 1),
                "p99_us": round(point.p99, 1),
                "bytes_per_photo": round(built["index_bytes"] / built["photos"], 1),
                "open_ms": round(opened["open_ms"], 2),
                "rss_mb": round(opened["rss_mb"], 1),
                "build_s": round(built["build_s"], 1),
                "single_p50_us": round(point.single, 1),
                "batch_us": None if point.batch is None else round(point.batch, 1),
                "p99_cpu_us": round(point.cpu_p99, 1),
                "filter_percent": point.percent,
                "all_k_found": round(point.complete, 4),
                "disk_bytes_per_photo": round(built["disk_bytes"] / built["photos"], 1),
                "rss_process_mb": round(opened["rss_process_mb"], 1),
                "build_threads": built["build_threads"],
                "build_cpu_s": round(built["build_cpu_s"], 1) if "build_cpu_s" in built else None,
            }
        )
    return found


def table(found: list[Row]) -> str:
    columns = [column for column in COLUMNS if any(row[column[1]] is not None for row in found)]
    lines = [" | ".join(title for title, _ in columns), " | ".join("---" for _ in columns)]
    for row in found:
        lines.append(" | ".join("" if row[key] is None else str(row[key]) for _, key in columns))
    return "\n".join(f"| {line} |" for line in lines)


def ratios(found: list[Row]) -> str:
    """Compares Magpie with every peer at equal recall, both with their fastest setting that reaches it."""
    open_rows = [row for row in found if row["filter_percent"] is None]
    systems = sorted({row["system"] for row in open_rows} - {MAGPIE})
    lines = ["| recall@10 at least | peer | peer's p50 us | Magpie's p50 us | time ratio | ratio, single queries |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    for target in (0.95, 0.97, 0.98, 0.99):
        for name, members in [("best faiss", FAISS), *((system, [system]) for system in systems)]:
            ours, theirs = _fastest(open_rows, [MAGPIE], target), _fastest(open_rows, members, target)
            single = _fastest(open_rows, members, target, "single_p50_us")
            if ours is None and theirs is None:
                continue
            cells = [_us(theirs), _us(ours), "", ""]
            if ours and theirs and single:
                cells[2] = f"{ours['p50_us'] / theirs['p50_us']:.2f}"
                cells[3] = f"{ours['p50_us'] / single['single_p50_us']:.2f}"
            lines.append(" | ".join([f"| {target}", name, *cells]) + " |")
    return "\n".join(lines)


def promises(found: list[Row]) -> str:
    """The project's published figures, as far as this run measured them."""
    open_rows = [row for row in found if row["filter_percent"] is None]
    ours = [row for row in open_rows if row["system"] == MAGPIE]
    if not ours:
        return "Magpie was not in this run."
    lines = []
    for target in (0.97, 0.98):
        lines.append(f"p50 at recall@10 >= {target}: {_us(_fastest(open_rows, [MAGPIE], target))} us")
    lines.append(f"best recall@10: {max(row['recall_at_10'] for row in ours)}")
    lines.append(f"bytes a photo without listings and filter columns: {ours[0]['bytes_per_photo']}")
    for target, name, members in ((0.97, "the best faiss", FAISS), (0.98, QDRANT, [QDRANT])):
        mine, theirs = _fastest(open_rows, [MAGPIE], target), _fastest(open_rows, members, target)
        if mine and theirs:
            time = mine["p50_us"] / theirs["p50_us"]
            disk = mine["bytes_per_photo"] / theirs["bytes_per_photo"]
            whole = mine["disk_bytes_per_photo"] / theirs["disk_bytes_per_photo"]
            lines.append(
                f"against {name} at recall {target} ({theirs['config']}): time ratio {time:.2f}, "
                f"disk ratio {disk:.2f} (index only), {whole:.2f} (all files)"
            )
    for row in found:
        if row["system"] == MAGPIE and row["filter_percent"] is not None:
            lines.append(
                f"filter {row['filter_percent']} %: recall@10 {row['recall_at_10']}, {row['p50_us']} us, "
                f"k results for {row['all_k_found']:.2%} of the queries"
            )
    # With the core's default recall.
    opened = next((row for row in ours if row["config"].endswith("recall 0.98")), ours[0])
    lines.append(
        f"open {opened['open_ms']} ms; resident after 10 queries {opened['rss_process_mb']} MB, the whole process"
    )
    return "\n".join(f"- {line}" for line in lines)


def _fastest(found: list[Row], systems: list[str], target: float, key: str = "p50_us") -> Row | None:
    enough = [row for row in found if row["system"] in systems and row["recall_at_10"] >= target]
    return min(enough, key=lambda row: row[key], default=None)


def _us(row: Row | None) -> str:
    return "not reached" if row is None else str(row["p50_us"])
