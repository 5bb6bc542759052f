"""All benchmarks one after another: ``python -m benchmarks [--json FILE] [--only NAME …]``, or other series of them."""

import argparse
import sys
from typing import Any

from benchmarks import end_to_end, episodes, evaluation, forms, growth, inversion, large, use, workflow, zoo
from benchmarks.report import arguments, measure_all, parsed, write

BENCHMARKS = {
    "episodes": ("Meta-step", episodes.cases),
    "evaluation": ("Evaluation", evaluation.cases),
    "use": ("Use of a learner", use.cases),
    "inversion": ("Inversion", inversion.cases),
    "zoo": ("Zoo training", zoo.cases),
    "zoo_bfloat16": ("Zoo training in bfloat16 beside float32", zoo.bfloat16_cases),
    "end_to_end": ("FREE end to end", end_to_end.cases),
    "workflow": ("Planning", workflow.cases),
    "forms": ("Forms of the meta-step", forms.cases),
    "inversion_forms": ("Forms of inversion", forms.inversion_cases),
}
TABLES_OF_FORMS = ("forms", "inversion_forms")
USUAL = [name for name in BENCHMARKS if name not in TABLES_OF_FORMS]


def main() -> None:
    """Measure, show, and write if asked to."""
    parser = arguments(__doc__)
    parser.add_argument(
        "--only", nargs="+", choices=BENCHMARKS, default=USUAL, help="some of them, or forms to choose from"
    )
    parser.add_argument("--growth", action="store_true", help="instead, how dfml's own cost grows with the sizes")
    parser.add_argument(
        "--large", nargs="*", type=int, metavar="MODELS", help=f"instead, zoos of many models; by default {large.SIZES}"
    )
    options = parsed(parser)
    if options.large is not None:
        options.tf32 = False  # the rows of :mod:`benchmarks.large` are in float32
        results = large.measure_all(options.device, options.threads, options.large or large.SIZES)
    elif options.growth:
        results = growth.measure_all(options.device, options.threads, tf32=options.tf32)
    else:
        side_by_side(options)
        return
    if options.json:
        write(options.json, results, options.device, tf32=options.tf32)


def side_by_side(options: argparse.Namespace) -> None:
    """The benchmarks that were asked for, in one file."""
    results: list[dict[str, Any]] = []
    for name in options.only:
        title, cases = BENCHMARKS[name]
        chosen = cases(options.device)
        found = measure_all(title, chosen, options, before=results)
        results += found
        if name in TABLES_OF_FORMS:
            sys.stdout.writelines(f"{line}\n" for line in forms.fastest(chosen, found))


if __name__ == "__main__":
    main()
