"""What the lines of the claims come to: two plain sentences for readers in a hurry, and the counts behind them."""

from collections.abc import Iterable, Sequence

from bpsta_cli.reporting.claims.lines import Line
from bpsta_cli.reporting.claims.quantities import QUANTITIES
from bpsta_cli.reporting.claims.verdict import VERDICTS
from bpsta_cli.reporting.paper.literature import TITLES

BASES = {"real": "on the paper's own data", "part": "on a part of it", "stand-in": "on stand-ins"}
"""What verdicts rest on, the strongest first, as the counts call it."""
RESTING = {
    "real": "on the paper's own data",
    "part": "on a part of the paper's data",
    "stand-in": "on stand-ins for the paper's data",
}
"""The same, as the sentence calls it."""
BORNE_OUT, CONTRADICTED, BOTH, OPEN = "borne out", "contradicted", "both", "open"
OUTCOMES = {
    BORNE_OUT: "bear out {}",
    CONTRADICTED: "contradict {}",
    BOTH: "find {} true on some data and false on others",
    OPEN: "leave {} open",
}
"""What becomes of a claim over the data sets that it was tested on, and how the sentence counts it."""
OF_LINES = {"holds": "bear it out", "fails": "contradict it", "not told apart": "leave it open"}
"""What a line's verdict does to its claim."""
RULE = (
    "A claim is borne out where it holds on some data set and fails on none, contradicted the other way round, open "
    "where it was tested and no line is decided; its lines on the paper's own data go before those on a part of it, "
    "and these before those on stand-ins."
)


def finding(found: Sequence[Line]) -> str:
    """How many claims the runs bear out, contradict and leave open, and what they say of the main one."""
    claims: dict[str, list[Line]] = {}
    for line in found:
        claims.setdefault(line.claim.id, []).append(line)
    tested = [lines for same in claims.values() if (lines := _strongest(same))]
    start = f"Of {len(claims)} claims of the paper and the texts beside it, these runs "
    if not tested:
        return f"{start}test none."
    parts = []
    for base, resting in RESTING.items():
        outcomes = [_outcome(lines) for lines in tested if lines[0].base == base]
        if outcomes:
            counts = {name: outcomes.count(name) for name in OUTCOMES}
            words = [OUTCOMES[name].format(n or "none") for name, n in counts.items() if n or name != BOTH]
            parts.append(f"{_listed(words)} {resting}")
    if untested := len(claims) - len(tested):
        parts.append(f"do not test {untested}")
    return f"{start}{_listed(parts, ', and ')}{_of_main(found)}."


def summary(found: Sequence[Line]) -> str:
    """How many lines were tested on what, and what came of it."""
    parts = []
    for base, words in BASES.items():
        here = [line for line in found if line.base == base]
        counted = [(name, sum(line.verdict == name for line in here)) for name in VERDICTS[:-1]]
        counts = ", ".join(f"{name} {count}" for name, count in counted if count)
        parts.append(f"{words}: {len(here) or 'none'}{f' ({counts})' if counts else ''}")
    untested = sum(line.verdict == VERDICTS[-1] for line in found)
    claims = len({line.claim.id for line in found})
    return (
        f"Claims: {claims}, on {len(found)} lines, one for each data set. Tested {'; '.join(parts)}. Not tested: "
        f"{untested or 'none'}."
    )


def data_of(line: Line) -> str:
    """The data that a verdict rests on, by their own name."""
    title = TITLES.get(line.dataset, "")
    names = {"stand-in": line.evidence.groups[0].dataset if line.evidence.groups else "", "part": f"a part of {title}"}
    return names.get(line.base, title)


def _strongest(lines: Iterable[Line]) -> list[Line]:
    """Of a claim's tested lines those on the strongest base."""
    tested = [line for line in lines if line.base]
    bases = [base for base in BASES if any(line.base == base for line in tested)]
    return [line for line in tested if line.base == bases[0]]


def _outcome(lines: Iterable[Line]) -> str:
    verdicts = {line.verdict for line in lines}
    if {"holds", "fails"} <= verdicts:
        return BOTH
    return BORNE_OUT if "holds" in verdicts else CONTRADICTED if "fails" in verdicts else OPEN


def _of_main(found: Sequence[Line]) -> str:
    """What the runs say of the claim that is marked as the main one."""
    lines = [line for line in found if line.claim.main]
    if not lines:
        return ""
    name = f". The main one is that {lines[0].claim.claim}: these runs "
    shown = _strongest(lines)
    if not shown:
        return f"{name}do not test it"
    said = []
    for verdict, words in OF_LINES.items():
        if same := [f"{_data_and_recipe(line)} ({_by(line)})" for line in shown if line.verdict == verdict]:
            said.append(f"{words} on {_listed(same)}")
    return name + _listed(said)


def _data_and_recipe(line: Line) -> str:
    """The data of a tested line; one data set may have lines of several recipes."""
    group = line.evidence.groups[0]
    recipe = group.like["recipe"]
    return data_of(line) if recipe == group.dataset else f"{data_of(line)} with recipe {recipe}"


def _by(line: Line) -> str:
    """The estimate in short."""
    quantity, value = QUANTITIES[line.claim.quantity], line.estimate.value if line.estimate else float("nan")
    if quantity.ratio:
        return f"{value:.{quantity.digits}f} times"
    return f"{value:+.{quantity.digits}f} {quantity.distance}".strip()


def _listed(words: Sequence[str], last: str = " and ") -> str:
    """ "a, b and c"."""
    return last.join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
