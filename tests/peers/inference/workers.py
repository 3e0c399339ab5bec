"""Runs LiteRT and ONNX Runtime, as `tests/examples/inference_peer.rs` runs Magpie: `workers.py SYSTEM FOLDER THREADS`.

First prints a line with a JSON array of the output vectors of all photos. Then reads a number of runs from each line of
input, runs the first photo that often, and prints a line with `[thread CPU time, process CPU time, wall time]` of each
run in milliseconds.
"""

import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from packs import INPUT, OUTPUT, Net, session

# How to run one photo: `set` the input, `run` (the only part that is timed), and `get` the embedding.
Runner = tuple[Callable[[np.ndarray], None], Callable[[], None], Callable[[], np.ndarray]]


def onnx_runtime(net: Net, threads: int, exact: bool) -> Runner:
    runtime = session(net.onnx, threads, exact)
    names = [output.name for output in runtime.get_outputs()]
    feed: dict[str, np.ndarray] = {}
    results: dict[str, np.ndarray] = {}
    return (
        lambda photo: feed.update({INPUT: photo}),
        lambda: results.update(zip(names, runtime.run(names, feed))),
        lambda: results[OUTPUT],
    )


def litert(net: Net, threads: int) -> Runner:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(net.tflite), num_threads=threads)
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]

    def set_photo(photo: np.ndarray) -> None:
        scale, zero = source["quantization"]
        limits = np.iinfo(source["dtype"])
        levels = np.clip(np.rint(photo / np.float32(scale) + zero), limits.min, limits.max)
        interpreter.set_tensor(source["index"], levels.transpose(0, 2, 3, 1).astype(source["dtype"]))

    def get() -> np.ndarray:
        scale, zero = target["quantization"]
        return (interpreter.get_tensor(target["index"]).astype(np.float32) - zero) * np.float32(scale)

    return set_photo, interpreter.invoke, get


SYSTEMS = {
    "onnxruntime": partial(onnx_runtime, exact=False),
    "onnxruntime-exact": partial(onnx_runtime, exact=True),
    "litert": litert,
}


def milliseconds(run: Callable[[], None]) -> list[float]:
    before = time.thread_time_ns(), time.process_time_ns(), time.perf_counter_ns()
    run()
    after = time.thread_time_ns(), time.process_time_ns(), time.perf_counter_ns()
    return [(b - a) / 1e6 for a, b in zip(before, after)]


def main() -> None:
    name, folder, threads = sys.argv[1:]
    net = Net(Path(folder))
    set_photo, run, get = SYSTEMS[name](net, int(threads))
    outputs = []
    for photo in net.inputs:
        set_photo(photo)
        run()
        outputs.append(get()[0].tolist())
    print(json.dumps(outputs), flush=True)
    set_photo(net.inputs[0])
    for line in sys.stdin:
        print(json.dumps([milliseconds(run) for _ in range(int(line))]), flush=True)


if __name__ == "__main__":
    main()
