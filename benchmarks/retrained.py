"""Killed, trained again, resumed: ten random moments for each protocol, and whose number comes out.

    python -m benchmarks.retrained [--kills 10] [PROTOCOL ...]

Each line: protocol, kills, how many resumed runs gave the new model's numbers, and the seconds it took.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))


def main() -> None:
    """Run and print."""
    import test_retrained

    from colorbench.evaluation import features, shard_job

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("protocols", nargs="*", default=list(test_retrained.PROTOCOLS))
    chosen = parser.parse_args()
    shard_job.SHARD = features.SHARD = 2
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        requests = test_retrained.requests(root / "sets")
        for protocol in chosen.protocols:
            started = time.perf_counter()
            (root / protocol).mkdir()
            test_retrained.check(protocol, requests[protocol], root / protocol, chosen.kills)
            print(f"{protocol}: {chosen.kills} of {chosen.kills}, {time.perf_counter() - started:.1f} s", flush=True)


if __name__ == "__main__":
    main()
