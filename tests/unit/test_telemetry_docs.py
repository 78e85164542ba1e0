"""The documentation, the alerts and the table of names say the same."""

import ast
import re
from pathlib import Path

import pytest
import yaml

from playhead.streams.names import Attribute, Metric, OpenTelemetryVariable, Span

ROOT = Path(__file__).parents[2]
TELEMETRY = (ROOT / "docs" / "telemetry.md").read_text()
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
RULES = [
    rule
    for group in yaml.safe_load((ROOT / "dashboards" / "rules" / "playhead.yaml").read_text())["groups"]
    for rule in group["rules"]
]


def documented(head: str) -> set[str]:
    """What the first column of the table with this head names in code."""
    table = re.search(rf"^\| {head} \|.*\n\|[-|]+\n((?:\|.*\n)+)", TELEMETRY, re.MULTILINE)
    rows = table[1].splitlines()
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])}


@pytest.mark.parametrize(
    ("head", "names"),
    [("metric", Metric), ("span", Span), ("attribute", Attribute), ("variable", OpenTelemetryVariable)],
)
def test_the_documentation_has_every_name_and_no_other(head, names):
    assert {str(name) for name in names} == documented(head)


def test_the_documentation_has_the_key_of_every_message_and_no_other():
    said = {"timestamp", "level", "event", "logger", "exception", "position", "event_id", "trace_id"}
    for package in ("streams", "eventlog", "projections", "consumers", "playhead"):
        for path in (ROOT / package).rglob("*.py"):
            for call in ast.walk(ast.parse(path.read_text())):
                if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
                    of = ast.unparse(call.func.value)
                    if re.search(r"\b_?log$|get_logger\(\)$", of) and call.func.attr in {
                        "bind", "info", "warning", "error", "critical",
                    }:  # fmt: skip
                        said |= {keyword.arg for keyword in call.keywords if keyword.arg}

    assert said - {"exc_info"} == documented("key")


def test_every_metric_is_watched_by_an_alert_and_every_alert_watches_metrics_that_exist():
    watched = {
        re.sub("_(bucket|count)$", "", name)
        for rule in RULES
        for name in re.findall(r"\b(?:playhead|recorder)_[a-z_]+", rule["expr"])
    }

    assert {str(name) for name in Metric} == watched


def test_every_alert_has_a_runbook_and_a_row_and_none_is_left_over():
    alerts = [rule["alert"] for rule in RULES]

    assert len(alerts) == len(set(alerts))
    assert set(alerts) == set(re.findall(r"^### (\w+)$", OPERATIONS, re.MULTILINE))
    assert {(rule["alert"], rule["alert"].lower(), rule["labels"]["severity"]) for rule in RULES} == set(
        re.findall(r"^\| \[(\w+)\]\(#(\w+)\) \| (\w+) \|", OPERATIONS, re.MULTILINE)
    )
    assert all(rule["annotations"]["summary"] for rule in RULES)
