"""A check as files for a CI system: JUnit's XML, and a summary in GitHub's Markdown."""

from __future__ import annotations

from itertools import groupby
from xml.etree import ElementTree as ET

from edgekit.checks.findings import ACCEPTED, FAIL, INCONCLUSIVE, NOTE, CheckReport, Finding
from edgekit.cli.render import plain

SIGNS = {"pass": "✅", FAIL: "❌", INCONCLUSIVE: "❔", NOTE: "", ACCEPTED: "☑️"}


def junit(report: CheckReport) -> bytes:
    """The report as JUnit's XML: a suite for each group, a case for each finding.

    What is inconclusive is an error, what was accepted is skipped.
    """
    root = ET.Element("testsuites", name="edgekit check", time=f"{report.seconds:.1f}")
    for group, findings in groupby(report.findings, key=lambda finding: finding.group):
        cases = list(findings)
        suite = ET.SubElement(
            root,
            "testsuite",
            name=group,
            tests=str(len(cases)),
            failures=str(sum(case.outcome == FAIL for case in cases)),
            errors=str(sum(case.outcome == INCONCLUSIVE for case in cases)),
            skipped=str(sum(case.outcome == ACCEPTED for case in cases)),
        )
        for case in cases:
            _case(suite, case)
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def summary(report: CheckReport) -> str:
    """The report as Markdown: what is wrong first, the rest folded away."""
    error = report.error
    why = f" ({error.kind}, exit code {error.exit_code})" if error else ""
    lines = [
        f"## edgekit check: {SIGNS[report.verdict]} {report.verdict}{why}",
        "",
        f"`{_cell(str(report.new))}` against `{_cell(str(report.old))}`",
        "",
    ]
    wrong = [finding for finding in report.findings if finding.outcome in (FAIL, INCONCLUSIVE, ACCEPTED)]
    if wrong:
        lines += [*_table(wrong), ""]
    timed = [finding for finding in report.findings if finding.group == "latency" and finding not in wrong]
    if timed:
        lines += [*_table(timed), ""]
    rest = [finding for finding in report.findings if finding not in wrong and finding not in timed]
    lines += [f"<details><summary>{len(rest)} more</summary>", "", *_table(rest), "", "</details>", ""]
    return "\n".join(lines)


def _case(suite: ET.Element, finding: Finding) -> None:
    case = ET.SubElement(suite, "testcase", classname=f"edgekit.{finding.group}", name=plain(finding.name))
    said = plain(" ".join(part for part in (_change(finding), finding.detail) if part))
    if finding.outcome == FAIL:
        ET.SubElement(case, "failure", type=finding.error.kind if finding.error else "", message=said)
    elif finding.outcome == INCONCLUSIVE:
        ET.SubElement(case, "error", type=INCONCLUSIVE, message=said)
    elif finding.outcome == ACCEPTED:
        ET.SubElement(case, "skipped", message=f"accepted: {said}")
    elif said:
        ET.SubElement(case, "system-out").text = said


def _change(finding: Finding) -> str:
    return f"{finding.old} -> {finding.new}" if finding.old and finding.new else finding.new


def _table(findings: list[Finding]) -> list[str]:
    rows = ["| | | what | baseline | new | |", "|---|---|---|---|---|---|"]
    for one in findings:
        cells = (SIGNS[one.outcome], one.group, one.name, one.old, one.new, one.detail)
        rows.append("| " + " | ".join(map(_cell, cells)) + " |")
    return rows


def _cell(text: str) -> str:
    # Names come from bundles: they must not end the cell, open a tag or make a link.
    for letter in "\\`|<>[]":
        text = text.replace(letter, f"&#{ord(letter)};")
    return plain(text)
