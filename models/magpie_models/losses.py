"""Training losses. Targets may contain data.NO_LABEL, which excludes that photo from the term."""

import torch
import torch.nn.functional as F
from torch import nn

from .data import NO_LABEL


def similarity_mse(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Distillation loss: mean squared difference of the two cosine matrices of a batch; both [N, any dimension].

    Tung and Mori, "Similarity-Preserving Knowledge Distillation" (2019), with cosines. Only pairwise similarities are
    distilled, so the embeddings may differ in dimension.
    """
    s, t = F.normalize(student), F.normalize(teacher)
    return F.mse_loss(s @ s.T, t @ t.T)


class TeacherMap(nn.Module):
    """Distillation loss: 1 - cosine between a linear map of the unit embedding and principal components of the teacher's
    features; embedding [N, dim], features [N, F].

    Similarities say which photos are alike; the map asks that the embedding can still tell what the teacher sees, as in
    Romero et al., "FitNets: Hints for Thin Deep Nets" (2015).
    """

    def __init__(self, dim: int, features: int, components: int):
        super().__init__()
        self.linear = nn.Linear(dim, components)
        self.register_buffer("axes", torch.zeros(components, features))

    @torch.no_grad()
    def fit(self, embedding: torch.Tensor, features: torch.Tensor, ridge: float = 0.1) -> None:
        """Sets the components to those of `features`, and the map to the least squares solution."""
        _, _, axes = torch.linalg.svd(features - features.mean(0), full_matrices=False)
        self.axes[: len(axes)] = axes[: len(self.axes)]
        z = torch.cat([F.normalize(embedding), torch.ones(len(embedding), 1)], 1)
        target = F.normalize(features @ self.axes.T)
        solution = torch.linalg.solve(z.T @ z + ridge * torch.eye(z.shape[1]), z.T @ target)
        self.linear.weight.copy_(solution[:-1].T)
        self.linear.bias.copy_(solution[-1])

    def forward(self, embedding: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        told = self.linear(F.normalize(embedding))
        return (1 - F.cosine_similarity(told, features @ self.axes.T)).mean()


class CosineSoftmax(nn.Module):
    """Cosine softmax: cross-entropy over scaled cosines to one learnt direction per class; embedding [N, dim],
    target [N].

    Wang et al., "NormFace: L2 Hypersphere Embedding for Face Verification" (2017), with the smoothing of Szegedy et
    al., "Rethinking the Inception Architecture for Computer Vision" (2016).
    """

    def __init__(self, dim: int, classes: int, scale: float = 14.0, smoothing: float = 0.1):
        super().__init__()
        self.directions = nn.Parameter(torch.randn(classes, dim) / dim**0.5)
        self.scale, self.smoothing = scale, smoothing

    @torch.no_grad()
    def start_from_means(self, embeddings: torch.Tensor, target: torch.Tensor) -> None:
        """Sets each class's direction to the mean of its photos, if any; embeddings [N, dim], target [N]."""
        for c in target.unique().tolist():
            if c == NO_LABEL:
                continue
            self.directions[c] = F.normalize(F.normalize(embeddings[target == c]).mean(0), dim=0)

    def forward(
        self, embedding: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None
    ) -> torch.Tensor:
        logits = self.scale * F.normalize(embedding) @ F.normalize(self.directions).T
        return masked_cross_entropy(logits, target, self.smoothing, weight)


def masked_cross_entropy(
    logits: torch.Tensor, target: torch.Tensor, smoothing: float, weight: torch.Tensor | None = None
) -> torch.Tensor:
    """Mean over the labelled photos, weighted by `weight` [N] (default: 1); 0 if the batch has none."""
    loss = F.cross_entropy(logits, target, ignore_index=NO_LABEL, label_smoothing=smoothing, reduction="none")
    labelled = (target != NO_LABEL).to(logits.dtype)
    if weight is not None:
        labelled = labelled * weight
    # Unlabelled photos have loss 0. The clamp keeps a batch of little total weight from being scaled up.
    return (loss * labelled).sum() / labelled.sum().clamp(min=1)


def supervised_contrastive(embedding: torch.Tensor, target: torch.Tensor, temperature: float = 0.1) -> torch.Tensor:
    """Supervised contrastive loss; embedding [N, dim], target [N].

    Khosla et al., "Supervised Contrastive Learning" (2020), the form with the sum outside the logarithm. Unlabelled
    photos are ignored; the mean is over photos with at least one positive, and 0 if there are none.
    """
    labelled = target != NO_LABEL
    z, target = F.normalize(embedding[labelled]), target[labelled]
    is_self = torch.eye(len(z), dtype=torch.bool)
    positive = (target[:, None] == target[None]) & ~is_self
    logits = (z @ z.T / temperature).masked_fill(is_self, -torch.inf)
    log_probability = logits - torch.logsumexp(logits, 1, keepdim=True) if len(z) else logits
    count = positive.sum(1)
    per_anchor = -log_probability.masked_fill(~positive, 0.0).sum(1) / count.clamp(min=1)
    return per_anchor.sum() / (count > 0).sum().clamp(min=1)


def matching(embedding: torch.Tensor, target: torch.Tensor, is_catalogue: torch.Tensor, scale: float) -> torch.Tensor:
    """Symmetric contrastive loss between shoppers' photos and catalogue photos, with in-batch negatives.

    embedding [N, dim], target [N], is_catalogue [N]. Cross-entropy over scaled cosines between the two domains, in both
    directions, as in Radford et al., "Learning Transferable Visual Models From Natural Language Supervision" (2021).
    Each label has one catalogue photo and one shopper's photo; unlabelled catalogue photos are additional negatives.
    0 if the batch has no labelled shopper's photo.
    """
    shop, catalogue = ~is_catalogue & (target != NO_LABEL), is_catalogue
    if not shop.any():
        return embedding.sum() * 0.0
    z = F.normalize(embedding)
    similarity = scale * z[shop] @ z[catalogue].T
    right = (target[shop][:, None] == target[catalogue][None]).int().argmax(1)
    reverse = similarity.T[right]
    return (F.cross_entropy(similarity, right) + F.cross_entropy(reverse, torch.arange(len(right)))) / 2


def triplet(embedding: torch.Tensor, target: torch.Tensor, margin: float, negatives: str) -> torch.Tensor:
    """Triplet loss: max(0, d(anchor, positive) - d(anchor, negative) + margin), d between unit vectors; target [N].

    Negative mining `hard`: for each anchor, its farthest positive and nearest negative (Hermans et al., "In Defense of
    the Triplet Loss for Person Re-Identification", 2017). `semi-hard`: for each pair of anchor and positive, the
    nearest negative that is farther than the positive, or the farthest negative if there is none (Schroff et al.,
    "FaceNet", 2015). Unlabelled photos are ignored; 0 if the batch has no triplet.
    """
    labelled = target != NO_LABEL
    z, target = F.normalize(embedding[labelled]), target[labelled]
    same = target[:, None] == target[None]
    positive = same & ~torch.eye(len(z), dtype=torch.bool)
    usable = positive.any(1) & ~same.all(1) if len(z) else positive.new_zeros(0)
    if not usable.any():
        return embedding.sum() * 0.0
    # The clamp avoids the infinite gradient of the square root at 0.
    distance = (2 - 2 * z @ z.T).clamp(min=1e-6).sqrt()
    if negatives == "hard":
        farthest = distance.masked_fill(~positive, -1.0).amax(1)
        nearest = distance.masked_fill(same, torch.inf).amin(1)
        return F.relu(farthest - nearest + margin)[usable].mean()
    anchor, other = torch.nonzero(positive & usable[:, None], as_tuple=True)
    to_positive = distance[anchor, other]
    to_others, is_negative = distance[anchor], ~same[anchor]
    beyond = is_negative & (to_others > to_positive[:, None])
    nearest = to_others.masked_fill(~beyond, torch.inf).amin(1)
    farthest = to_others.masked_fill(~is_negative, -1.0).amax(1)
    return F.relu(to_positive - torch.where(beyond.any(1), nearest, farthest) + margin).mean()
