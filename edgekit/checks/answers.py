"""Do the new bundle and its baseline give the same answers to the baseline's golden cases, here and now?"""

from __future__ import annotations

from edgekit.bundle.reading import Bundle
from edgekit.checks.findings import FAIL, NOTE, Finding, outcome
from edgekit.checks.sides import Pair, Sides
from edgekit.errors import EdgekitError, HostError, IntegrityError
from edgekit.runtime.answers import agreement
from edgekit.runtime.host import Host
from edgekit.runtime.loading import open_variant
from edgekit.spec.manifest import Variant


def golden(sides: Sides, host: Host) -> list[Finding]:
    """Ask every pair that this machine is a device of.

    Raises:
        IntegrityError: A file is not what its manifest lists.
    """
    same_model = sides.new.manifest.source.weights_sha256 == sides.old.manifest.source.weights_sha256
    found = []
    for pair in sides.pairs:
        if not _fits(sides.new, pair.new, host) or not _fits(sides.old, pair.old, host):
            found.append(Finding("answers", pair.name, NOTE, detail="not run: this machine is no such device"))
            continue
        try:
            found += _ask(sides, pair, same_model=same_model)
        except IntegrityError:
            raise
        except HostError as error:
            found.append(Finding("answers", pair.name, FAIL, detail=error.message, cause=HostError))
        except EdgekitError as error:  # other fields than the golden cases have
            found.append(Finding("answers", pair.name, FAIL, detail=error.message))
    return found


def _ask(sides: Sides, pair: Pair, *, same_model: bool) -> list[Finding]:
    with open_variant(sides.new, pair.new) as new, open_variant(sides.old, pair.old) as old:
        own = new.self_test()
        cases = old.golden()
        answers = [(new.raw([case.input])[0], old.raw([case.input])[0]) for case in cases]
    kept = min(agreement(case.expected, mine) for case, (mine, _) in zip(cases, answers, strict=True))
    before = min(agreement(case.expected, theirs) for case, (_, theirs) in zip(cases, answers, strict=True))
    apart = min(agreement(theirs, mine) for mine, theirs in answers)
    bound = _bound(pair)
    found = [
        Finding(
            "answers",
            f"{pair.name}: own golden cases",
            outcome(holds=own.passed),
            new=f"{own.worst:.5f}",
            detail=f"worst of {own.cases}, at least {own.bound:g}",
        )
    ]
    if same_model:
        said = f"worst of {len(cases)}, at least {bound:g}; new beside old {apart:.5f}"
        holds = outcome(holds=kept >= bound)
        found.append(
            Finding("answers", f"{pair.name}: baseline's", holds, f"{before:.5f}", f"{kept:.5f}", said)
        )  # fmt: skip
    else:
        found.append(
            Finding("answers", f"{pair.name}: baseline's", NOTE, f"{before:.5f}", f"{kept:.5f}", "another model's")
        )
    return found


def _bound(pair: Pair) -> float:
    """What the baseline's self-test accepts; a variant of another precision is held to what its own does."""
    if pair.new.precision == pair.old.precision:
        return pair.old.self_test_min
    return min(pair.new.self_test_min, pair.old.self_test_min)


def _fits(bundle: Bundle, variant: Variant, host: Host) -> bool:
    targets = [bundle.manifest.targets[name] for name in variant.targets]
    return any(not target.missing_on(host.architecture, host.cpu_features, host.providers) for target in targets)
