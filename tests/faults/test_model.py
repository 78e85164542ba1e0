"""Random sequences of everything that may happen, against the model."""

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.faults.model import Machine, Violated
from tests.faults.reports import Harm, Report

STEPS = 20


def explore(machine: type[Machine], start: int, sequences: int, steps: int) -> None:
    profile = settings(
        max_examples=sequences,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    run_state_machine_as_test(seed(start)(machine), settings=profile)


@pytest.fixture
def machine(fault_server) -> type[Machine]:
    return type("Machine", (Machine,), {"server": fault_server, "steps": 0})


def test_whatever_happens_each_sink_is_the_fold_of_what_was_acknowledged(machine, fault_server, report, count, seed):
    sequences = count(3, 1000)
    hasty = type("Hasty", (machine,), {"acknowledges_first": True})
    harm = Harm()
    try:
        explore(machine, seed, sequences, STEPS)
    except Violated as violated:
        harm = violated.harm
        raise
    with pytest.raises(Violated) as found:
        fail_on_purpose(hasty())

    report(
        Report(
            "random sequences of append, read, claim, acknowledge, crash, restart, trim and flush",
            "log, json-files, a worker",
            "each is the fold of what was acknowledged and not lost with Redis unread",
            machine.steps,
            harm,
            "acknowledge first",
            found.value.harm,
            None,
            seed,
            fault_server.name,
        )
    )


def fail_on_purpose(machine: Machine) -> None:
    """One of the sequences, and the check at its end."""
    machine.append([(0, False), (1, False), (2, True)])
    machine.read_and_write_files("before apply", 5)
    machine.teardown()
