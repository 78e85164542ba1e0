"""Workers that are functions: what they may return, and that a second attempt appends nothing twice."""

import asyncio
from functools import partial

import msgspec
import pytest

from playhead import Domain, Stream, Task
from playhead.consumers.errors import OutcomeInvalid
from playhead.streams.errors import DomainInvalid
from playhead.streams.events import new_event
from playhead.testing import WorkerScenario
from tests.support.invoices import InvoicePaid, ReceiptSent, stream

PAID = InvoicePaid("1", 10)
SENT = ReceiptSent("1")
failures = Stream("failures")


@failures.event("receipt.failed", subject="invoice/{number}")
class ReceiptFailed(msgspec.Struct, frozen=True):
    number: str
    reason: str
    attempt: int


async def async_function(task):
    return ReceiptSent(task.data.number)


def plain_function_of_an_async_one(task):
    return async_function(task)


class AsyncObject:
    async def __call__(self, task):
        return ReceiptSent(task.data.number)


def generator(task):
    yield ReceiptSent(task.data.number)


def given(outcome):
    """A function that returns this, or what this makes of its task."""
    return lambda task: outcome(task) if callable(outcome) else outcome


def scenario(function, ends=ReceiptSent, **options):
    domain = Domain("ours")
    domain.stream(stream)
    domain.stream(failures)
    domain.worker("receipt", function, on=InvoicePaid, ends=ends, **options)
    return WorkerScenario.of(domain, "receipt")


@pytest.mark.parametrize(
    "function",
    [
        async_function,
        AsyncObject(),
        partial(async_function),
        generator,
        plain_function_of_an_async_one,
        lambda task: ReceiptSent(task.data.number),
        lambda task: (ReceiptSent(task.data.number),),
        lambda task: task.event("receipt.sent", ReceiptSent(task.data.number)),
    ],
)
@pytest.mark.parametrize("delivery", ["once", "killed"])
def test_an_outcome_is_appended_once_however_it_is_returned(function, delivery):
    receipt = scenario(function)

    assert "done" == receipt.when(PAID, delivery=delivery).ending
    assert [SENT] == receipt.outcomes


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (None, r"receipt returned nothing, and its work ends with receipt\.sent: return one of these"),
        ([], "receipt returned nothing"),
        (PAID, r"receipt returned invoice\.paid, and its work ends with receipt\.sent"),
        (7, "receipt returned 7: return a Struct"),
        ("sent", "receipt returned 's', which is no event"),
        ({"number": "1"}, "receipt returned 'number', which is no event"),
        (new_event("receipt.sent", subject="invoice/1", data=SENT), r"receipt\.sent of receipt has an id of its own"),
        (
            lambda task: [task.event("receipt.sent", SENT, step="a"), task.event("invoice.paid", PAID, step="a")],
            r"receipt\.sent and invoice\.paid as the same step",
        ),
    ],
)
def test_what_ends_no_work_or_would_be_doubled_or_lost_is_refused(outcome, said):
    receipt = scenario(given(outcome))

    worked = receipt.when(PAID)

    with pytest.raises(OutcomeInvalid, match=said):
        raise worked.error
    assert ("gave up", []) == (worked.ending, receipt.outcomes)


def leaving(raised):
    def function(task):
        raise raised("of the function")

    return function


def leaving_while_it_yields(raised):
    def function(task):
        yield SENT
        raise raised("of the function")

    return function


def leaving_in_the_loop(raised):
    async def function(task):
        raise raised("of the function")

    return function


@pytest.mark.parametrize(
    ("function", "raised"),
    [
        *((leaving, raised) for raised in (StopIteration, SystemExit, KeyboardInterrupt, asyncio.CancelledError)),
        *((leaving_while_it_yields, raised) for raised in (SystemExit, KeyboardInterrupt, asyncio.CancelledError)),
        *((leaving_in_the_loop, raised) for raised in (SystemExit, asyncio.CancelledError)),
    ],
)
def test_a_function_that_exits_or_stops_is_an_error_of_its_event(function, raised):
    receipt = scenario(function(raised), failed=leaving(raised))

    worked = receipt.when(PAID)

    assert ("gave up", "RuntimeError", raised) == (
        worked.ending,
        type(worked.error).__name__,
        type(worked.error.__cause__),
    )


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (lambda task: new_event("receipt.sent", subject="invoice/1", data=ReceiptSent("draft")), "an id of its own"),
        (lambda task: task.event("receipt.sent", ReceiptSent("draft"), step="a"), "as the same step"),
    ],
)
def test_a_step_has_an_id_that_no_other_event_of_the_task_has(step, said):
    async def function(task: Task[InvoicePaid]) -> ReceiptSent:
        await task.append([step(task)])
        return task.event("receipt.sent", SENT, step="a")

    worked = scenario(function).when(PAID)

    with pytest.raises(OutcomeInvalid, match=said):
        raise worked.error


async def appending_twice(task):
    await task.append([task.event("invoice.paid", InvoicePaid("1", 1))])
    await task.append([task.event("invoice.paid", InvoicePaid("1", 2))])
    return SENT


async def returning_several(task):
    return [task.event("invoice.paid", InvoicePaid("1", 1)), task.event("invoice.paid", InvoicePaid("1", 2)), SENT]


async def ending_with_several(task):
    await task.append([task.event("receipt.sent", ReceiptSent("draft"))])
    return SENT


async def ending_with_a_struct_before_an_event(task):
    return [ReceiptSent("draft"), task.event("receipt.sent", SENT)]


async def appending_at_once(task):
    steps = [task.event("invoice.paid", InvoicePaid("1", amount)) for amount in (1, 2)]
    await asyncio.gather(*(task.append([step]) for step in steps))
    return SENT


async def appending_and_returning_the_same(task):
    step = task.event("invoice.paid", InvoicePaid("1", 2))
    await task.append([task.event("invoice.paid", InvoicePaid("1", 1)), step])
    return [step, SENT]


@pytest.mark.parametrize("delivery", ["once", "killed"])
@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (appending_twice, [InvoicePaid("1", 1), InvoicePaid("1", 2), SENT]),
        (returning_several, [InvoicePaid("1", 1), InvoicePaid("1", 2), SENT]),
        (ending_with_several, [ReceiptSent("draft"), SENT]),
        (ending_with_a_struct_before_an_event, [ReceiptSent("draft"), SENT]),
        (appending_at_once, [InvoicePaid("1", 1), InvoicePaid("1", 2), SENT]),
        (appending_and_returning_the_same, [InvoicePaid("1", 1), InvoicePaid("1", 2), SENT]),
    ],
)
def test_steps_without_names_are_appended_in_order_and_once(function, expected, delivery):
    receipt = scenario(function)

    assert "done" == receipt.when(PAID, delivery=delivery).ending
    assert expected == receipt.outcomes


def test_a_step_that_another_attempt_omits_is_not_taken_for_the_outcome():
    async def function(task: Task[InvoicePaid]) -> ReceiptSent:
        if task.attempt == 1:
            await task.append([task.event("invoice.paid", PAID)])
            raise ConnectionError("the mail server is away")
        return SENT

    receipt, event = scenario(function), new_event("invoice.paid", subject="invoice/1", data=PAID)
    receipt.when(event)
    receipt.when(event, attempt=2)

    assert [PAID, SENT] == receipt.outcomes


def test_the_id_of_an_outcome_is_the_same_in_every_version():
    event = new_event("invoice.paid", subject="invoice/1", data=PAID, id="e1")
    returned = [scenario(given(one)) for one in (SENT, lambda task: task.event("receipt.sent", SENT), [PAID, SENT])]

    ids = [[made.id for made in receipt.when(event).outcome] for receipt in returned]

    first, second = "9eb8c192-c23b-516a-a0f3-9ef496a84e18", "09f5a3af-804a-5584-884d-c5a755304f18"
    assert [[first], [first], [first, second]] == ids


def test_a_step_that_is_appended_again_is_the_same():
    async def function(task: Task[InvoicePaid]) -> ReceiptSent:
        for _ in range(2):
            await task.append([task.event("receipt.sent", ReceiptSent("draft"), step="draft")])
        return SENT

    receipt = scenario(function)

    assert "done" == receipt.when(PAID).ending
    assert [ReceiptSent("draft"), SENT] == receipt.outcomes


def refuse(task):
    raise ValueError("no such customer")


def refuse_too(task, reason):
    raise KeyError(reason)


def say_so(task, reason):
    return ReceiptFailed(task.data.number, reason, task.attempt)


class TestFailed:
    def test_says_that_the_work_is_given_up(self):
        receipt = scenario(refuse, failed=say_so)

        worked = receipt.when(PAID)

        assert "gave up" == worked.ending
        assert [ReceiptFailed("1", "ValueError: no such customer", 1)] == receipt.outcomes
        assert [("invoice/1", "event-1")] == [(event.subject, event.causationid) for event in worked.outcome]

    def test_is_not_asked_while_another_attempt_follows(self):
        def away(task):
            raise ConnectionError("away")

        receipt = scenario(away, failed=say_so)

        assert "retry" == receipt.when(PAID).ending
        assert [] == receipt.outcomes
        assert "gave up" == receipt.when(PAID, attempt=6).ending
        assert [ReceiptFailed("1", "the process died 5 times while working on it", 6)] == receipt.outcomes

    def test_has_an_id_of_its_own_so_that_a_later_attempt_can_succeed(self):
        broken = [True]
        receipt = scenario(lambda task: refuse(task) if broken else SENT, failed=say_so)
        event = new_event("invoice.paid", subject="invoice/1", data=PAID)
        receipt.when(event)
        broken.clear()
        receipt.when(event)

        assert [ReceiptFailed("1", "ValueError: no such customer", 1), SENT] == receipt.outcomes

    @pytest.mark.parametrize("nothing", [None, []])
    def test_may_say_nothing(self, nothing):
        receipt = scenario(refuse, failed=lambda *_: nothing)

        assert "gave up" == receipt.when(PAID).ending
        assert [] == receipt.outcomes

    @pytest.mark.parametrize("failed", [refuse_too, lambda *_: 7, lambda *_: new_event("a.b", subject="s", data={})])
    def test_that_makes_no_event_gives_up_without_one(self, failed):
        receipt = scenario(refuse, failed=failed)

        worked = receipt.when(PAID)

        assert "gave up" == worked.ending
        assert "no such customer" == str(worked.error)
        assert [] == receipt.outcomes

    def test_is_not_async(self):
        with pytest.raises(DomainInvalid, match="failed= of receipt must not be async"):
            scenario(refuse, failed=async_function)
