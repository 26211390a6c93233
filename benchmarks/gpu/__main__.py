"""The command: parts in order of worth, each with its share of the time."""

import argparse
import time
from pathlib import Path

from benchmarks.gpu import floors, machine, others, right, steps, table
from benchmarks.gpu.part import Part, Settings, run_part
from benchmarks.gpu.report import Report
from quantlab import execution  # noqa: F401  (imports torch, before anything is forked)

PARTS: dict[str, tuple[Part, float]] = {
    "right": (right.measurements, 0.13),
    "floors": (floors.measurements, 0.04),
    "steps": (steps.measurements, 0.37),
    "others": (others.measurements, 0.21),
    "table": (table.measurements, 1.0),
}
"""Name -> measurements, and the share of the whole time that they may take at most; the last one
has what is left. An H200 should need some 50, 10, 180 and 95 seconds for the others."""


def main() -> None:
    """Run the parts that were asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--minutes", type=float, default=8.0, help="for all parts together")
    parser.add_argument("--out", type=Path, default=Path("gpu-results"), help="folder of gpu.json")
    parser.add_argument("--device", default="cuda", help="cuda, or cpu for a rehearsal")
    parser.add_argument(
        "--data",
        type=Path,
        default=Path("data/cifar10-jpeg.tar.gz"),
        help="CIFAR-10 as {train,test}/<class>/*.jpg in a tar file",
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    options = parser.parse_args()
    started = time.time()
    end = started + 60 * options.minutes
    report = Report(
        options.out / "gpu.json",
        {"minutes": options.minutes, "device": options.device, "parts": options.parts},
    )

    def settings(until: float) -> Settings:
        found = {name: report.results(name) for name in PARTS}
        return Settings(options.device, options.data, found, until)

    report.begin("machine", 60)
    state = run_part("machine", machine.measurements, settings(min(end, started + 60)), report)
    report.end("machine", state, time.time() - started)
    report.describe(report.results("machine").get("machine", {}))
    for name in options.parts:
        part, share = PARTS[name]
        if options.device == "cpu":  # nobody minds which part of a rehearsal takes how long
            share = 1.0
        begun = time.time()
        until = min(end, begun + 60 * options.minutes * share)
        print(f"{name}: at most {until - begun:.0f} s", flush=True)
        report.begin(name, until - begun)
        state = "out of time"
        try:
            if until - begun > 1:
                state = run_part(name, part, settings(until), report)
        except Exception as error:  # whatever it is, the next part begins
            state = f"failed: {error}"
        report.end(name, state, time.time() - begun)
        print(f"{name}: {state} after {time.time() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    main()
