"""Losses of the fine-tuning. Targets may hold data.NO_LABEL, which takes that photo out of the term."""

import torch
import torch.nn.functional as F
from torch import nn

from .data import NO_LABEL


def similarity_mse(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Mean squared difference of the two cosine matrices of a batch; both [N, any], the same N photos.

    Tung and Mori, "Similarity-Preserving Knowledge Distillation" (2019), with cosines: the embeddings may differ in
    dimension, and only who resembles whom is passed on.
    """
    s, t = F.normalize(student), F.normalize(teacher)
    return F.mse_loss(s @ s.T, t @ t.T)


class CosineSoftmax(nn.Module):
    """Cross-entropy over scaled cosines to one learnt direction a class; embedding [N, dim], target [N].

    Wang et al., "NormFace: L2 Hypersphere Embedding for Face Verification" (2017), with the smoothing of Szegedy et
    al., "Rethinking the Inception Architecture for Computer Vision" (2016).
    """

    def __init__(self, dim: int, classes: int, scale: float = 14.0, smoothing: float = 0.1):
        super().__init__()
        self.directions = nn.Parameter(torch.randn(classes, dim) / dim**0.5)
        self.scale, self.smoothing = scale, smoothing

    @torch.no_grad()
    def start_from_means(self, embeddings: torch.Tensor, target: torch.Tensor) -> None:
        """Sets each direction to the mean of its class, if it has any; embeddings [N, dim], target [N]."""
        for c in target.unique().tolist():
            if c == NO_LABEL:
                continue
            self.directions[c] = F.normalize(F.normalize(embeddings[target == c]).mean(0), dim=0)

    def forward(self, embedding: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        logits = self.scale * F.normalize(embedding) @ F.normalize(self.directions).T
        return masked_cross_entropy(logits, target, self.smoothing)


def masked_cross_entropy(logits: torch.Tensor, target: torch.Tensor, smoothing: float) -> torch.Tensor:
    """Mean over the labelled photos; 0 where the batch has none."""
    loss = F.cross_entropy(logits, target, ignore_index=NO_LABEL, label_smoothing=smoothing, reduction="sum")
    return loss / (target != NO_LABEL).sum().clamp(min=1)
