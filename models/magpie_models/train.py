"""Trains a network. `python -m magpie_models.train --help`

The run is recorded in <work>/runs/NAME; repeating the command resumes it from the last checkpoint. AdamW, linear
warm-up, cosine decay, and a moving average of the weights, which is what is evaluated and exported.
"""

import argparse
import copy
import json
import math
import time
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import nn

from . import checkpoint, config, data, goods, places, sources
from .augment import resized
from .backbone import Student, outputs_of
from .config import Config
from .goods import Goods, GoodsPairs
from .holdout import Holdout, training_rows
from .objectives import Objective
from .pack import EMBEDDING
from .preprocess import Recipe
from .record import Record, watt_hours, write_json
from .samplers import Sampler
from .scores import RetrievalTest
from .sources import Batch, Photos, Sample, Source, assemble, centred, tensor
from .start import backbone_layers
from .teachers import teacher_features
from .virtual import VirtualProducts, product_pairs

# Training crops from photos cached at this side, larger than a 144 px input, so that crops keep real detail.
CACHE_SIDE = 192
# Photos of each data set that initialise the projection, the class directions and the map to the teacher's features.
START_PHOTOS = 1500
# Photos that measure the strength of channels when a narrower network is pruned from a wide one.
PRUNING_PHOTOS = 64


def teacher_file(cache: Path, teacher: str, data_set: str) -> Path:
    return cache / f"{data_set}-{teacher}.npy"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    places.add_flags(parser)
    parser.add_argument("--name", help="name of the run (default: derived from the options)")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (1)")
    parser.add_argument("--stop-after", type=int, metavar="EPOCHS", help="stop early; repeat the command to resume")
    parser.add_argument("--watts-per-core", type=float, default=10.0, help="assumed, for the energy estimate (10)")
    config.add_flags(parser)
    return parser.parse_args()


def parameter_groups(modules: nn.Module, weight_decay: float) -> list[dict]:
    """Weight decay for matrices only: depthwise kernels and biases are few and carry the folded normalisation."""
    decayed, plain = [], []
    for parameter in modules.parameters():
        if parameter.requires_grad:
            matrix = parameter.ndim >= 2 and parameter.shape[1] > 1
            (decayed if matrix else plain).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]


def rate_factor(step: int, steps: int, warm_up: int) -> float:
    """Linear warm-up, then cosine decay to zero (Loshchilov and Hutter, "SGDR", 2017)."""
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))


class Trainer:
    """Data, network and optimiser of a run."""

    def __init__(self, run: Config, data_folder: Path, weight_folder: Path, work: Path, goods_folder: Path):
        self.config = run
        self.work, self.weight_folder = work, weight_folder
        self.rows = data.read_manifest(data_folder)
        self.holdout = Holdout.parse(self.rows, run.keep_out_products, run.keep_out_kinds)
        self.train = training_rows(self.rows, self.holdout)
        self.labels = data.make_labels(self.rows, self.train)
        self.goods = Goods.read(goods_folder) if run.uses_goods() else None
        goods_pixels = self.goods.pixels(CACHE_SIDE, places.cache(work)) if self.goods else None
        goods_labels = self.goods.labels(goods_pixels) if self.goods else None
        data.share_names([labels for labels in (self.labels, goods_labels) if labels])
        self.crop_pixels, self.input_pixels = (
            data.pixels(self.rows, data_folder, Recipe(side, side), places.cache(work))
            for side in (CACHE_SIDE, run.side)
        )
        taught = training_rows(self.rows)
        features = self.features(sources.PRODUCTS, [data_folder / self.rows[i]["path"] for i in taught])
        features = centred(features, taught, self.rows, self.train)
        is_catalogue = np.array([row["domain"] == "product" for row in self.rows])
        self.photos = Photos(sources.PRODUCTS, self.labels, self.crop_pixels, features, taught, is_catalogue)
        self.sampler = Sampler(
            run.sampler,
            self.rows,
            self.train,
            self.labels.numbers["listing"],
            run.photos_per_product,
            run.catalogue_repeats,
        )
        # Additional sources of samples for each batch.
        self.sources: list[Source] = []
        if run.virtual_pairs:
            pairs = product_pairs(self.rows, self.train)
            self.sources.append(VirtualProducts(pairs, self.crop_pixels, run.virtual_pairs))
        self.goods_photos = self.add_goods(goods_labels, goods_pixels) if self.goods else None

        torch.manual_seed(run.seed)
        heads = [head for head in data.HEADS if self.labels.names[head]]
        sample = np.sort(np.random.default_rng(run.seed).permutation(self.train)[:PRUNING_PHOTOS])
        pictures = tensor(self.input_pixels[sample].astype(np.float32) / 255.0)
        self.layers = backbone_layers(run.backbone, weight_folder, run.start, run.seed, pictures)
        sizes = {head: len(self.labels.names[head]) for head in heads}
        self.student = Student(self.layers, run.dim, sizes).to(memory_format=torch.channels_last)
        self.student.backbone.freeze(run.freeze)
        terms = {t: w for t, w in run.terms.items() if self.has_data(t)}
        self.objective = Objective(terms, self.labels, run.dim, run.losses())
        self.modules = nn.ModuleList([self.student, self.objective])
        self.optimiser = torch.optim.AdamW(parameter_groups(self.modules, run.weight_decay), lr=run.rate)
        self.average = copy.deepcopy(self.student)
        self.before = copy.deepcopy(self.student)
        self.epoch, self.step, self.cpu_seconds = 0, 0, 0.0
        self.history: list[dict[str, float]] = []
        self.batches = len(self.sampler.pool) // run.batch
        if not self.batches:
            raise SystemExit(f"{len(self.sampler.pool)} training photos do not fill a batch of {run.batch}")

        self.test = RetrievalTest(self.rows, self.holdout)
        self.test_views = self.test.views(self.crop_pixels, run.side)

    def features(self, data_set: str, paths: list[Path]) -> np.ndarray:
        """The teacher's features of a data set's training photos."""
        file = teacher_file(places.cache(self.work), self.config.teacher, data_set)
        return teacher_features(self.config.teacher, paths, self.weight_folder, file)

    def add_goods(self, labels: data.Labels, pixels: np.ndarray) -> Photos:
        """Adds the sources of broad goods, and returns the pictures."""
        run, broad = self.config, self.goods
        features = self.features(goods.NAME, broad.paths(broad.train))
        centred_features = features - features.mean(0)
        photos = Photos(goods.NAME, labels, pixels, centred_features, broad.train, broad.is_studio())
        if run.goods_pairs:
            self.sources.append(GoodsPairs(broad, photos, run.goods_pairs))
        if run.virtual_goods_pairs:
            self.sources.append(VirtualProducts(broad.pairs(), pixels, run.virtual_goods_pairs, goods.VIRTUAL))
        return photos

    def has_data(self, term: str) -> bool:
        """Whether the data has labels for a term of the objective."""
        task = term.partition("/")[2]
        if task in goods.TASKS or term == f"teacher/{goods.NAME}":
            return self.goods is not None
        return bool(self.labels.names.get(task, True))

    @torch.no_grad()
    def start(self) -> None:
        """Initialises the projection and the class directions from the pretrained features, before the first step."""
        groups = [(self.photos, self.train)] + ([(self.goods_photos, self.goods.train)] if self.goods else [])
        rng = np.random.default_rng(self.config.seed)
        pooled, labels, used, targets = [], [], [], []
        for photos, rows in groups:
            rows = np.sort(rng.permutation(rows)[:START_PHOTOS])
            pictures = (resized(np.asarray(photos.pixels[row]), self.config.side) for row in rows)
            pooled.append(self.pooled(pictures))
            labels.append({task: torch.from_numpy(numbers[rows]) for task, numbers in photos.labels.numbers.items()})
            counts = self.config.catalogue_weight > 0 or photos is not self.photos
            used.append(torch.from_numpy(~photos.is_catalogue[rows] | counts))
            targets.append(photos.teacher[[photos.teacher_at[int(row)] for row in rows]])
        features = torch.cat(pooled)
        self.student.start_from_principal_components(features.numpy())
        merged = {task: torch.cat([l[task] for l in labels]) for task in labels[0]}
        embeddings = self.student.embedding(features)
        self.objective.start_from_means(embeddings, merged, torch.cat(used))
        self.objective.start_from_teacher(embeddings, torch.from_numpy(np.concatenate(targets)))
        self.average = copy.deepcopy(self.student)
        self.before = copy.deepcopy(self.student)

    def start_from_run(self, folder: Path) -> None:
        """Takes over the weights of another run, for a second schedule with other options or more photos.

        `before` is taken over too: a blend is still with what the first run started from.
        """
        file = folder / checkpoint.FILE
        if not file.exists():
            raise SystemExit(f"--continues {folder.name}: there is no {file}")
        state = checkpoint.load(file)
        kept_out = [state["config"][name] for name in ("keep_out_products", "keep_out_kinds")]
        if kept_out != [self.config.keep_out_products, self.config.keep_out_kinds]:
            raise SystemExit(f"--continues {folder.name}: that run kept out other photos: {kept_out}")
        labels = {head: self.labels.names[head] for head in self.student.heads}
        if state["layout"] != checkpoint.layout(self.layers) or state["labels"] != labels:
            raise SystemExit(f"--continues {folder.name}: that run has another network or other labels")
        try:
            self.objective.load_state_dict(state["objective"])
        except RuntimeError as error:
            raise SystemExit(f"--continues {folder.name}: that run has other classes or terms: {error}") from None
        self.student.load_state_dict(state["average"])
        self.average = copy.deepcopy(self.student)
        self.before.load_state_dict(state["before"])

    def pooled(self, pictures: Iterable[np.ndarray]) -> torch.Tensor:
        """The backbone's features of pictures, float32 [side, side, 3] in 0..1."""
        chunks = iter(lambda it=iter(pictures): list(islice(it, 64)), [])
        return torch.cat([self.student.backbone(tensor(np.stack(chunk))) for chunk in chunks])

    def samples(self, rows: np.ndarray, rng: np.random.Generator) -> list[Sample]:
        return [self.photos.sample(row) for row in rows] + [s for source in self.sources for s in source.draw(rng)]

    def run_epoch(self) -> dict[str, float]:
        """Trains one epoch. Returns the mean losses: the total and each term."""
        rng = np.random.default_rng([self.config.seed, self.epoch])
        steps = self.config.epochs * self.batches
        sums: dict[str, float] = {}
        counts: dict[str, int] = {}
        self.student.train()
        for rows in self.sampler.epoch(rng, self.config.batch):
            batch = assemble(self.samples(rows, rng), self.config.side, rng)
            for name, value in self.take_step(batch, steps).items():
                sums[name] = sums.get(name, 0.0) + value
                counts[name] = counts.get(name, 0) + 1
        self.epoch += 1
        return {f"loss/{name}": total / counts[name] for name, total in sums.items()}

    def take_step(self, batch: Batch, steps: int) -> dict[str, float]:
        parts = self.objective(self.student, batch)
        loss = self.objective.total(parts)
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.rate * rate_factor(self.step, steps, self.config.warm_up)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.modules.parameters(), self.config.gradient_norm)
        self.optimiser.step()
        self.step += 1
        self.update_average()
        return {"total": loss.item(), **{name: value.item() for name, value in parts.items()}}

    @torch.no_grad()
    def update_average(self) -> None:
        decay = min(self.config.average, (1 + self.step) / (10 + self.step))
        for mean, now in zip(self.average.parameters(), self.student.parameters()):
            mean.lerp_(now, 1 - decay)

    def validate(self) -> dict[str, float]:
        self.average.eval()
        outputs = outputs_of(self.average, self.input_pixels[self.test.numbers])
        views = outputs_of(self.average, self.test_views)[EMBEDDING]
        return self.test.scores(outputs, views) | self.test.head_accuracy(outputs, self.labels.numbers)

    def state(self) -> dict:
        return {
            "layout": checkpoint.layout(self.layers),
            "student": self.student.state_dict(),
            "objective": self.objective.state_dict(),
            "average": self.average.state_dict(),
            "before": self.before.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "progress": (self.epoch, self.step, self.cpu_seconds, self.history),
            "config": self.config.to_json(),
            "labels": {head: self.labels.names[head] for head in self.student.heads},
        }

    def resume(self, state: dict) -> None:
        self.student.load_state_dict(state["student"])
        self.objective.load_state_dict(state["objective"])
        self.average.load_state_dict(state["average"])
        self.before.load_state_dict(state["before"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.epoch, self.step, self.cpu_seconds, self.history = state["progress"]


def run(trainer: Trainer, folder: Path, watts_per_core: float = 10.0, stop_after: int | None = None) -> None:
    """Trains to the end of the schedule or to epoch `stop_after`, resuming from the folder's checkpoint if any."""
    file = folder / checkpoint.FILE
    state = checkpoint.load(file) if file.exists() else None
    record = Record(folder, trainer.config, watts_per_core, state["progress"][0] if state else 0)
    if state:
        trainer.resume(state)
    else:
        write_json(folder / "split.json", {"trained_on": [trainer.rows[i]["path"] for i in trainer.train]})
        if trainer.config.continues:
            trainer.start_from_run(places.run_folder(trainer.work, trainer.config.continues))
        else:
            trainer.start()
        record_epoch(trainer, record, {}, 0.0, watts_per_core, time.monotonic())
    while trainer.epoch < min(trainer.config.epochs, stop_after or trainer.config.epochs):
        started, cpu = time.monotonic(), time.process_time()
        losses = trainer.run_epoch()
        record_epoch(trainer, record, losses, time.process_time() - cpu, watts_per_core, started)
        checkpoint.save(file, trainer.state())
    record.close()


def record_epoch(
    trainer: Trainer, record: Record, losses: dict[str, float], cpu: float, watts_per_core: float, started: float
) -> None:
    """Validates the network and adds a line to the record, with separate CPU times of training and validation."""
    test_started = time.process_time()
    scores = trainer.validate()
    test_seconds = time.process_time() - test_started
    trainer.cpu_seconds += cpu + test_seconds
    line = {
        "epoch": trainer.epoch,
        **losses,
        **scores,
        "cost/seconds": time.monotonic() - started,
        "cost/cpu_seconds": trainer.cpu_seconds,
        "cost/test_share": test_seconds / cpu if cpu else 0.0,
        "cost/watt_hours": watt_hours(trainer.cpu_seconds, watts_per_core),
    }
    trainer.history.append({name: round(value, 5) for name, value in line.items()})
    record.epoch(trainer.history)
    print(json.dumps(trainer.history[-1]), flush=True)


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    run_config = config.from_arguments(options)
    folder = places.run_folder(options.work, options.name or run_config.default_name())
    trainer = Trainer(run_config, options.data, options.weights, options.work, options.goods)
    print(f"run {folder}: {len(trainer.train)} photos, {trainer.batches} batches an epoch", flush=True)
    run(trainer, folder, options.watts_per_core, options.stop_after)


if __name__ == "__main__":
    main()
