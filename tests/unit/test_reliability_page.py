"""The page of reliability sums up the page of every run."""

from tests.faults.reports import PAGE, RUNS, Harm, Report, render, render_runs


def report(sink: str, server: str = "valkey", harm: Harm | None = None) -> Report:
    return Report("kill -9", sink, "nothing lost", 1000, harm or Harm(), "no lease", Harm(0, 3, 0), None, 1, server)


def row_of(page: str) -> list[str]:
    (row,) = [line for line in page.splitlines() if line.startswith("| kill -9")]
    return row.strip("| ").split(" | ")


def test_the_pages_agree():
    assert render(RUNS.read_text()) == PAGE.read_text(), "write it again: `make faults` does"


def test_sinks_share_a_row_and_servers_have_columns():
    page = render(render_runs([report("jobs"), report("log"), report("log", "redis-7.0")]))

    assert ["kill -9", "jobs, log", "nothing lost", "2,000", "1,000", "no lease: 9 duplicated"] == row_of(page)


def test_what_was_lost_once_is_said():
    page = render(render_runs([report("jobs"), report("log", harm=Harm(lost=2))]))

    assert "2,000: **2 lost, 0 duplicated, 0 wrong**" == row_of(page)[3]


def test_a_run_replaces_the_one_before_and_keeps_the_others():
    before = render_runs([report("jobs", harm=Harm(lost=2)), report("log")])
    page = render(render_runs([report("jobs")], before))

    assert ["jobs, log", "2,000"] == [row_of(page)[1], row_of(page)[3]]
