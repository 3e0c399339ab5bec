"""Reports: the tables, the ratios to the project's targets, and the JSON list."""

import json
import platform
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import nets
from measure import Layers, Measured

LITERT, ORT, TRACT = "LiteRT int8", "ONNX Runtime int8", "tract f32"
ORT_EXACT = "ONNX Runtime int8, exact"
MAGPIE, AVX2, TWO_THREADS = "Magpie int8", "Magpie int8, AVX2 forced", "Magpie int8, 2 threads"


@dataclass(frozen=True)
class Target:
    """A target for `of` relative to `to` on one net: a ratio of times not to exceed, or a speed-up to reach."""

    net: str
    of: str
    to: str
    must: float
    aim: float | None
    speed_up: bool = False


TARGETS = (
    Target(nets.MOBILENET_V2, MAGPIE, LITERT, 0.62, 0.45),
    Target(nets.DEFAULT, MAGPIE, ORT, 0.55, 0.40),
    Target(nets.DEFAULT, MAGPIE, ORT_EXACT, 0.55, 0.40),
    Target(nets.MOBILENET_V2, AVX2, TRACT, 0.35, 0.20),
    Target(nets.MOBILENET_V2, TWO_THREADS, MAGPIE, 1.6, None, speed_up=True),
    Target(nets.RESNET, TWO_THREADS, MAGPIE, 1.6, None, speed_up=True),
)
# Lowest acceptable cosine to ONNX Runtime's output on the same file, with exact sums.
MIN_COSINE = {nets.MOBILENET_V2: 0.999, nets.DEFAULT: 0.999}
ZOO_MIN_COSINE = 0.99
# Above this share, thread CPU time understates the cost of a run.
MAX_HIDDEN_WORK = 0.05


def cpu_flags() -> tuple[str, list[str]]:
    """The CPU's name and its instruction sets for int8."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine(), []
    values = dict(reversed([[part.strip() for part in line.split(":", 1)] for line in lines if ":" in line]))
    flags = values.get("flags", values.get("Features", "")).split()
    known = [flag for flag in ("avx2", "avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm") if flag in flags]
    return values.get("model name", platform.machine()), known


def saturates() -> bool:
    """Whether ONNX Runtime's fastest sums can saturate on this CPU: AVX2 without an int8 dot product."""
    _, flags = cpu_flags()
    return "avx2" in flags and not any("vnni" in flag for flag in flags)


def cpu() -> str:
    name, flags = cpu_flags()
    return f"{name} ({', '.join(flags)})"


def table(results: list[Measured]) -> list[str]:
    lines = ["| net | system | threads | median ms | clock | cosine to exact ONNX Runtime |", "|---|---|---|---|---|---|"]
    for m in results:
        clock = "thread CPU" if m.system.threads == 1 else "wall"
        lines.append(
            f"| {m.net.name} | {m.system.name} | {m.system.threads} | {m.median_ms:.3f} | {clock} | {m.cosine:.6f} |"
        )
    return lines


def ratios(results: list[Measured]) -> list[str]:
    found = {(m.net.name, m.system.name): m for m in results}
    lines = ["| what | found | must | aim | reached |", "|---|---|---|---|---|"]

    def row(what: str, value: str, must: float, aim: float | str | None, reached: bool) -> None:
        lines.append(f"| {what} | {value} | {must} | {'' if aim is None else aim} | {'yes' if reached else 'NO'} |")

    for target in TARGETS:
        of, to = found.get((target.net, target.of)), found.get((target.net, target.to))
        if of is None or to is None:
            continue
        if target.speed_up:
            value = to.wall_ms / of.wall_ms
            what, reached = f"{target.net}: {target.of}, times as fast (wall)", value >= target.must
            row(what, f"{value:.2f}", target.must, target.aim, reached)
        else:
            value = of.median_ms / to.median_ms
            what, reached = f"{target.net}: {target.of} / {target.to}", value <= target.must
            row(what, f"{value:.3f}", target.must, target.aim, reached)
    for m in results:
        if m.system.name.startswith(MAGPIE):
            must = MIN_COSINE.get(m.net.name, ZOO_MIN_COSINE)
            what = f"{m.net.name}: {m.system.name}, cosine to exact ONNX Runtime"
            row(what, f"{m.cosine:.6f}{', every bit' * m.equal}", must, "equal", m.cosine >= must)
    return lines


def caveats(results: list[Measured]) -> list[str]:
    """Caveats to print below the table."""
    return [
        f"{m.net.name}, {m.system.name}: {m.hidden_work:.0%} of the CPU time is in other threads and not counted."
        for m in results
        if m.system.threads == 1 and m.hidden_work > MAX_HIDDEN_WORK
    ]


def json_text(results: list[Measured]) -> str:
    rows = [
        {
            "system": m.system.name,
            "net": m.net.name,
            "threads": m.system.threads,
            "median_ms": round(m.median_ms, 4),
        }
        for m in results
    ]
    return json.dumps(rows, indent=1) + "\n"


def profile_table(profiles: dict[str, list[Layers]], peak: tuple[str, float] | None) -> list[str]:
    lines = ["| net | layers | number | ms | GMAC/s | share of the peak |", "|---|---|---|---|---|---|"]
    for net, kinds in profiles.items():
        for layers in kinds:
            speed = f"{layers.gmac_per_second:.0f}" if layers.macs else ""
            share = f"{layers.gmac_per_second / peak[1]:.0%}" if layers.macs and peak else ""
            lines.append(f"| {net} | {layers.kind} | {layers.count} | {layers.ms:.3f} | {speed} | {share} |")
    return lines


def markdown(
    results: list[Measured],
    profiles: dict[str, list[Layers]],
    peak: tuple[str, float] | None,
    versions: str,
    runs: int,
) -> str:
    setting = (
        f"`cargo xtask peers inference`. {cpu()}, {platform.system()}. {versions}. Each system in its own process, "
        f"taking turns; medians of {runs} runs; cosines of the worst of {nets.TEST_PHOTOS} photos. What is compared, "
        "and how the comparison is kept fair: `tests/peers/inference/README.md`."
    )
    layers = "Magpie's own layers, one thread"
    if peak is not None:
        layers += f"; the int8 peak of a core is {peak[1]:.0f} GMAC/s ({peak[0]}, without memory accesses)"
    parts = [
        f"# Inference compared with peers, {date.today()}",
        setting,
        "\n".join(table(results)),
        *caveats(results),
        f"{layers}:",
        "\n".join(profile_table(profiles, peak)),
        "\n".join(ratios(results)),
    ]
    return "\n\n".join(parts) + "\n"
