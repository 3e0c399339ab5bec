"""The pack's manifest and its model id. The Rust core recomputes the id when it opens a pack."""

import json
import struct
from pathlib import Path

from blake3 import blake3

from .preprocess import MEAN, STD

FORMAT = 1


def manifest(name: str, network: Path, side: int, dim: int, heads: dict[str, list[str]]) -> dict:
    content = network.read_bytes()
    result = {
        "format": FORMAT,
        "name": name,
        "model_id": "",
        "network": {"file": network.name, "bytes": len(content), "blake3": blake3(content).hexdigest()},
        "input": {
            "name": "image",
            "width": side,
            "height": side,
            "fit": "squash",
            "filter": "bilinear",
            "channels": "rgb",
            "mean": list(MEAN),
            "std": list(STD),
        },
        "embedding": {"output": "embedding", "dim": dim},
        "heads": [{"name": head, "output": head, "labels": labels} for head, labels in heads.items()],
        "confidence": None,
    }
    result["model_id"] = model_id(result)
    return result


def model_id(manifest: dict) -> str:
    """BLAKE3, in hex, of everything that decides what embedding a photo gets.

    Each field is preceded by its length in bytes as u32; all numbers are little-endian. Embeddings with different
    model ids must never be compared.
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
