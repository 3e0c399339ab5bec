"""Losses: masked targets take no part, equal similarities cost nothing."""

import torch

from magpie_models.data import NO_LABEL
from magpie_models.losses import CosineSoftmax, masked_cross_entropy, similarity_mse


def test_rotated_embeddings_have_no_similarity_loss():
    teacher = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    rotation, _ = torch.linalg.qr(torch.randn(5, 5, generator=torch.Generator().manual_seed(1)))
    assert similarity_mse(3 * teacher @ rotation, teacher) < 1e-10


def test_unlabelled_photos_take_no_part():
    logits = torch.tensor([[2.0, 0.0], [0.0, 9.0]])
    alone = masked_cross_entropy(logits[:1], torch.tensor([0]), 0.0)
    assert torch.equal(masked_cross_entropy(logits, torch.tensor([0, NO_LABEL]), 0.0), alone)
    assert masked_cross_entropy(logits, torch.tensor([NO_LABEL, NO_LABEL]), 0.1) == 0


def test_class_means_are_recognised():
    embeddings = torch.eye(3).repeat(2, 1)
    target = torch.arange(3).repeat(2)
    softmax = CosineSoftmax(3, 3, scale=30.0, smoothing=0.0)
    softmax.start_from_means(embeddings, target)
    assert softmax(embeddings, target) < 1e-6
