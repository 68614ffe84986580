"""The demo's claim: each of its three networks beats bicubic, in mean RGB PSNR, on the four degradations with noise."""

import sys
from pathlib import Path

from wildsr.report import read_rows, summarize

summary = summarize(read_rows([Path(sys.argv[1]) / "bench"]), "psnr", "rgb")
failures = []
for model in ("plain", "dropout", "alignment"):
    for degradation in ("noise", "b+n", "n+j", "b+n+j"):
        mine, bicubic = (summary.cell(name, "held-out", degradation).mean for name in (model, "bicubic"))
        print(f"{model:<10}{degradation:<6}{mine - bicubic:+.3f} dB over bicubic")
        if mine <= bicubic:
            failures.append(f"{model} on {degradation}")
sys.exit(f"no better than bicubic: {', '.join(failures)}" if failures else 0)
