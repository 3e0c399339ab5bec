"""Losses: masked targets are ignored, equal similarities have no loss, and values match the published formulas."""

import math

import pytest
import torch
import torch.nn.functional as F

from magpie_models.data import NO_LABEL
from magpie_models.losses import CosineSoftmax, masked_cross_entropy, similarity_mse, supervised_contrastive, triplet


def some(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def test_rotated_embeddings_have_no_similarity_loss():
    teacher = some(6, 5)
    rotation, _ = torch.linalg.qr(some(5, 5))
    assert similarity_mse(3 * teacher @ rotation, teacher) < 1e-10


def test_unlabelled_photos_are_ignored():
    logits = torch.tensor([[2.0, 0.0], [0.0, 9.0]])
    alone = masked_cross_entropy(logits[:1], torch.tensor([0]), 0.0)
    assert torch.equal(masked_cross_entropy(logits, torch.tensor([0, NO_LABEL]), 0.0), alone)
    assert masked_cross_entropy(logits, torch.tensor([NO_LABEL, NO_LABEL]), 0.1) == 0


def test_weights_of_photos():
    logits, target = some(3, 4), torch.tensor([0, 1, 2])
    without = masked_cross_entropy(logits, target, 0.1, torch.tensor([1.0, 1.0, 0.0]))
    torch.testing.assert_close(without, masked_cross_entropy(logits[:2], target[:2], 0.1))
    each = F.cross_entropy(logits, target, label_smoothing=0.1, reduction="none")
    scaled = masked_cross_entropy(logits, target, 0.1, torch.tensor([1.0, 1.0, 0.5]))
    torch.testing.assert_close(scaled, (each[0] + each[1] + each[2] / 2) / 2.5)


def test_class_means_classify_their_own_embeddings():
    embeddings = torch.eye(3).repeat(2, 1)
    target = torch.arange(3).repeat(2)
    softmax = CosineSoftmax(3, 3, scale=30.0, smoothing=0.0)
    softmax.start_from_means(embeddings, target)
    assert softmax(embeddings, target) < 1e-6


def test_supervised_contrastive_by_hand():
    embedding, target, t = some(5, 4), torch.tensor([0, 0, 1, 0, NO_LABEL]), 0.5
    z = F.normalize(embedding[:4])
    expected = []
    for i in (0, 1, 3):
        others = [j for j in range(4) if j != i]
        total = sum(math.exp(z[i] @ z[j] / t) for j in others)
        positives = [j for j in others if target[j] == 0]
        expected.append(-sum(math.log(math.exp(z[i] @ z[j] / t) / total) for j in positives) / len(positives))
    assert supervised_contrastive(embedding, target, t).item() == pytest.approx(sum(expected) / 3, rel=1e-5)


@pytest.mark.parametrize("target", [[NO_LABEL] * 4, [0, NO_LABEL, NO_LABEL, NO_LABEL], [0, 1, 2, 3], [1, 1, 1, 1]])
@pytest.mark.parametrize("loss", ["contrastive", "hard", "semi-hard"])
def test_batches_without_pairs_have_no_loss_and_finite_gradients(loss, target):
    embedding = some(4, 3).requires_grad_()
    if loss == "contrastive":
        value = supervised_contrastive(embedding, torch.tensor(target))
    else:
        value = triplet(embedding, torch.tensor(target), 0.2, loss)
    value.backward()
    if target != [1, 1, 1, 1]:
        assert value == 0
    assert embedding.grad.isfinite().all() and value.isfinite()


def unit(*degrees: float) -> torch.Tensor:
    return torch.tensor([[math.cos(math.radians(d)), math.sin(math.radians(d))] for d in degrees])


def chord(degrees: float) -> float:
    return 2 * math.sin(math.radians(degrees) / 2)


def test_hard_triplets_by_hand():
    embedding, target = unit(0, 30, 50, 140), torch.tensor([0, 0, 1, 1])
    terms = [chord(30) - chord(50), chord(30) - chord(20), chord(90) - chord(20), chord(90) - chord(110)]
    expected = sum(max(0.0, term + 0.2) for term in terms) / 4
    assert triplet(embedding, target, 0.2, "hard").item() == pytest.approx(expected, rel=1e-4)


def test_semi_hard_negatives_are_farther_than_the_positive():
    embedding, target = unit(0, 30, 50, 140), torch.tensor([0, 0, 1, 1])
    # For the anchor at 30 degrees, the negative 20 away is nearer than the positive, so the one 110 away is taken. For
    # the anchor at 50, no negative is farther away than the positive, 90, so the farthest negative is taken.
    terms = [chord(30) - chord(50), chord(30) - chord(110), chord(90) - chord(50), chord(90) - chord(110)]
    expected = sum(max(0.0, term + 0.2) for term in terms) / 4
    assert triplet(embedding, target, 0.2, "semi-hard").item() == pytest.approx(expected, rel=1e-4)


def test_triplets_pull_and_push():
    embedding, target = some(8, 4).requires_grad_(), torch.tensor([0, 0, 1, 1, 2, 2, NO_LABEL, NO_LABEL])
    for negatives in ("hard", "semi-hard"):
        before = triplet(embedding, target, 0.5, negatives)
        (gradient,) = torch.autograd.grad(before, embedding)
        assert gradient[6:].abs().max() == 0
        assert triplet(embedding - 0.05 * gradient, target, 0.5, negatives) < before
