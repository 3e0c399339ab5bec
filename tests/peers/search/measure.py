"""Tunes settings on one half of the queries and measures them on the other."""

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import vectors
from servers import IndexStore, Server
from variants import Config, Variant

TARGETS = [0.9, 0.95, 0.96, 0.97, 0.975, 0.98, 0.985, 0.99, 0.995, 0.998]
FILTER_TARGET = 0.98
PERCENTS = [1, 10, 50]
# Rounds measured in wall time, then rounds measured in CPU time.
ROUNDS = (4, 2)
FILTER_ROUNDS = (2, 1)
TUNE_QUERIES = 400
FILTER_QUERIES = 200
ALL = 1_000_000


@dataclass
class Point:
    """One setting of one index, with its measurements; times in microseconds."""

    variant: Variant
    config: Config
    percent: int | None = None
    recall: float = 0.0
    complete: float = 0.0
    p50s: list[float] = field(default_factory=list)
    p99s: list[float] = field(default_factory=list)
    cpu_p99s: list[float] = field(default_factory=list)
    batches: list[float] = field(default_factory=list)

    def add(self, answer: dict[str, Any], truth: np.ndarray, cpu_time: bool = False) -> None:
        times = np.asarray(answer["nanoseconds"]) / 1e3
        p99 = float(np.percentile(times, 99))
        if cpu_time:
            self.cpu_p99s.append(p99)
        else:
            self.p50s.append(float(np.median(times)))
            self.p99s.append(p99)
        if answer["batch_nanoseconds"] is not None:
            self.batches.append(answer["batch_nanoseconds"] / 1e3)
        hits = [len(set(found) & set(true)) for found, true in zip(answer["rows"], truth.tolist())]
        self.recall = sum(hits) / (len(hits) * truth.shape[1])
        self.complete = float(np.mean([len(found) == truth.shape[1] for found in answer["rows"]]))

    # The fastest pass counts, for every system: other work on the machine can only make a pass slower.
    @property
    def single(self) -> float:
        return min(self.p50s)

    @property
    def batch(self) -> float | None:
        return min(self.batches) if self.batches else None

    @property
    def p50(self) -> float:
        """Time per query, one at a time or in a batch, whichever is lower: excludes the overhead of Python calls."""
        return self.single if self.batch is None else min(self.single, self.batch)

    @property
    def p99(self) -> float:
        return min(self.p99s)

    @property
    def cpu_p99(self) -> float:
        return min(self.cpu_p99s)


class Bench:
    def __init__(self, store: IndexStore, base: Path, tune: Path, test: Path):
        self.store, self.base, self.tune_queries, self.test_queries = store, base, tune, test
        self.photos = len(np.load(base, mmap_mode="r"))
        self.servers: dict[str, Server] = {}

    def tune(self, variants: list[Variant]) -> list[Point]:
        """Chooses, for each system and recall target, the fastest setting that reached the target."""
        truth = vectors.exact(self.base, self.tune_queries, None, "all")
        tried: dict[str, list[Point]] = {}
        for variant in variants:
            for config in variant.grid:
                point = self._try(variant, config, None, TUNE_QUERIES, truth)
                if point is not None:
                    tried.setdefault(variant.system, []).append(point)
            best = max(tried[variant.system], key=lambda point: point.recall)
            print(f"tuned {variant.system}, {variant.name}: best recall {best.recall:.4f}", flush=True)
        chosen = [Point(point.variant, point.config) for points in tried.values() for point in _frontier(points)]
        always = [Point(variant, config) for variant in variants for config in variant.always]
        return chosen + [point for point in always if point not in chosen]

    def tune_filters(self, variants: list[Variant]) -> list[Point]:
        """Chooses, for each system and filter, the fastest setting that reached the target, or else the best recall."""
        chosen = []
        for percent in PERCENTS:
            truth = self._truth(self.tune_queries, percent)
            tried: dict[str, list[Point]] = {}
            for variant in variants:
                for config in variant.filtered:
                    point = self._try(variant, config, percent, FILTER_QUERIES, truth)
                    if point is not None:
                        tried.setdefault(variant.system, []).append(point)
            for points in tried.values():
                enough = [point for point in points if point.recall >= FILTER_TARGET]
                best = min(enough, key=lambda p: p.p50) if enough else max(points, key=lambda p: p.recall)
                chosen.append(Point(best.variant, best.config, percent))
            print(f"tuned for a filter of {percent} %", flush=True)
        return chosen

    def measure(self, points: list[Point], rounds: tuple[int, int], count: int) -> None:
        """Measures a pass of every setting in each round, in a new order each time."""
        order = random.Random(1)
        for number in range(sum(rounds)):
            cpu_time = number >= rounds[0]
            for point in order.sample(points, len(points)):
                server = self._server(point.variant)
                truth = self._truth(self.test_queries, point.percent)[:count]
                batch = point.percent is None and point.variant.kind != "magpie" and not cpu_time
                answer = server.request(self.test_queries, count, point.config, point.percent, batch, cpu_time)
                point.add(answer, truth, cpu_time)
            print(f"round {number + 1} of {sum(rounds)}", flush=True)

    def close(self) -> None:
        for server in self.servers.values():
            server.close()

    def _try(
        self, variant: Variant, config: Config, percent: int | None, count: int, truth: np.ndarray
    ) -> Point | None:
        answer = self._server(variant).request(self.tune_queries, count, config, percent)
        if "unsupported" in answer:
            return None
        point = Point(variant, config, percent)
        point.add(answer, truth[:count])
        return point

    def _truth(self, queries: Path, percent: int | None) -> np.ndarray:
        allowed = None if percent is None else np.arange(self.photos) % 100 < percent
        return vectors.exact(self.base, queries, allowed, "all" if percent is None else str(percent))

    def _server(self, variant: Variant) -> Server:
        index = str(self.store.index(variant))
        if index not in self.servers:
            self.servers[index] = self.store.serve(variant)
        return self.servers[index]


def _frontier(points: list[Point]) -> list[Point]:
    chosen: list[Point] = []
    for target in TARGETS:
        enough = [point for point in points if point.recall >= target]
        if enough:
            best = min(enough, key=lambda point: point.p50)
            if best not in chosen:
                chosen.append(best)
    highest = max(points, key=lambda point: (point.recall, -point.p50))
    return chosen if highest in chosen else [*chosen, highest]
