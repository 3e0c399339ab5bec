"""Fits the attribute heads on the features of a finished backbone, which no longer changes.

A head is a linear map from the pooled features to its labels: multinomial logistic regression over the training photos
of all data sets. A softmax has to give its labels something even for a thing of a kind that it has never seen. So the
photos of a data set that has no label at all for a head are in its training too, with the target that every label is as
likely (Hendrycks et al., "Deep Anomaly Detection with Outlier Exposure", 2019): a head that knows the materials of
groceries then stays below its threshold for a chair.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from .data import HEADS, NO_LABEL, Labels

# L2 penalty, of standardised features; iterations of L-BFGS; weight of the photos that have no label, all together.
PENALTY, ITERATIONS, OUTSIDE_WEIGHT = 3e-4, 120, 0.3


@dataclass(frozen=True)
class Described:
    """Training photos of a data set: pooled features [N, F], and the label of each row `rows` [N] in `labels`."""

    features: np.ndarray
    labels: Labels
    rows: np.ndarray


def fit_heads(sets: list[Described]) -> dict[str, tuple[list[str], np.ndarray, np.ndarray]]:
    """Labels, weight [labels, F] and bias [labels] of each head that has at least two labels."""
    features = np.concatenate([s.features for s in sets]).astype(np.float32)
    result = {}
    for head in HEADS:
        names = sets[0].labels.names[head]
        if len(names) < 2:
            continue
        target = np.concatenate([s.labels.numbers[head][s.rows] for s in sets])
        # A photo without a label in a set that has the task may show any of the labels, so it says nothing.
        outside = np.concatenate([np.full(len(s.rows), (s.labels.numbers[head] == NO_LABEL).all()) for s in sets])
        result[head] = (names, *fit(features, target, outside, len(names)))
    return result


def fit(features: np.ndarray, target: np.ndarray, outside: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Logistic regression; target [N] with NO_LABEL, `outside` [N] marks photos for which no label is right."""
    mean, scale = features.mean(0), features.std(0) + 1e-3
    used = (target != NO_LABEL) | outside
    x = torch.from_numpy((features[used] - mean) / scale)
    y, apart = torch.from_numpy(target[used]), torch.from_numpy(outside[used])
    weight = torch.zeros(classes, x.shape[1], requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=ITERATIONS, history_size=8, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        logits = x @ weight.T + bias
        total = F.cross_entropy(logits[~apart], y[~apart]) + PENALTY * weight.square().sum()
        if apart.any():
            # Cross-entropy against the uniform distribution.
            total = total - OUTSIDE_WEIGHT * F.log_softmax(logits[apart], 1).mean()
        total.backward()
        return total

    optimiser.step(loss)
    w = (weight.detach().numpy() / scale).astype(np.float32)
    return w, bias.detach().numpy() - w @ mean
