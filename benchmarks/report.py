"""The report: tables for a terminal, and the page docs/benchmarks.md."""

from collections.abc import Mapping, Sequence

from benchmarks.contest import Rate, Result, Section

_START, _END = "<!-- measured -->", "<!-- /measured -->"


def lines(section: Section) -> list[str]:
    """A section for a terminal."""
    found = [f"\n{section.title}"]
    found.extend(
        f"  {rate.name:<44}{rate.size:>7}{_rate(rate):>14}/s{_cpu(rate.cpu):>9}{_cpu(rate.server_cpu):>9} µs"
        for rate in section.rates
    )
    for result in section.results:
        verdict = {None: "", True: "met", False: "MISSED"}[result.met]
        found.append(f"  {result.name:<60}{result.size:>7}{_value(result):>14}  {_aim(result):<12}{verdict}")
    return found


def page(text: str, machine: Mapping[str, str], sections: Sequence[Section]) -> str:
    """The page with its measured part replaced; what people wrote around it stays."""
    head, _, rest = text.partition(_START)
    tail = rest.partition(_END)[2]
    return head + "\n\n".join([_START, _machine(machine), _aims(sections), *map(_section, sections), _END]) + tail


def _machine(machine: Mapping[str, str]) -> str:
    return "| | |\n|---|---|\n" + "\n".join(f"| {name} | {value} |" for name, value in machine.items())


def _aims(sections: Sequence[Section]) -> str:
    rows = [
        f"| {result.name} | {result.size} | {_value(result)} | {_aim(result)} | {'yes' if result.met else '**no**'} |"
        for section in sections
        for result in section.results
        if result.met is not None
    ]
    return "## Aims\n\n| | event | measured | aim | met |\n|---|---|---|---|---|\n" + "\n".join(rows)


def _section(section: Section) -> str:
    parts = [f"## {section.title}", section.note]
    if section.rates:
        rows = [
            f"| {rate.name} | {rate.size} | {_rate(rate)} | {_cpu(rate.cpu)} | {_cpu(rate.server_cpu)} |"
            for rate in section.rates
        ]
        head = "| | event | events/s | CPU µs an event | server's CPU µs |\n|---|---|---:|---:|---:|\n"
        parts.append(head + "\n".join(rows))
    if section.results:
        rows = [f"| {result.name} | {result.size} | {_value(result)} |" for result in section.results]
        parts.append("| | event | |\n|---|---|---:|\n" + "\n".join(rows))
    return "\n\n".join(parts)


def _rate(rate: Rate) -> str:
    return f"{rate.per_second:,.0f}"


def _cpu(microseconds: float) -> str:
    return f"{microseconds:.1f}" if microseconds else ""


def _value(result: Result) -> str:
    return f"{result.value:.2f} {result.unit}"


def _aim(result: Result) -> str:
    if result.aim is None:
        return ""
    return f"{'<' if result.at_most else '≥'} {result.aim:g} {result.unit}"
