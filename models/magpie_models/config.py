"""The options of a training run: flags of the command and what the run's config.json records are the same list."""

import argparse
import hashlib
import json
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from .objectives import OBJECTIVES, LossSettings
from .samplers import SAMPLERS
from .start import BACKBONES, STARTS


def option(default: Any, text: str, choices: Any = None) -> Any:
    return field(default=default, metadata={"help": text, "choices": choices})


@dataclass(frozen=True)
class Config:
    """What decides the weights that come out. `terms` and the options left at None take the objective's values."""

    backbone: str = option("mobilenetv1-0.75", "the network", tuple(BACKBONES))
    start: str = option("imagenet", "its first weights", STARTS)
    freeze: int = option(0, "the first N convolutions are not trained")
    side: int = option(144, "input width and height")
    dim: int = option(128, "values of an embedding")
    objective: str = option("multitask", "the set of loss terms", tuple(OBJECTIVES))
    teacher_weight: float = option(4.0, "weight of the distillation term; 0 for none")
    catalogue_weight: float = option(1.0, "scales the catalogue photos' part in softmax and cosine terms; 0 for none")
    heads: str | None = option(None, "joint: heads change the backbone; probe: they only watch", ("joint", "probe"))
    scale: float = option(14.0, "of the cosine softmax")
    smoothing: float = option(0.1, "of the labels")
    temperature: float = option(0.1, "of the contrastive loss")
    margin: float = option(0.2, "of the triplets")
    negatives: str = option("hard", "of the triplets", ("hard", "semi-hard"))
    sampler: str = option("uniform", "what is shown equally often", SAMPLERS)
    photos_per_product: int | None = option(None, "photos of one class side by side in a batch")
    catalogue_repeats: int = option(6, "times that the uniform sampler shows a catalogue photo an epoch")
    keep_out_products: str = option("", "FOLD/OF: train without every OF-th product, from number FOLD on")
    keep_out_kinds: str = option("", 'train without these kinds of garment, such as "Hoodie,Shorts"')
    virtual_pairs: int = option(16, "pairs of photos of virtual products beside a batch's photos; 0 for none")
    epochs: int = option(15, "length of the schedule")
    batch: int = option(40, "photos of the sampler in a batch")
    rate: float = option(6e-4, "highest learning rate")
    warm_up: int = option(100, "steps of linear warm-up")
    weight_decay: float = option(0.01, "of matrices")
    average: float = option(0.998, "decay of the moving average of the weights")
    gradient_norm: float = option(5.0, "longest gradient of a step")
    seed: int = option(1, "of the order, the jitter and the first weights of classifiers")
    terms: dict[str, float] = field(default_factory=dict)

    def resolved(self, weights: dict[str, float] | None = None) -> "Config":
        """With the objective's values where none is given; `weights` of single terms go before them."""
        preset = OBJECTIVES[self.objective]
        terms = {**preset.terms, "teacher": self.teacher_weight, **(weights or {})}
        return replace(
            self,
            heads=self.heads or ("probe" if preset.probe else "joint"),
            photos_per_product=self.photos_per_product or preset.photos_per_product,
            teacher_weight=terms["teacher"],
            terms=dict(sorted(terms.items())),
        )

    def losses(self) -> LossSettings:
        names = {f.name for f in fields(LossSettings)} - {"probe"}
        return LossSettings(**{name: getattr(self, name) for name in names}, probe=self.heads == "probe")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(values: dict[str, Any]) -> "Config":
        return Config(**values)

    def differences(self, other: "Config") -> list[str]:
        mine, theirs = self.to_json(), other.to_json()
        return [f"{name}: {theirs[name]} -> {mine[name]}" for name in mine if mine[name] != theirs[name]]

    def default_name(self) -> str:
        """The same for the same options, so that a command carries on with its own run."""
        digest = hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()
        return f"{self.backbone}-{self.side}-{self.objective}-{digest[:6]}"


def add_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what decides the weights (recorded in config.json)")
    for f in fields(Config):
        if f.name == "terms":
            continue
        kind = {"int | None": int, "str | None": str}.get(str(f.type), f.type)
        group.add_argument(
            "--" + f.name.replace("_", "-"),
            type=kind,
            default=f.default,
            choices=f.metadata["choices"],
            help=f.metadata["help"] + (" (the objective's)" if f.default is None else f" ({f.default})"),
        )
    group.add_argument(
        "--term",
        action="append",
        default=[],
        metavar="KIND/TASK=WEIGHT",
        help="sets or adds one term of the loss, such as contrastive/product=0.5; see objectives.py",
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
