"""Cost of a second linear probe with cached features, against the first.

python -m benchmarks.probe --train imagenette/train --test imagenette/val --limit 300

Runs the linear probe of ``zoo/cic`` twice with different validation splits in a separate folder, so that the second
finds features but no classifiers. It is compared with the first run, which passes every image through the network.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from colorbench.data import open_dataset
from colorbench.evaluation import RunConfig, run


def main() -> None:
    """Print CPU seconds and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=300)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        first = RunConfig(
            models=["zoo/cic"],
            protocols=["linear-probe"],
            data=open_dataset(given.test),
            roles={"train": open_dataset(given.train)},
            parameters={"linear-probe": {"controls": ""}},
            output=Path(folder),
            limit=given.limit,
        )
        seconds = []
        for covered in (0.1, 0.15):
            started = time.process_time()
            run(replace(first, parameters={"linear-probe": {"controls": "", "held": covered}}))
            seconds.append(time.process_time() - started)
    print(f"first probe   {seconds[0]:7.1f} s of CPU: decoding, network, classifiers")
    print(f"second probe  {seconds[1]:7.1f} s of CPU: classifiers ({seconds[0] / seconds[1]:.1f} times less)")


if __name__ == "__main__":
    main()
