"""The options of a training run. One list serves both as the command's flags and as the run's config.json."""

import argparse
import hashlib
import json
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from .objectives import OBJECTIVES, TEACHER_TERMS, LossSettings
from .samplers import SAMPLERS
from .start import BACKBONES, STARTS
from .teachers import TEACHERS


def option(default: Any, text: str, choices: Any = None) -> Any:
    return field(default=default, metadata={"help": text, "choices": choices})


@dataclass(frozen=True)
class Config:
    """The options that determine the trained weights. `terms` and options left at None come from the objective."""

    backbone: str = option("efficientnet-lite0", "network architecture", tuple(BACKBONES))
    start: str = option("imagenet", "initial weights", STARTS)
    continues: str = option("", "name of a run with the same network and labels, to start from its trained weights")
    freeze: int = option(15, "number of convolutions, from the first, that are not trained")
    side: int = option(160, "input width and height in pixels")
    dim: int = option(128, "dimension of the embedding")
    objective: str = option("multitask", "set of loss terms", tuple(OBJECTIVES))
    teacher: str = option("efficientnet-lite2", "network whose features are distilled", tuple(TEACHERS))
    teacher_weight: float = option(1.0, "factor of the weights of the distillation terms; 0 turns them off")
    catalogue_weight: float = option(1.0, "weight of catalogue photos in softmax and cosine terms; 0 leaves them out")
    heads: str | None = option(None, "joint: heads train the backbone too; probe: they do not", ("joint", "probe"))
    scale: float = option(14.0, "scale of the cosine softmax, and of the matching term")
    smoothing: float = option(0.1, "label smoothing")
    temperature: float = option(0.1, "temperature of the contrastive loss")
    margin: float = option(0.2, "margin of the triplet loss")
    negatives: str = option("hard", "negative mining of the triplet loss", ("hard", "semi-hard"))
    sampler: str = option("uniform", "what is balanced: photos, classes or domains", SAMPLERS)
    photos_per_product: int | None = option(None, "photos of one class drawn together into a batch")
    catalogue_repeats: int = option(6, "times an epoch that the uniform sampler draws each catalogue photo")
    keep_out_products: str = option("", "FOLD/OF: hold out every OF-th product, starting at number FOLD")
    keep_out_kinds: str = option("", 'hold out these kinds of garment, such as "Hoodie,Shorts"')
    virtual_pairs: int = option(8, "photo pairs of virtual products added to each batch; 0 for none")
    goods_pairs: int = option(10, "pairs of looks of broad goods added to each batch; 0 for none")
    virtual_goods_pairs: int = option(4, "pairs of recoloured looks of broad goods added to each batch; 0 for none")
    epochs: int = option(7, "length of the schedule in epochs")
    batch: int = option(24, "photos that the sampler draws for a batch")
    rate: float = option(4e-4, "peak learning rate")
    warm_up: int = option(100, "steps of linear warm-up")
    weight_decay: float = option(0.01, "weight decay of matrices")
    average: float = option(0.995, "decay of the moving average of the weights")
    gradient_norm: float = option(5.0, "gradients are clipped to this norm")
    seed: int = option(1, "seed of the photo order, the augmentation and the initial classifier weights")
    terms: dict[str, float] = field(default_factory=dict)

    def resolved(self, weights: dict[str, float] | None = None) -> "Config":
        """Fills options left at None from the objective; `weights` overrides or adds single terms."""
        preset = OBJECTIVES[self.objective]
        taught = {name: weight * self.teacher_weight for name, weight in TEACHER_TERMS.items()}
        terms = {**preset.terms, **taught, **(weights or {})}
        return replace(
            self,
            heads=self.heads or ("probe" if preset.probe else "joint"),
            photos_per_product=self.photos_per_product or preset.photos_per_product,
            terms=dict(sorted(terms.items())),
        )

    def losses(self) -> LossSettings:
        names = {f.name for f in fields(LossSettings)} - {"probe"}
        return LossSettings(**{name: getattr(self, name) for name in names}, probe=self.heads == "probe")

    def uses_goods(self) -> bool:
        return self.goods_pairs + self.virtual_goods_pairs > 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(values: dict[str, Any]) -> "Config":
        return Config(**values)

    def differences(self, other: "Config") -> list[str]:
        mine, theirs = self.to_json(), other.to_json()
        return [f"{name}: {theirs[name]} -> {mine[name]}" for name in mine if mine[name] != theirs[name]]

    def default_name(self) -> str:
        """A name derived from the options, so that repeating a command resumes its own run."""
        digest = hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()
        return f"{self.backbone}-{self.side}-{self.objective}-{digest[:6]}"


def add_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("options that determine the weights (recorded in config.json)")
    for f in fields(Config):
        if f.name == "terms":
            continue
        kind = {"int | None": int, "str | None": str}.get(str(f.type), f.type)
        group.add_argument(
            "--" + f.name.replace("_", "-"),
            type=kind,
            default=f.default,
            choices=f.metadata["choices"],
            help=f.metadata["help"] + (" (default: the objective's)" if f.default is None else f" ({f.default})"),
        )
    group.add_argument(
        "--term",
        action="append",
        default=[],
        metavar="KIND/TASK=WEIGHT",
        help="set the weight of a loss term, or add a term, such as contrastive/product=0.5; see objectives.py",
    )


def from_arguments(arguments: argparse.Namespace) -> Config:
    weights = {}
    for term in arguments.term:
        name, _, weight = term.rpartition("=")
        try:
            weights[name] = float(weight)
        except ValueError:
            raise SystemExit(f"--term '{term}', expected KIND/TASK=WEIGHT") from None
    values = {f.name: getattr(arguments, f.name) for f in fields(Config) if f.name != "terms"}
    return Config(**values).resolved(weights)
