"""Training objectives: weighted sums of terms, each named KIND/TASK after its loss and its labels.

    teacher/SET            distillation: similarity MSE to the teacher's features, within the data set products or goods
    teacher/features       distillation: a linear map from the embedding to the teacher's features
    softmax/TASK           linear classifier on the embedding
    cosine/TASK            cosine softmax on the embedding
    contrastive/TASK       supervised contrastive loss on the embedding
    triplet/TASK           triplet loss with hard or semi-hard negatives
    matching/TASK          contrastive loss between catalogue photos and shoppers' photos, with in-batch negatives
    head/TASK              attribute head on the pooled features

An objective is a set of such terms. The command line can change any weight and add terms.
"""

from dataclasses import dataclass

import torch
from torch import nn

from . import goods, losses, virtual
from .backbone import Student
from .data import HEADS, Labels
from .sources import PRODUCTS, Batch

HEAD_WEIGHT = 0.15
HEAD_TERMS = {f"head/{head}": HEAD_WEIGHT for head in HEADS}
# Cosines of broad goods are nearer to the teacher's than those of products may be, which have to be told apart better
# than the teacher does. The linear map keeps what cosines alone lose of the teacher's geometry.
FEATURES = "features"
TEACHER_TERMS = {f"teacher/{PRODUCTS}": 4.0, f"teacher/{goods.NAME}": 10.0, f"teacher/{FEATURES}": 3.0}
# Principal components of the teacher's features that the linear map has to tell.
TOLD = 256
KINDS = ("teacher", "softmax", "cosine", "contrastive", "triplet", "matching", "head")
# Kinds that pull photos towards a class direction; in these, `catalogue_weight` scales catalogue photos.
CLASS_KINDS = ("softmax", "cosine")


@dataclass(frozen=True)
class Preset:
    """An objective's term weights, its photos of one class per draw, and whether heads are mere probes."""

    terms: dict[str, float]
    photos_per_product: int
    probe: bool


# The heads of the first three are probes: the objectives stay comparable, and each still gives a complete pack.
OBJECTIVES = {
    "classification": Preset({"softmax/category": 1.0, **HEAD_TERMS}, 1, True),
    "contrastive": Preset({"contrastive/product": 1.0, "contrastive/garment": 0.7, **HEAD_TERMS}, 4, True),
    "triplet": Preset({"triplet/product": 1.0, "triplet/garment": 0.7, **HEAD_TERMS}, 4, True),
    "multitask": Preset(
        {
            "cosine/product": 0.4,
            "cosine/group": 0.5,
            "cosine/garment": 1.0,
            f"cosine/{goods.CLASS}": 1.0,
            f"matching/{virtual.TASK}": 1.5,
            f"matching/{goods.PAIR}": 1.5,
            f"matching/{goods.VIRTUAL}": 0.75,
            **HEAD_TERMS,
        },
        1,
        False,
    ),
}


@dataclass(frozen=True)
class LossSettings:
    """Hyperparameters of the losses; see `losses` and `Config`."""

    catalogue_weight: float = 1.0
    scale: float = 14.0
    smoothing: float = 0.1
    temperature: float = 0.1
    margin: float = 0.2
    negatives: str = "hard"
    probe: bool = False


class Objective(nn.Module):
    """The terms of an objective, with the parameters that exist only in training (the classifiers)."""

    def __init__(self, terms: dict[str, float], labels: Labels, dim: int, settings: LossSettings, features: int = 1280):
        """`features`: the dimension of the teacher's."""
        super().__init__()
        self.settings = settings
        self.terms = {name: weight for name, weight in terms.items() if weight > 0}
        self.classifiers = nn.ModuleDict()
        for name in self.terms:
            kind, _, task = name.partition("/")
            if kind not in KINDS or not task or (kind == "teacher" and name not in TEACHER_TERMS):
                raise ValueError(f"term '{name}', expected one of {tuple(TEACHER_TERMS)} or KIND/TASK of {KINDS}")
            if task == FEATURES:
                self.classifiers[name] = losses.TeacherMap(dim, features, TOLD)
            if kind not in (*CLASS_KINDS, "head"):
                continue
            if task not in labels.names:
                raise ValueError(f"term '{name}': unknown task '{task}', expected one of {sorted(labels.names)}")
            classes = len(labels.names[task])
            if kind == "cosine":
                self.classifiers[name] = losses.CosineSoftmax(dim, classes, settings.scale, settings.smoothing)
            elif kind == "softmax":
                self.classifiers[name] = nn.Linear(dim, classes)

    def start_from_means(self, embeddings: torch.Tensor, labels: dict[str, torch.Tensor], used: torch.Tensor) -> None:
        """Initialises the class directions of the cosine terms from the photos `used` [N] of `embeddings` [N, dim]."""
        for name, classifier in self.classifiers.items():
            if isinstance(classifier, losses.CosineSoftmax):
                target = labels[name.partition("/")[2]]
                classifier.start_from_means(embeddings[used], target[used])

    def start_from_teacher(self, embeddings: torch.Tensor, features: torch.Tensor) -> None:
        """Fits the map to the teacher's features [N, F], if it is a term, to the `embeddings` [N, dim]."""
        name = f"teacher/{FEATURES}"
        if name in self.classifiers:
            self.classifiers[name].fit(embeddings, features)

    def forward(self, student: Student, batch: Batch) -> dict[str, torch.Tensor]:
        """The loss of each term, before weighting."""
        embedding, logits = student(batch.pixels, self.settings.probe)
        s = self.settings
        weight = torch.where(batch.is_catalogue, s.catalogue_weight, 1.0)
        result = {}
        for name in self.terms:
            kind, _, task = name.partition("/")
            if kind == "teacher":
                if task == FEATURES and batch.taught:
                    features, numbers = (torch.cat(parts) for parts in zip(*batch.taught.values()))
                    result[name] = self.classifiers[name](embedding[numbers], features)
                elif task in batch.taught and len(batch.taught[task][1]) > 1:
                    features, numbers = batch.taught[task]
                    result[name] = losses.similarity_mse(embedding[numbers], features)
                continue
            if task not in batch.labels:
                # No sample of this batch has the task.
                continue
            target = batch.labels[task]
            if kind == "cosine":
                result[name] = self.classifiers[name](embedding, target, weight)
            elif kind == "softmax":
                out = self.classifiers[name](embedding)
                result[name] = losses.masked_cross_entropy(out, target, s.smoothing, weight)
            elif kind == "contrastive":
                result[name] = losses.supervised_contrastive(embedding, target, s.temperature)
            elif kind == "matching":
                result[name] = losses.matching(embedding, target, batch.is_catalogue, s.scale)
            elif kind == "triplet":
                result[name] = losses.triplet(embedding, target, s.margin, s.negatives)
            else:
                result[name] = losses.masked_cross_entropy(logits[task], target, s.smoothing)
        return result

    def total(self, parts: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.stack([self.terms[name] * value for name, value in parts.items()]).sum()
