"""Try damaged inputs of one reader, or of all.

python -m tests.fuzz rows --seconds 600
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.fuzz.harness import fuzz
from tests.fuzz.readers import READERS, make_inputs


def main() -> int:
    """Print how many inputs were tried and refused, and each finding."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reader", nargs="*", help=f"of {', '.join(READERS)}; all by default")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    findings = 0
    with tempfile.TemporaryDirectory() as folder:
        sound = Path(folder) / "sound"
        make_inputs(sound)
        for name in arguments.reader or READERS:
            outcome = fuzz(name, sound, arguments.seconds, arguments.seed)
            refused = ", ".join(f"{kind} {count}" for kind, count in outcome.refused.most_common())
            sys.stdout.write(f"{name}: {outcome.inputs} inputs, {len(outcome.findings)} findings; refused: {refused}\n")
            for finding in outcome.findings:
                sys.stdout.write(f"  {finding}\n")
            findings += len(outcome.findings)
    return 1 if findings else 0


if __name__ == "__main__":
    raise SystemExit(main())
