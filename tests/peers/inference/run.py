"""Compares LiteRT, ONNX Runtime, tract and Magpie on the same weights; see README.md.

`cargo xtask peers inference` sets up this script's environment, builds Magpie's runner and passes on its arguments.
"""

import argparse
import importlib.metadata
from datetime import date
from pathlib import Path

import measure
import nets
import packs
import report
from measure import Layers, Measured, System, peer
from packs import Net

HERE = Path(__file__).resolve().parent
PEERS = ("onnxruntime", "ai-edge-litert")
# Nets with at least this input side, in pixels, are also measured with two threads.
LARGE = 224


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="cargo xtask peers inference", description=__doc__.splitlines()[0])
    parser.add_argument("--runner", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the medians to this file")
    parser.add_argument(
        "--result",
        type=Path,
        metavar="FILE",
        default=HERE.parent / f"results/{date.today()}-inference.md",
        help="file for the tables (default: tests/peers/results/<today>-inference.md)",
    )
    parser.add_argument(
        "--weights",
        type=Path,
        metavar="FOLDER",
        default=packs.ROOT.parent / "shared/weights",
        help=f"folder of {nets.MOBILENET_V2_FILE} (default: ../shared/weights)",
    )
    parser.add_argument("--zoo", action="store_true", help="add torchvision's nets; making them takes 6 GB of disk")
    parser.add_argument("--only", metavar="NET", help="measure only this net")
    parser.add_argument("--rounds", type=int, default=20, help="turns of each system (20)")
    parser.add_argument("--runs", type=int, default=4, help="measured runs in each turn (4)")
    return parser.parse_args()


def chosen_nets(options: argparse.Namespace) -> list[Net]:
    found = [nets.mobilenet_v2(options.weights), nets.default_pack()]
    if options.zoo:
        found += nets.zoo()
    names = [net.name for net in found]
    if options.only and options.only not in names:
        raise SystemExit(f"--only {options.only}: unknown net, expected one of {', '.join(names)} (--zoo adds more)")
    return [net for net in found if options.only in (None, net.name)]


def systems(net: Net, runner: Path) -> list[System]:
    magpie = [str(runner), str(net.folder)]
    found = [peer(report.ORT, "onnxruntime", net), System(report.MAGPIE, magpie)]
    if report.saturates():
        found.insert(1, peer(report.ORT_EXACT, "onnxruntime-exact", net))
    if net.tflite.exists():
        found.insert(0, peer(report.LITERT, "litert", net))
    if net.name == nets.MOBILENET_V2:
        found.append(System(report.AVX2, [*magpie, "--isa", "avx2"]))
        found.append(System(report.TRACT, [*magpie, "--plain", str(net.f32)]))
    if net.side >= LARGE:
        found.append(System(report.TWO_THREADS, [*magpie, "--threads", "2"], threads=2))
    return found


def main() -> None:
    options = arguments()
    results: list[Measured] = []
    profiles: dict[str, list[Layers]] = {}
    for net in chosen_nets(options):
        print(f"{net.name}: measuring", flush=True)
        results += measure.take_turns(systems(net, options.runner), net, options.rounds, options.runs)
        profiles[net.name] = measure.profile(options.runner, net)
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PEERS)
    peak = measure.peak(options.runner)
    text = report.markdown(results, profiles, peak, versions, options.rounds * options.runs)
    print(text)
    options.result.write_text(text)
    if options.json:
        options.json.write_text(report.json_text(results))


if __name__ == "__main__":
    main()
