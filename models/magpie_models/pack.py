"""The pack's manifest and its model id. The Rust core recomputes the id when it opens a pack."""

import json
import shutil
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from blake3 import blake3

from .preprocess import Recipe

FORMAT = 1
NETWORK = "model.onnx"
CARD = "MODEL_CARD.md"
EMBEDDING = "embedding"


def manifest(
    name: str, network: Path, recipe: Recipe, dim: int, heads: dict[str, list[str]], embedding: str = EMBEDDING
) -> dict:
    """Builds a manifest. `heads`: the labels of each head, in the order of its logits; its output has its name."""
    content = network.read_bytes()
    result = {
        "format": FORMAT,
        "name": name,
        "model_id": "",
        "network": {"file": network.name, "bytes": len(content), "blake3": blake3(content).hexdigest()},
        "input": {
            "name": recipe.name,
            "width": recipe.width,
            "height": recipe.height,
            "fit": recipe.fit,
            "filter": recipe.filter,
            "channels": recipe.channels,
            "mean": list(recipe.mean),
            "std": list(recipe.std),
        },
        "embedding": {"output": embedding, "dim": dim},
        "heads": [{"name": head, "output": head, "labels": labels} for head, labels in heads.items()],
        "confidence": None,
    }
    result["model_id"] = model_id(result)
    return result


def model_id(manifest: dict) -> str:
    """BLAKE3, in hex, of everything that determines a photo's embedding.

    Each field is preceded by its length in bytes as u32; all numbers are little-endian. Embeddings of different model
    ids must never be compared.
    """
    source, embedding = manifest["input"], manifest["embedding"]
    fields = [
        b"magpie-model-1",
        bytes.fromhex(manifest["network"]["blake3"]),
        source["name"].encode(),
        struct.pack("<2I", source["width"], source["height"]),
        source["fit"].encode(),
        source["filter"].encode(),
        source["channels"].encode(),
        struct.pack("<3f", *source["mean"]),
        struct.pack("<3f", *source["std"]),
        embedding["output"].encode(),
        struct.pack("<I", embedding["dim"]),
    ]
    digest = blake3()
    for field in fields:
        digest.update(struct.pack("<I", len(field)) + field)
    return digest.hexdigest()


def read_manifest(pack: Path) -> dict:
    return json.loads((pack / "manifest.json").read_text())


@contextmanager
def atomic_replace(pack: Path) -> Iterator[Path]:
    """Yields a temporary folder that replaces `pack` at the end, so that a reader never sees an incomplete pack.

    The old pack's model card is kept, as it is written by hand.
    """
    part, old = pack.with_name(pack.name + ".part"), pack.with_name(pack.name + ".old")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
    except BaseException:
        shutil.rmtree(part)
        raise
    if (pack / CARD).exists():
        shutil.copy(pack / CARD, part)
    shutil.rmtree(old, ignore_errors=True)
    if pack.exists():
        pack.rename(old)
    part.rename(pack)
    shutil.rmtree(old, ignore_errors=True)


def write_manifest(folder: Path, manifest: dict) -> None:
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
