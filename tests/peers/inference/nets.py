"""Makes the nets to compare. Each is made once and cached in `packs.CACHE`."""

import subprocess
import sys
from pathlib import Path

import onnx

import packs
import photos
import to_litert
import translate
from packs import Net, ROOT
from magpie_models.pack import read_manifest

TEST_PHOTOS = 8
MOBILENET_V2, DEFAULT = "mobilenet_v2", "default"
PREFIX = "torchvision_"
ZOO = [f"{PREFIX}{name}" for name in ("mobilenet_v2", "resnet18", "mobilenet_v3_small", "efficientnet_b0")]
RESNET = f"{PREFIX}resnet18"
MOBILENET_V2_FILE = "tf2_mobilenet_v2_1.0_224_ptq.tflite"
# Every pixel value is then exactly a quantisation level of the file. With 0.5, it would be half-way between two.
MOBILENET_V2_MEAN = 127 / 255


def mobilenet_v2(weights: Path) -> Net:
    """MobileNetV2 1.0 @224, trained on ImageNet and quantised per channel by Google, from its LiteRT file."""
    net = Net(packs.CACHE / MOBILENET_V2)
    if net.exists:
        return net
    tflite = translate.without_softmax(weights / MOBILENET_V2_FILE)
    int8, f32 = translate.translate(tflite)
    inputs = photos.inputs(224, MOBILENET_V2_MEAN, 0, TEST_PHOTOS)
    extra = {"model.tflite": tflite, "f32.onnx": f32.SerializeToString()}
    return packs.write(MOBILENET_V2, int8, inputs, MOBILENET_V2_MEAN, extra)


def default_pack() -> Net:
    """The unchanged network of the shipped pack; made again if the pack has changed."""
    source = ROOT / "models/packs/default"
    manifest = read_manifest(source)
    net = Net(packs.CACHE / DEFAULT)
    if net.exists and net.onnx.read_bytes() == (source / manifest["network"]["file"]).read_bytes():
        return net
    mean = manifest["input"]["mean"][0]
    inputs = photos.inputs(manifest["input"]["width"], mean, 0, TEST_PHOTOS)
    network = onnx.load(source / manifest["network"]["file"])
    heads = {head["name"]: head["labels"] for head in manifest["heads"]}
    runtime = packs.session(source / manifest["network"]["file"])
    names = [output.name for output in runtime.get_outputs()]
    outputs = [dict(zip(names, runtime.run(names, {packs.INPUT: photo}))) for photo in inputs]
    max_magnitudes = {name: max(float(abs(found[name]).max()) for found in outputs) for name in names}
    tflite = to_litert.to_litert(network, inputs.shape[-1], max_magnitudes)
    return packs.write(DEFAULT, network, inputs, mean, {"model.tflite": tflite}, heads)


def zoo() -> list[Net]:
    """torchvision's nets. Installs torch, which only making them needs, if any is missing."""
    missing = [name for name in ZOO if not Net(packs.CACHE / name).exists]
    if missing:
        requirements = Path(__file__).with_name("requirements-zoo.txt")
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "-r", requirements], check=True)
        import zoo as torchvision_nets

        for name in missing:
            torchvision_nets.make(name, name.removeprefix(PREFIX))
    return [Net(packs.CACHE / name) for name in ZOO]
