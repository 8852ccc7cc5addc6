import os
import signal
import sys
import threading

import pytest

from sensorium_jax.stop import ends_in_time, stop_on_signals


def test_a_signal_is_remembered_and_the_handler_goes_back():
    before = signal.getsignal(signal.SIGTERM)
    with stop_on_signals() as stopper:
        assert not stopper.asked
        os.kill(os.getpid(), signal.SIGTERM)
        assert stopper.asked
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_inner_context_hears_what_the_outer_heard():
    with stop_on_signals() as outer:
        os.kill(os.getpid(), signal.SIGTERM)
        with stop_on_signals() as inner:
            assert inner.asked
        assert signal.getsignal(signal.SIGTERM) is outer


def test_ctrl_c_asks_first_and_ends_when_repeated(capsys):
    before, told = signal.getsignal(signal.SIGINT), []
    with stop_on_signals() as stopper:
        stopper.tell = lambda: told.append(True)
        os.kill(os.getpid(), signal.SIGINT)
        assert stopper.asked and stopper.interrupted and told
        assert "Ctrl-C again ends at once" in capsys.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_sigterm_is_no_interruption():
    with stop_on_signals() as stopper:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
        assert stopper.asked and not stopper.interrupted


def test_an_ignored_ctrl_c_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stop_on_signals() as stopper:
            os.kill(os.getpid(), signal.SIGINT)
            assert not stopper.asked
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_may_ask_for_it_too():
    found = []

    def listen():
        with stop_on_signals() as stopper:
            found.append(stopper.asked)

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert found == [False]


def test_what_a_failure_keeps_from_being_said_stays_unsaid(monkeypatch):
    """Until the program ends, which is after the block; else the hook goes back."""
    before, others = sys.unraisablehook, lambda args: None
    with ends_in_time(lambda: None):
        assert sys.unraisablehook is not before
    assert sys.unraisablehook is before
    monkeypatch.setattr(sys, "unraisablehook", before)  # back after the test
    with ends_in_time(lambda: None):
        sys.unraisablehook = others
    assert sys.unraisablehook is others
