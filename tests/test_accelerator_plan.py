"""When a failed accelerator is tried again: every hour of it in no time, because the time is passed in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.accelerator.plan import Pace, Plan, Step

PACE = Pace(first_pause=10, longest_pause=3600, steady=600)


def test_it_is_opened_at_once() -> None:
    """A new plan's first step is to open it, and there is no second step before that one has ended."""
    plan = Plan(100.0, PACE)
    assert [plan.step(100.0), plan.step(100.0), plan.step(1e9)] == [Step.OPEN, None, None]
    plan.opened(103.0)
    assert plan.accelerated
    assert plan.step(1e9) is None


def test_a_failure_is_met_by_opening_then_by_a_reset_then_by_pauses() -> None:
    """Open, open again, reset, and then resets 10 s, 20 s, 40 s apart: only the third failure is waited after."""
    plan, now, seen = Plan(0.0, PACE), 0.0, []
    for _ in range(6):
        step = plan.step(now)
        plan.failed(now, "it hangs")
        seen.append((step, plan.due - now))
        assert plan.reason == "it hangs"
        now = plan.due
    open_, reset = Step.OPEN, Step.RESET
    assert seen == [(open_, 0), (open_, 0), (reset, 10), (reset, 20), (reset, 40), (reset, 80)]


def test_one_that_fails_soon_after_it_came_back_is_left_alone_for_longer() -> None:
    """Coming back does not shorten the pauses; having judged for ten minutes does."""
    plan, now = Plan(0.0, PACE), 0.0
    pauses = []
    for lasted in (1, 1, 1, 1, 599, 600, 1):
        assert plan.step(now) is not None
        plan.opened(now)
        now += lasted
        plan.failed(now, "")
        pauses.append(plan.due - now)
        now = plan.due
    assert pauses == [0, 0, 10, 20, 40, 0, 0]


def test_the_pauses_end_at_an_hour() -> None:
    """After a year of failures it is still tried once an hour, and the figures are still numbers."""
    plan, now, pause = Plan(0.0, PACE), 0.0, 0.0
    for _ in range(365 * 24):
        assert plan.step(now) is not None
        plan.failed(now, "")
        pause, now = plan.due - now, plan.due
    assert pause == 3600
    assert plan.failures == 365 * 24


@given(st.lists(st.floats(0, 599), min_size=1, max_size=200))
def test_a_flapping_accelerator_costs_less_and_less(lasted: list[float]) -> None:
    """Whatever it does in between, pauses never shrink while no stretch of judging reaches ten minutes."""
    plan, now, pauses = Plan(0.0, PACE), 0.0, []
    for seconds in lasted:
        assert plan.step(now) is not None
        plan.opened(now)
        now += seconds
        plan.failed(now, "")
        pauses.append(plan.due - now)
        now = plan.due
    assert pauses == pytest.approx(sorted(pauses))
