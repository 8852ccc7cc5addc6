import os
import signal
import threading

from sensorium_jax.stop import stop_on_sigterm


def test_a_signal_is_remembered_and_the_handler_goes_back():
    before = signal.getsignal(signal.SIGTERM)
    with stop_on_sigterm() as stopper:
        assert not stopper.asked
        os.kill(os.getpid(), signal.SIGTERM)
        assert stopper.asked
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_inner_context_hears_what_the_outer_heard():
    with stop_on_sigterm() as outer:
        os.kill(os.getpid(), signal.SIGTERM)
        with stop_on_sigterm() as inner:
            assert inner.asked
        assert signal.getsignal(signal.SIGTERM) is outer


def test_another_thread_may_ask_for_it_too():
    found = []

    def listen():
        with stop_on_sigterm() as stopper:
            found.append(stopper.asked)

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert found == [False]
