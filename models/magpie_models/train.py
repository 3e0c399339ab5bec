"""Fine-tunes the student. `python -m magpie_models.train --help`

Loss of a batch: 4 x similarity MSE to the teacher + cosine softmax over product (1.0), coarse group (0.5) and garment
(0.7) + cross-entropy of the attribute heads (0.15 each). AdamW, cosine schedule, moving average of the weights.
A checkpoint is written after each epoch; the same command carries on from it.
"""

import argparse
import copy
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from . import data, weights
from .backbone import Student, embed
from .losses import CosineSoftmax, masked_cross_entropy, similarity_mse
from .preprocess import MEAN, STD
from .scores import val_split_scores

EMBEDDING_DIM = 128
# Photos are cached larger than the network's input, so that a cut keeps real detail.
CACHE_SIDE = 192
TEACHER_WEIGHT = 4.0
METRIC_WEIGHTS = {"product": 1.0, "group": 0.5, "garment": 0.7}
HEAD_WEIGHT = 0.15
SMOOTHING = 0.1
WARM_UP_STEPS = 100
EMA_DECAY = 0.998
GRADIENT_NORM = 5.0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/products"))
    parser.add_argument("--weights", type=Path, default=Path("../shared/weights"))
    parser.add_argument("--work", type=Path, default=Path("models/.work"), help="caches and checkpoints")
    parser.add_argument("--side", type=int, default=144, help="input width and height")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=6e-4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep-out-every", type=int, default=0, help="train without every n-th product")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def parameter_groups(modules: nn.ModuleList) -> list[dict]:
    """Weight decay for matrices only; depthwise kernels and biases are few and carry the folded normalisation."""
    decayed, plain = [], []
    for parameter in modules.parameters():
        matrix = parameter.ndim >= 2 and parameter.shape[1] > 1
        (decayed if matrix else plain).append(parameter)
    return [{"params": decayed, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}]


def rate_factor(step: int, steps: int) -> float:
    """Linear warm-up, then half a cosine to zero (Loshchilov and Hutter, "SGDR", 2017)."""
    if step < WARM_UP_STEPS:
        return (step + 1) / WARM_UP_STEPS
    return 0.5 * (1 + math.cos(math.pi * (step - WARM_UP_STEPS) / max(1, steps - WARM_UP_STEPS)))


class Trainer:
    def __init__(self, options: argparse.Namespace):
        self.options = options
        self.cache = options.work / "cache"
        self.rows = data.read_manifest(options.data)
        self.labels = data.make_labels(self.rows)
        every_training_row = data.training_rows(self.rows)
        kept_out = data.kept_out_products(self.rows, options.keep_out_every)
        used = np.array([self.rows[i]["class_id"] not in kept_out for i in every_training_row])
        self.train = every_training_row[used]
        self.pixels = np.array(data.pixels(self.rows, options.data, CACHE_SIDE, self.cache)[self.train])
        self.position = {row: i for i, row in enumerate(self.train)}
        self.whole = data.pixels(self.rows, options.data, options.side, self.cache)
        paths = [options.data / self.rows[i]["path"] for i in every_training_row]
        self.teacher = torch.from_numpy(weights.teacher_features(paths, options.weights, self.cache)[used])
        self.teacher -= self.teacher.mean(0)

        torch.manual_seed(options.seed)
        heads = {name: len(self.labels.names[name]) for name in data.HEADS}
        layers = weights.read_mobilenet_v1(options.weights / weights.STUDENT_FILE)
        self.student = Student(layers, EMBEDDING_DIM, heads).to(memory_format=torch.channels_last)
        classes = {task: len(self.labels.names[task]) for task in METRIC_WEIGHTS}
        self.softmax = nn.ModuleDict(
            {task: CosineSoftmax(EMBEDDING_DIM, n, smoothing=SMOOTHING) for task, n in classes.items()}
        )
        self.modules = nn.ModuleList([self.student, self.softmax])
        self.optimiser = torch.optim.AdamW(parameter_groups(self.modules), lr=options.rate)
        self.average = copy.deepcopy(self.student)
        self.epoch, self.step, self.cpu_seconds, self.history = 0, 0, 0.0, []
        order = data.epoch_order(self.rows, self.train, np.random.default_rng(0))
        self.batches = len(order) // options.batch

    @torch.no_grad()
    def start(self) -> None:
        """Sets projection and class directions from the pretrained features, before the first step."""
        parts = []
        for start in range(0, len(self.train), 64):
            parts.append(self.student.backbone(self.tensor(self.whole[self.train[start : start + 64]])))
        pooled = torch.cat(parts)
        self.student.start_from_principal_components(pooled.numpy())
        embeddings = self.student.embedding(pooled)
        for task, softmax in self.softmax.items():
            softmax.start_from_means(embeddings, torch.from_numpy(self.labels.numbers[task][self.train]))
        self.average = copy.deepcopy(self.student)

    def tensor(self, pixels: np.ndarray) -> torch.Tensor:
        """[N, H, W, 3], uint8 or 0..1, -> [N, 3, H, W] normalised, in channels-last memory."""
        x = pixels.astype(np.float32) / 255.0 if pixels.dtype == np.uint8 else pixels
        return torch.from_numpy((x - np.float32(MEAN)) / np.float32(STD)).permute(0, 3, 1, 2)

    def run_epoch(self) -> float:
        rng = np.random.default_rng([self.options.seed, self.epoch])
        order = data.epoch_order(self.rows, self.train, rng)
        steps, total = self.options.epochs * self.batches, 0.0
        self.student.train()
        for b in range(self.batches):
            chosen = order[b * self.options.batch : (b + 1) * self.options.batch]
            at = [self.position[row] for row in chosen]
            x = self.tensor(np.stack([data.jitter(self.pixels[i], self.options.side, rng) for i in at]))
            loss = self.loss(x, chosen, at)
            for group in self.optimiser.param_groups:
                group["lr"] = self.options.rate * rate_factor(self.step, steps)
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(self.modules.parameters(), GRADIENT_NORM)
            self.optimiser.step()
            self.step += 1
            self.update_average()
            total += loss.item()
        return total / self.batches

    def loss(self, x: torch.Tensor, rows: np.ndarray, at: list[int]) -> torch.Tensor:
        embedding, logits = self.student(x)
        target = {task: torch.from_numpy(numbers[rows]) for task, numbers in self.labels.numbers.items()}
        loss = TEACHER_WEIGHT * similarity_mse(embedding, self.teacher[at])
        for task, weight in METRIC_WEIGHTS.items():
            loss = loss + weight * self.softmax[task](embedding, target[task])
        for head in data.HEADS:
            loss = loss + HEAD_WEIGHT * masked_cross_entropy(logits[head], target[head], SMOOTHING)
        return loss

    @torch.no_grad()
    def update_average(self) -> None:
        decay = min(EMA_DECAY, (1 + self.step) / (10 + self.step))
        for mean, now in zip(self.average.parameters(), self.student.parameters()):
            mean.lerp_(now, 1 - decay)

    def validate(self) -> dict[str, float]:
        """Catalogue and val photos only: embedding every clothing photo each epoch would cost a fifth of the time."""
        numbers = np.array([i for i, row in enumerate(self.rows) if row["split"] in ("val", "gallery")])
        return val_split_scores(self.rows, numbers, embed(self.average.eval(), self.whole[numbers]))

    def save(self, path: Path) -> None:
        state = {
            "student": self.student.state_dict(),
            "softmax": self.softmax.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "progress": (self.epoch, self.step, self.cpu_seconds, self.history),
            "options": {k: str(v) if isinstance(v, Path) else v for k, v in vars(self.options).items()},
            "labels": {name: self.labels.names[name] for name in data.HEADS},
        }
        torch.save(state, path.with_suffix(".part"))
        path.with_suffix(".part").rename(path)

    def resume(self, path: Path) -> None:
        state = torch.load(path, weights_only=True)
        self.student.load_state_dict(state["student"])
        self.softmax.load_state_dict(state["softmax"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.epoch, self.step, self.cpu_seconds, self.history = state["progress"]


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    trainer = Trainer(options)
    checkpoint = options.work / "checkpoint.pt"
    if checkpoint.exists():
        trainer.resume(checkpoint)
    else:
        trainer.start()
        print(json.dumps({"epoch": 0, **trainer.validate()}), flush=True)
    while trainer.epoch < options.epochs:
        began, cpu = time.monotonic(), time.process_time()
        loss = trainer.run_epoch()
        trainer.epoch += 1
        trainer.cpu_seconds += time.process_time() - cpu
        line = {
            "epoch": trainer.epoch,
            "loss": round(loss, 4),
            "seconds": round(time.monotonic() - began),
            "cpu_seconds": round(trainer.cpu_seconds),
            **{name: round(value, 4) for name, value in trainer.validate().items()},
        }
        trainer.history.append(line)
        trainer.save(checkpoint)
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
