"""`docs/claims.md`: every claim, what it is held to, what the committed results say, and the verdict. Torch-free."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from dfml.results.claims.declared import Claim, Claims, Comparison, SpeedTest, load_claims
from dfml.results.claims.evidence import EQUAL, NotMeasuredError, Shelf
from dfml.results.claims.verdict import MOST_SEEDS, Judgement, judge, judge_speed, overall
from dfml.results.labels import RULES, method_label

DECLARED = Path("docs/claims.yaml")
PAGE = Path("docs/claims.md")
RESULTS = Path("docs/results")

_INTRODUCTION = f"""\
# Claims, and what the results say about them

<!-- Made by `dfml claims` from docs/claims.yaml and docs/results: change those, not this file. -->

Claims of the paper and of this repository. What is compared, by which measure, what has to be reached and how long a
method may learn stands in [claims.yaml](claims.yaml) before anything is run, or it says otherwise; a program applies
it to the results that are committed below [results](results/README.md), and writes this page. Every number in a
column *measured* is of these results. What others have published is quoted beside the claim and is no measurement of
ours: [published.md](published.md).

**A verdict is about this repository's images, zoos and budgets, which are smaller than the paper's**, and about the
results as they are committed: after a change of code or of a study it stays until that study has run again.

## How a verdict is made

Two methods are compared on the same seed, and so the same zoo, and on the same meta-test episodes: a seed's value is
the difference of their mean accuracies over the episodes, in points, on a pool of several data sets of the means over
these. Over the seeds it has Student's 95 % interval ([method.md](method.md) §8.3). All that is compared is of one
experiment; another kind of processor rounds otherwise and trains other zoos.

- **confirmed**: all of the interval reaches what the claim wants.
- **refuted**: nothing of the interval does.
- **undecided**: neither, or fewer seeds than the study wants. Given is then the smallest number of seeds whose
  interval would exclude the threshold if mean and spread stayed as they are, up to {MOST_SEEDS}. That is for a new
  study, which declares so many beforehand: a study that gets seeds until something is decided decides too often. With
  no difference at all, a look after each seed from the fifth on decides 19 % of claims by the twentieth, not 5 %.
- A claim about **every seed** is refuted by one seed that does not reach it, and confirmed by as many as the study
  wants.
- Where **equal episodes** are wanted, numbers of them that differ by more than {100 * EQUAL:.0f} % leave a test
  undecided.
- A ratio of **seconds at equal quality** lies between two timed numbers of steps per model: the longest that is not
  as good as FIVE, and the first that is, by its classifier's accuracy and cross-entropy alike. Confirmed, when the
  lower end reaches the threshold; refuted, when the upper does not.
- **not run**: a number is missing; the commands make it.

A claim with several tests is confirmed when all are and refuted when one is; otherwise it is undecided, or not run if
nothing but runs is missing. Against the strongest of several methods a claim is tested against each of them: so
nobody has to choose the strongest, on whatever classes. Nothing is corrected for the number of claims: of twenty
intervals, one misses what it is about."""


def claims_page(root: Path) -> str:
    """The whole page, from ``docs/claims.yaml`` and ``docs/results`` below ``root``.

    Raises:
        ConfigError: the declared claims are wrong.
        FileFormatError: committed results are damaged.
        DfmlError: what is compared was evaluated on different episodes.
    """
    claims, shelf = load_claims(root / DECLARED, root=root), Shelf(root / RESULTS)
    found = [[*_judgements(claim, shelf)] for claim in claims.claims]
    rows = [
        f"| [{number}. {claim.id}](#{number}-{claim.id}) | {_cell(claim.says)} | **{overall(own)}** |"
        for number, (claim, own) in enumerate(zip(claims.claims, found, strict=True), 1)
    ]
    table = "\n".join(["| | claim | verdict |", "|---|---|---|", *rows])
    parts = [
        "\n\n".join(_section(number, claim, own, claims, shelf))
        for number, (claim, own) in enumerate(zip(claims.claims, found, strict=True), 1)
    ]
    return "\n\n".join([_INTRODUCTION, "## Verdicts", table, *parts]) + "\n"


def _judgements(claim: Claim, shelf: Shelf) -> Iterator[Judgement]:
    for timing in claim.speed:
        try:
            yield judge_speed(shelf.arms(timing), timing)
        except NotMeasuredError as missing:
            yield Judgement("not run", str(missing))
    for comparison in claim.compare:
        try:
            judgement = judge(shelf.differences(comparison), comparison)
            unequal = comparison.equal_episodes and shelf.unequal_episodes(comparison)
            yield replace(judgement, verdict="undecided", why=unequal) if unequal else judgement
        except NotMeasuredError as missing:
            yield Judgement("not run", str(missing))


def _section(number: int, claim: Claim, found: Sequence[Judgement], claims: Claims, shelf: Shelf) -> Iterator[str]:
    """The paragraphs about one claim."""
    yield f"## {number}. {claim.id}"
    yield f"{claim.says} **{overall(found).capitalize()}.**"
    facts = [f"- Source: {claim.source}"]
    if claim.published:
        facts.append(f"- Published: {claim.published}")
    yield "\n".join([*facts, f"- Budget: {claim.budget}"])
    rows = ["| test | wanted | measured | seeds: values | verdict | why |", "|---|---|---|---|---|---|"]
    tests: list[SpeedTest | Comparison] = [*claim.speed, *claim.compare]
    for test, judgement in zip(tests, found, strict=True):
        what = _timing(test) if isinstance(test, SpeedTest) else _comparison(test)
        values = ", ".join(f"{seed}: {value:.2f}".replace("-", "−") for seed, value in judgement.values.items()) or "–"
        cells = [what, _wanted(test), judgement.measured, values, f"**{judgement.verdict}**", judgement.why]
        rows.append(f"| {' | '.join(_cell(cell) for cell in cells)} |")
    yield "\n".join(rows)
    yield "\n".join(_origin(name, claims, shelf) for name in claim.experiments)


def _comparison(test: Comparison) -> str:
    """``FREE − Random; demo, pool single, 1-shot, fine-tuning, transductive``."""
    text = method_label(test.of)
    for side in test.against:
        factor = "" if side.weight == 1 else f"{side.weight:g} × "
        text += f" − {factor}{method_label(side.method)}"
    data = f", {test.dataset}" if test.dataset else ""
    place = f"{test.experiment}, pool {test.pool}{data}"
    return f"{text}; {place}, {test.shots}-shot, {RULES[test.rule]}, {test.batch_norm}"


def _timing(test: SpeedTest) -> str:
    return f"seconds of per-model inversion as good as FIVE's, in FIVE's; {test.experiment}, pool {test.pool}"


def _wanted(test: SpeedTest | Comparison) -> str:
    if isinstance(test, SpeedTest):
        return f"{test} times, {test.tasks} tasks"
    unit = "points" if test.against else "percent"
    equal = ", equal episodes" if test.equal_episodes else ""
    return f"{test} {unit}, {'every one of ' if test.every_seed else ''}{test.seeds} seeds{equal}"


def _origin(name: str, claims: Claims, shelf: Shelf) -> str:
    """A line on where an experiment's numbers are, or how they would be made."""
    experiment = claims.experiments[name]
    known = " Its results were known when what is asked of them was written down." if experiment.known else ""
    try:
        return f"- {name}: [results.csv](results/{name}/results.csv), {shelf.origin(name)}.{known}"
    except NotMeasuredError:
        return (
            f"- {name}: not committed. `{experiment.command}`, then `./run.sh dfml publish {name}`; {experiment.cost}."
        )


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
