"""The extractor: is there a principle worth transferring, and in what case?"""

from autodata.agents.replies import CaseFileReply
from autodata.models.client import Models
from autodata.prompt_store.prompt import Prompt
from autodata.tasks.types import Document, Objection


async def extract(models: Models, prompt: Prompt, document: Document) -> str | Objection:
    """The case file as Markdown, UNSUITABLE with the reason, or MALFORMED."""
    messages = prompt.render(document=document.text)
    answer = await models.complete_as("extractor", messages, CaseFileReply, scope=document.id)
    if answer.value is None:
        message = f"the extractor's reply could not be read: {answer.problem}"
        return Objection(code="MALFORMED", message=message)
    if not answer.value.suitable:
        return Objection(code="UNSUITABLE", message=answer.value.reason)
    return case_file(answer.value)


def case_file(reply: CaseFileReply) -> str:
    """Principle, facts, issues and holdings, as the writer reads them on every round."""
    lists = {"Facts": reply.facts, "Issues": reply.issues, "Holdings": reply.holdings}
    parts = [f"Principle: {reply.principle}"]
    parts += [f"{name}:\n" + "\n".join(f"- {x}" for x in xs) for name, xs in lists.items() if xs]
    return "\n\n".join(parts)
