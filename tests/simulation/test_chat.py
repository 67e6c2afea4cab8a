"""The simulated models behind LangChain's interface."""

from langchain_core.messages import HumanMessage, SystemMessage

from autodata.simulation import SimulatedChat
from autodata.simulation.samples import PrefixCache
from tests.models.asking import challenger, document, said

ASKED = challenger("cs", document("cs", "bounded-load"))
MESSAGES = [SystemMessage(ASKED[0].content), HumanMessage(ASKED[1].content)]


async def test_it_says_what_the_model_says_and_counts_its_tokens():
    chat = SimulatedChat(model="simulated", seed=4)
    here, there = chat.invoke(MESSAGES), await chat.ainvoke(MESSAGES)
    expected = said(ASKED, seed=4)
    assert here.content == there.content == expected.content
    assert here.response_metadata["finish_reason"] == "stop"
    assert here.usage_metadata is not None
    assert here.usage_metadata["input_tokens"] == expected.input_tokens
    assert here.usage_metadata["output_tokens"] == expected.output_tokens


def test_parameters_can_be_bound_to_a_call():
    chat = SimulatedChat(model="simulated")
    bound = chat.bind(seed=4, max_tokens=40, response_format={"type": "json_object"})
    reply = bound.invoke(MESSAGES)
    assert reply.response_metadata["finish_reason"] == "length"
    assert said(ASKED, seed=4).content.startswith(str(reply.content))


def test_without_a_seed_repeats_differ_and_begin_again_in_a_new_chat():
    chat, other = SimulatedChat(), SimulatedChat()
    three = [chat.invoke(MESSAGES).content for _ in range(3)]
    assert len(set(three)) == 3
    assert [other.invoke(MESSAGES).content for _ in range(3)] == three


def test_at_temperature_zero_repeats_are_the_same():
    chat = SimulatedChat(temperature=0)
    assert chat.invoke(MESSAGES).content == chat.invoke(MESSAGES).content


def test_a_prefix_cache_knows_what_was_sent_before_and_forgets_the_oldest():
    def asked(text: str) -> list[dict[str, str]]:
        return [{"role": "user", "content": text}]

    cache = PrefixCache(blocks=8)
    assert cache.cached(asked("a" * 2000)) == 0
    assert cache.cached(asked("a" * 2000 + "b" * 600)) == 3 * 128
    assert cache.cached(asked("c" + "a" * 2000)) == 0
    cache.cached(asked("d" * 5000))
    assert cache.cached(asked("a" * 2000)) == 0
