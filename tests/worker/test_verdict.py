"""What becomes of a run, for every way in which its training process can end."""

from __future__ import annotations

import itertools
import signal

import pytest

from store.states import State
from worker.job import DONE, FAILED, NO_ROOM, STOPPED, TOO_BIG
from worker.verdict import Finish, Grow, Lose, Release, judge


@pytest.mark.parametrize("exit_code", [DONE, FAILED, STOPPED, -signal.SIGKILL])
@pytest.mark.parametrize("asked", ["", "cancel", "pause", "drain", "shutdown"])
def test_a_run_with_its_result_has_succeeded_whatever_came_after(exit_code, asked):
    assert judge(exit_code, True, asked, 9, "") == Finish(State.succeeded)


@pytest.mark.parametrize("exit_code", [DONE, FAILED, STOPPED, -signal.SIGTERM])
def test_a_cancelled_run_is_cancelled_however_it_stopped(exit_code):
    assert judge(exit_code, False, "cancel", 9, "boom") == Finish(State.cancelled, "cancelled at step 9")


@pytest.mark.parametrize("asked", ["", "drain"])
def test_an_error_fails_the_run_with_its_last_words(asked):
    assert judge(FAILED, False, asked, 9, "the loss became nan") == Finish(State.failed, "the loss became nan")
    assert "exit code 3" in judge(3, False, asked, 9, "").reason


@pytest.mark.parametrize(
    ("exit_code", "asked"),
    [
        (STOPPED, ""),
        (STOPPED, "drain"),
        (STOPPED, "shutdown"),
        (STOPPED, "pause"),
        (STOPPED, "preempt"),
        (-signal.SIGKILL, "pause"),
        (-signal.SIGKILL, "drain"),
    ],
)
def test_a_run_that_was_told_to_stop_goes_on_later(exit_code, asked):
    verdict = judge(exit_code, False, asked, 9, "")
    assert isinstance(verdict, Release)
    assert "step 9" in verdict.reason


@pytest.mark.parametrize("asked", ["", "drain"])
def test_a_full_disk_is_not_the_runs_fault(asked):
    verdict = judge(NO_ROOM, False, asked, 9, "No space left on device: step-00000010")
    assert isinstance(verdict, Release)
    assert verdict.is_for_room
    assert "No space left" in verdict.reason
    assert "step 9" in verdict.reason


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM, 64])
def test_a_killed_run_is_lost(number):
    verdict = judge(-number, False, "", 9, "")
    assert isinstance(verdict, Lose)
    assert "step 9" in verdict.reason


def test_the_reason_names_the_signal_and_suspects_memory():
    assert "SIGKILL (out of memory?)" in judge(-9, False, "", 0, "").reason
    assert "signal 200" in judge(-200, False, "", 0, "").reason


def test_a_run_out_of_memory_is_given_more():
    assert judge(TOO_BIG, False, "", 9, "out of memory") == Grow("out of memory, at step 9")
    assert judge(TOO_BIG, False, "cancel", 9, "out of memory").state == State.cancelled


def test_a_silent_end_is_a_failure():
    assert judge(DONE, False, "", 9, "").state == State.failed


@pytest.mark.parametrize("exit_code", [STOPPED, -signal.SIGKILL])
def test_a_run_whose_time_is_over_has_failed_and_says_so(exit_code):
    assert judge(exit_code, False, "limit", 9, "") == Finish(
        State.failed, "its time limit was reached at step 9; its last checkpoint is kept"
    )
    assert judge(FAILED, False, "limit", 9, "the loss became nan").reason == "the loss became nan"


def test_nothing_but_a_success_needs_no_reason():
    for code, asked in itertools.product((DONE, FAILED, STOPPED, -9, -15, 2), ("", "cancel", "drain", "shutdown")):
        assert judge(code, False, asked, 0, "").reason
