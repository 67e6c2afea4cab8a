"""The circuit breaker, minute by minute."""

from typing import Any

import pytest

from autodata.models.config import EndpointConfig
from autodata.models.errors import EndpointDown, ModelMissing, Paused, Unauthorized, WireError
from autodata.models.limits import CircuitBreaker
from tests.models.test_limits import Clock

DOWN = WireError("worker died", status=500)


def circuit_breaker(clock: Clock, **settings: Any) -> CircuitBreaker:
    config = EndpointConfig(give_up_after=60, **settings)
    return CircuitBreaker("local", "http://localhost/v1", config, clock=clock)


def is_open(circuit: CircuitBreaker) -> bool:
    try:
        circuit.check()
    except Paused:
        return True
    return False


def test_a_minute_of_nothing_but_failures_opens_it() -> None:
    clock = Clock()
    circuit = circuit_breaker(clock)
    for _ in range(6):
        circuit.failed(DOWN, started=clock.now)
        assert not is_open(circuit)
        clock.now += 10
    circuit.failed(DOWN, started=clock.now)
    with pytest.raises(EndpointDown, match="no usable answer for 60 s"):
        circuit.check()


def test_one_answer_among_the_failures_keeps_it_closed() -> None:
    clock = Clock()
    circuit = circuit_breaker(clock)
    for second in range(600):
        clock.now += 1
        if second % 50 == 0:
            circuit.answered()
        circuit.failed(DOWN, started=clock.now)
    assert not is_open(circuit)


def test_a_request_that_hung_while_others_were_answered_is_no_outage() -> None:
    clock = Clock()
    circuit = circuit_breaker(clock)
    started = clock.now
    clock.now += 600
    circuit.answered()
    circuit.failed(WireError("no answer within 600 s", code="timed_out"), started)
    assert not is_open(circuit)


def test_when_all_that_was_asked_hung_it_is_one() -> None:
    clock = Clock()
    circuit = circuit_breaker(clock)
    started = clock.now
    clock.now += 600
    circuit.failed(WireError("no answer within 600 s", code="timed_out"), started)
    assert is_open(circuit)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, Unauthorized),
        (402, Unauthorized),
        (403, Unauthorized),
        (404, ModelMissing),
        (301, ModelMissing),
        (405, ModelMissing),
    ],
)
def test_what_waiting_cannot_cure_opens_it_at_once(status: int, kind: type[Paused]) -> None:
    circuit = circuit_breaker(Clock())
    circuit.failed(WireError("no", status=status), started=0)
    with pytest.raises(kind, match=f"HTTP {status}"):
        circuit.check()


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_request_at_fault_leaves_it_closed(status: int) -> None:
    circuit = circuit_breaker(Clock())
    circuit.failed(WireError("too long", status=status), started=0)
    assert not is_open(circuit)


def test_it_lets_somebody_try_after_a_while() -> None:
    clock = Clock()
    circuit = circuit_breaker(clock)
    circuit.failed(WireError("no", status=401), started=clock.now)
    assert is_open(circuit)
    clock.now += 31
    assert not is_open(circuit)


def test_who_waits_for_an_endpoint_still_stops_at_a_wrong_key() -> None:
    clock = Clock()
    circuit = CircuitBreaker("local", "", EndpointConfig(give_up_after=60), wait=True, clock=clock)
    for _ in range(100):
        clock.now += 60
        circuit.failed(DOWN, started=clock.now)
    assert not is_open(circuit)
    circuit.failed(WireError("no", status=401), started=clock.now)
    assert is_open(circuit)
