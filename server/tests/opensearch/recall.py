"""Recall of a server against exact search, on the vectors of `cargo xtask peers search`, one listing per photo.

    python recall.py --base base_100k.npy --queries queries_test.npy --server http://127.0.0.1:8080

Needs NumPy. The listing ids must be row numbers of the base, as in the shard that the peers bench builds.
"""

import argparse
import base64
import json
import struct
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

K = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--queries", type=Path, required=True)
    parser.add_argument("--server", default="http://127.0.0.1:8080")
    parser.add_argument("--count", type=int, default=500, help="number of queries")
    parser.add_argument("--recall", type=float, default=0.98, help="the recall to request")
    parser.add_argument("--column", default="bucket", help="a filter column with the row number modulo 100")
    parser.add_argument("--percent", type=int, help="filter by column < PERCENT")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    base = np.load(options.base, mmap_mode="r")
    every = np.load(options.queries)
    queries = every[:: max(1, len(every) // options.count)][: options.count]
    allowed = np.ones(len(base), bool) if options.percent is None else np.arange(len(base)) % 100 < options.percent
    scores = queries @ np.asarray(base).T
    scores[:, ~allowed] = -2
    truth = np.argpartition(-scores, K, axis=1)[:, :K]
    with urllib.request.urlopen(f"{options.server}/readyz") as ready:
        model = json.load(ready)["model_id"]

    def ask(query: np.ndarray) -> tuple[list[int], list[float], float]:
        scale = np.abs(query).max() / 127
        code = struct.pack("<f", scale) + np.round(query / scale).astype(np.int8).tobytes()
        request = {"model_id": model, "embedding": base64.b64encode(code).decode(), "k": K, "recall": options.recall}
        if options.percent is not None:
            request["filter"] = f"{options.column}<{options.percent}"
        headers = {"content-type": "application/json", "magpie-deadline-ms": "10000"}
        started = time.monotonic()
        post = urllib.request.Request(f"{options.server}/v1/search", json.dumps(request).encode(), headers)
        with urllib.request.urlopen(post) as reply:
            listings = json.load(reply)["listings"]
        return [int(found["id"]) for found in listings], [f["score"] for f in listings], time.monotonic() - started

    with ThreadPoolExecutor(options.threads) as pool:
        answers = list(pool.map(ask, queries))
    hits = [len(set(rows) & set(true)) for (rows, _, _), true in zip(answers, truth.tolist())]
    off = [abs(s - scores[at, row]) for at, (rows, found, _) in enumerate(answers) for row, s in zip(rows, found)]
    times = np.array([taken for _, _, taken in answers]) * 1e3
    print(f"{len(queries)} queries, {sum(allowed)} of {len(base)} photos, requested recall {options.recall}")
    print(f"recall@{K} {np.mean(hits) / K:.4f}   complete {np.mean([len(rows) == K for rows, _, _ in answers]):.3f}")
    print(f"score error {np.mean(off):.5f} on average, {np.max(off):.5f} at most")
    print(f"p50 {np.median(times):.1f} ms, p99 {np.percentile(times, 99):.1f} ms, {options.threads} concurrent queries")


if __name__ == "__main__":
    main()
