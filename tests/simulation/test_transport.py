"""The simulated models in this process, reached as any endpoint is."""

from typing import Any

from autodata.models.replies import Reading, read
from autodata.simulation.transport import SimulatedTransport
from tests.models.asking import challenger, document, said

ASKED = challenger("cs", document("cs", "bounded-load"))
MESSAGES = [message.model_dump() for message in ASKED]


async def asked(transport: SimulatedTransport, **options: Any) -> Reading:
    payload = {"model": "simulated", "messages": MESSAGES, **options}
    return await read(await transport.complete(payload, "request-1"))


async def test_it_says_what_the_model_says_and_counts_its_tokens():
    expected = said(ASKED, seed=4)
    assert await asked(SimulatedTransport(), seed=4) == Reading(
        text=expected.content,
        finish_reason="stop",
        input_tokens=expected.input_tokens,
        output_tokens=expected.output_tokens,
    )


async def test_a_limit_cuts_the_reply_and_says_so():
    reply = await asked(
        SimulatedTransport(), seed=4, max_tokens=40, response_format={"type": "json_object"}
    )
    assert reply.finish_reason == "length"
    assert said(ASKED, seed=4).content.startswith(reply.text)


async def test_without_a_seed_repeats_differ_and_begin_again_in_a_new_one():
    one, other = SimulatedTransport(), SimulatedTransport()
    three = [(await asked(one)).text for _ in range(3)]
    assert len(set(three)) == 3
    assert [(await asked(other)).text for _ in range(3)] == three


async def test_at_temperature_zero_repeats_are_the_same():
    transport = SimulatedTransport()
    assert await asked(transport, temperature=0) == await asked(transport, temperature=0)
