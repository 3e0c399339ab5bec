"""Calibrated probabilities: the confidence in a search's first listing, and the temperature of a head.

The confidence is a logistic function of three features of the ranked listings; core/engine/src/confidence.rs defines
them and computes the same. A head's temperature divides its logits (Guo et al., "On Calibration of Modern Neural
Networks", 2017).
"""

import numpy as np

KIND = "logistic-1"
LEADING = 10
FEATURES = ("score", "margin", "contrast")
BINS = 10
# L2 regularisation: keeps the weights of strongly correlated features close to each other.
RIDGE = 1e-3


def features(scores: np.ndarray, background: float) -> np.ndarray:
    """Scores of listings [n], n >= 1, in any order -> score, margin, contrast."""
    leading = np.sort(scores)[::-1][:LEADING]
    ranking = np.full(LEADING, min(background, leading[0]))
    ranking[: len(leading)] = leading
    return np.array([ranking[0], ranking[0] - ranking[1], ranking[0] - ranking[1:].mean()])


def logistic(z: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-np.clip(z, -500, 500)))


def fit(x: np.ndarray, right: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, float]:
    """Fits a logistic regression with non-negative weights; x [n, 3], right [n], weight [n] -> weights [3], bias.

    Newton's method. Features with a negative weight are removed one at a time, the most negative first.
    """
    mean, scale = x.mean(0), x.std(0) + 1e-9
    z = np.hstack([(x - mean) / scale, np.ones((len(x), 1))])
    used = list(range(x.shape[1]))
    while True:
        columns = z[:, used + [x.shape[1]]]
        ridge = RIDGE * weight.sum() * np.diag([1.0] * len(used) + [0.0])
        w = np.zeros(columns.shape[1])
        for _ in range(50):
            p = logistic(columns @ w)
            gradient = columns.T @ (weight * (p - right)) + ridge @ w
            hessian = (columns * (weight * p * (1 - p))[:, None]).T @ columns + ridge + 1e-9 * np.eye(len(w))
            step = np.linalg.solve(hessian, gradient)
            w -= step * min(1.0, 5.0 / (np.abs(step).max() + 1e-12))
            if np.abs(step).max() < 1e-9:
                break
        slopes = w[:-1]
        if not (slopes < 0).any():
            break
        used.pop(int(slopes.argmin()))
    weights = np.zeros(x.shape[1])
    weights[used] = slopes / scale[used]
    return weights, float(w[-1] - weights @ mean)


def temperature(logits: np.ndarray, truth: np.ndarray) -> float:
    """The temperature, 0.05 to 20, that maximises the likelihood of the labels [n] given the logits [n, labels]."""

    def loss(log_t: float) -> float:
        scaled = logits / np.exp(log_t)
        scaled = scaled - scaled.max(1, keepdims=True)
        return float((np.log(np.exp(scaled).sum(1)) - scaled[np.arange(len(truth)), truth]).mean())

    # The loss has a single minimum over the temperature, so golden-section search finds it.
    low, high, ratio = np.log(0.05), np.log(20.0), (5**0.5 - 1) / 2
    while high - low > 1e-4:
        a, b = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, b) if loss(a) < loss(b) else (a, high)
    return float(np.exp((low + high) / 2))


def threshold(probability: np.ndarray, right: np.ndarray, precision: float, least: float = 0.5) -> float:
    """The lowest threshold, at least `least`, above which answers reach the precision; 1 if no threshold does."""
    for t in np.arange(least, 1.0, 0.005):
        answered = probability >= t
        if answered.any() and right[answered].mean() >= precision:
            return round(float(t), 3)
    return 1.0


def ece(probability: np.ndarray, right: np.ndarray) -> float:
    """Expected calibration error, with bins of equal width."""
    bins = np.minimum((probability * BINS).astype(int), BINS - 1)
    gaps = [abs((probability[bins == b] - right[bins == b]).sum()) for b in range(BINS)]
    return float(sum(gaps) / max(len(probability), 1))


def auroc(value: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve: the chance that a positive has a higher value than a negative, ties counting half."""
    values = np.sort(value[~positive])
    below, up_to = np.searchsorted(values, value[positive]), np.searchsorted(values, value[positive], side="right")
    return float(((below + up_to) / 2).mean() / len(values))
