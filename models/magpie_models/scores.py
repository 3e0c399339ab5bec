"""Retrieval figures on the val split, for tuning. The official test figures come from the data pack's score.py."""

import numpy as np


def hit_at(similarity: np.ndarray, query: np.ndarray, gallery: np.ndarray, k: int) -> float:
    """Share of queries with their own label among the k most similar; similarity [queries, gallery]."""
    order = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    return float((gallery[order] == query[:, None]).any(1).mean())


def val_split_scores(rows: list[dict[str, str]], numbers: np.ndarray, embeddings: np.ndarray) -> dict[str, float]:
    """G1 and C1 as the official tasks define them, but with queries of split val.

    `embeddings` [n, dim] of unit length belong to the manifest rows `numbers` [n]. Grocery: val shop photos against
    the catalogue photos. Clothing: val photos against all clothing photos given, without the same sender's.
    """
    columns = ("set", "split", "domain", "class_id", "coarse", "group")
    of = {name: np.array([rows[i][name] for i in numbers]) for name in columns}
    val = of["split"] == "val"

    shop, catalogue = val & (of["set"] == "grocery"), of["domain"] == "product"
    g1 = embeddings[shop] @ embeddings[catalogue].T
    scores = {
        f"G1 hit@{k}": hit_at(g1, of["class_id"][shop], of["class_id"][catalogue], k) for k in (1, 5)
    }

    clothing = (of["set"] == "clothing") & ~np.isin(of["coarse"], ("Not sure", "Other"))
    query = val & clothing
    c1 = embeddings[query] @ embeddings[clothing].T
    c1[of["group"][query][:, None] == of["group"][clothing][None]] = -np.inf
    scores["C1 hit@1"] = hit_at(c1, of["coarse"][query], of["coarse"][clothing], 1)
    return scores
