"""The vectors of the bench, made once and cached: two catalogues, tuning and reported queries, exact ground truth."""

import hashlib
import time
from pathlib import Path

import numpy as np

SIZES = {"100k": 100_000, "1m": 1_000_000}
SEED = 20261122
NEIGHBOURS = 10


def make(cache: Path, data: Path, photo_set: str, size: str, processes: int) -> tuple[Path, Path, Path]:
    """Makes the vectors. Returns the paths of the catalogue, the tuning queries and the reported queries."""
    cache.mkdir(parents=True, exist_ok=True)
    base, tune, test = cache / f"base_{size}.npy", cache / "queries_tune.npy", cache / "queries_test.npy"
    if not all(path.exists() for path in (base, tune, test)):
        views, photo, kind = _real(cache, data, photo_set, processes)
        rng = np.random.default_rng(SEED)
        count = SIZES[size]
        vectors = views[rng.permutation(len(views))[:count]]
        if count > len(views):
            made = enlarge(views, photo, kind, count - len(views), rng)
            vectors = np.concatenate([views, made])[rng.permutation(count)]
        _save(base, vectors)
    return base, tune, test


def normalised_copies(cache: Path, base: Path, queries: Path) -> tuple[Path, Path, Path]:
    """Scales the user's own vectors to unit length; every other query is for tuning. Returns paths like `make`."""
    cache.mkdir(parents=True, exist_ok=True)
    catalogue, asked = np.load(base), np.load(queries)
    digest = hashlib.sha256(catalogue.tobytes() + asked.tobytes()).hexdigest()[:16]
    paths = [cache / f"{name}_{digest}.npy" for name in ("base", "queries_tune", "queries_test")]
    for path, rows in zip(paths, (catalogue, asked[::2], asked[1::2])):
        if not path.exists():
            _save(path, rows / np.linalg.norm(rows, axis=1, keepdims=True))
    return paths[0], paths[1], paths[2]


def _real(cache: Path, data: Path, photo_set: str, processes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Embeddings of all catalogue views, with the photo and the kind of object of each view."""
    real = cache / "real.npz"
    if not real.exists():
        import views

        found = views.photos(data, photo_set)
        started = time.monotonic()
        embeddings = []
        for count, embedded in enumerate(views.embed_views(found, processes), start=1):
            embeddings.append(embedded)
            if count % 1000 == 0:
                print(f"{count} of {len(found)} photos, {time.monotonic() - started:.0f} s", flush=True)
        kinds = sorted({photo.kind for photo in found})
        catalogue = [at for at, photo in enumerate(found) if not photo.query]
        _save_queries(cache, [embeddings[at] for at, photo in enumerate(found) if photo.query])
        np.savez(
            real,
            views=np.concatenate([embeddings[at] for at in catalogue]),
            photo=np.concatenate([np.full(len(embeddings[at]), at) for at in catalogue]),
            kind=np.concatenate([np.full(len(embeddings[at]), kinds.index(found[at].kind)) for at in catalogue]),
        )
    with np.load(real) as stored:
        return stored["views"], stored["photo"], stored["kind"]


def _save_queries(cache: Path, of_photos: list[np.ndarray]) -> None:
    """Splits the queries into halves by photo, so that all views of a photo are in the same half."""
    order = np.random.default_rng(SEED).permutation(len(of_photos))
    half = len(order) // 2
    _save(cache / "queries_tune.npy", np.concatenate([of_photos[at] for at in order[:half]]))
    _save(cache / "queries_test.npy", np.concatenate([of_photos[at] for at in order[half:]]))


def enlarge(
    views: np.ndarray, photo: np.ndarray, kind: np.ndarray, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Makes new vectors between near neighbours of one kind, with the covariance of the real ones.

    Let a be a view and b one of the nearest views of the same kind but of another photo. If both have the local
    covariance S, then (1 - t) a + t b has ((1 - t)^2 + t^2) S, which is too small by 2 t (1 - t) S. The differences
    b - a, measured for each kind, have 2 S, so adding noise of covariance t (1 - t) cov(b - a) restores S. The result
    is scaled to unit length.
    """
    parts = []
    kinds, sizes = np.unique(kind, return_counts=True)
    shares = np.floor(np.cumsum(sizes) / len(views) * count).astype(int)
    for kind_number, share in zip(kinds, np.diff(shares, prepend=0)):
        rows = np.flatnonzero(kind == kind_number)
        neighbours = _neighbours(views[rows], photo[rows])
        has_neighbours = neighbours[:, 0] >= 0
        if not has_neighbours.any():  # A kind with a single photo has no neighbours to interpolate with.
            rows_of_all = rng.integers(len(views), size=share)
            parts.append(views[rows_of_all])
            continue
        a = np.flatnonzero(has_neighbours)[rng.integers(has_neighbours.sum(), size=share)]
        column = rng.integers(np.maximum((neighbours[a] >= 0).sum(axis=1), 1))
        b = neighbours[a, column]
        with_neighbours = np.flatnonzero(has_neighbours)
        first = views[rows[neighbours[with_neighbours, rng.integers((neighbours[with_neighbours] >= 0).sum(axis=1))]]]
        differences = first - views[rows[with_neighbours]]
        values, directions = np.linalg.eigh(differences.T @ differences / len(differences))
        t = rng.uniform(0.1, 0.9, (share, 1)).astype(np.float32)
        spread = (directions * np.sqrt(np.maximum(values, 0))).astype(np.float32)
        noise = rng.standard_normal((share, views.shape[1]), np.float32) @ spread.T
        parts.append((1 - t) * views[rows[a]] + t * views[rows[b]] + np.sqrt(t * (1 - t)) * noise)
    vectors = np.concatenate(parts)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _neighbours(vectors: np.ndarray, photo: np.ndarray) -> np.ndarray:
    """Rows of the nearest views of other photos, [n, NEIGHBOURS], padded with -1."""
    neighbours = np.full((len(vectors), NEIGHBOURS), -1)
    others = len(vectors) - np.unique(photo, return_counts=True)[1].max()
    count = min(NEIGHBOURS, others)
    if count == 0:
        return neighbours
    for start in range(0, len(vectors), 1024):
        part = slice(start, start + 1024)
        scores = vectors[part] @ vectors.T
        scores[photo[part, None] == photo[None, :]] = -2
        neighbours[part, :count] = np.argpartition(-scores, count - 1, axis=1)[:, :count]
    return neighbours


def exact(base: Path, queries: Path, allowed: np.ndarray | None, name: str, k: int = 10) -> np.ndarray:
    """Ground truth: rows of the k nearest by exact f32, cached next to the queries. `allowed` masks the rows."""
    cached = queries.with_name(f"truth_{queries.stem}_{base.stem}_{name}.npy")
    if cached.exists() and cached.stat().st_mtime > base.stat().st_mtime:
        return np.load(cached)
    vectors, asked = np.load(base, mmap_mode="r"), np.load(queries)
    scores = np.full((len(asked), 0), 0, np.float32)
    rows = np.zeros((len(asked), 0), np.int64)
    for start in range(0, len(vectors), 50_000):
        part = asked @ np.ascontiguousarray(vectors[start : start + 50_000]).T
        if allowed is not None:
            part[:, ~allowed[start : start + 50_000]] = -np.inf
        best = np.argpartition(-part, k, axis=1)[:, :k]
        scores = np.concatenate([scores, np.take_along_axis(part, best, axis=1)], axis=1)
        rows = np.concatenate([rows, best + start], axis=1)
        keep = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        scores, rows = np.take_along_axis(scores, keep, axis=1), np.take_along_axis(rows, keep, axis=1)
    np.save(cached, rows)
    return rows


def _save(path: Path, vectors: np.ndarray) -> None:
    # Renamed when complete, so that a reader never sees an incomplete file.
    partial = path.with_name(f"partial_{path.name}")
    np.save(partial, np.ascontiguousarray(vectors, np.float32))
    partial.rename(path)
