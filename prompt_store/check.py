"""May this set of prompts be used? Every fault as a sentence that names the file."""

from itertools import pairwise

from autodata.prompt_store.prompt import USER_LINE, Prompt, PromptError, PromptSet, braced, packaged

IN_SYSTEM = frozenset({"rubric_policy"})  # our own data; foreign text stays in the user message
ANGLES = (3, 5)  # challengers in parallel (paper, section 2)


def problems(prompts: PromptSet) -> list[str]:
    """Everything that keeps a set from being used; an empty list means it is sound.

    A set has exactly the files of the packaged seeds: a file less is a missing prompt, a file
    more would never be read.
    """
    expected = packaged().files
    found = [f"{path}: missing" for path in sorted(expected.keys() - prompts.files.keys())]
    found += [
        f"{path}: no role reads this file; the files are {', '.join(sorted(expected))}"
        for path in sorted(prompts.files.keys() - expected.keys())
    ]
    for path in sorted(expected.keys() & prompts.files.keys()):
        task, _, name = path.partition("/")
        if name == "rubric.yaml":
            faults = _policy_faults(prompts, task)
        elif name == "angles.md":
            faults = _angle_faults(prompts.angles(task))
        else:
            faults = prompt_faults(Prompt(path=path, text=prompts.files[path]))
        found += [f"{path}: {fault}" for fault in faults]
    return found


def prompt_faults(prompt: Prompt) -> list[str]:
    """What is wrong with one prompt: title, user line, placeholders, tags."""
    found = [f"{fault}; {prompt.expectation()}" for fault in prompt.placeholder_faults()]
    role = prompt.path.rpartition("/")[2].removesuffix(".md").replace("_", " ").capitalize()
    if not prompt.text.startswith(f"# {role} · "):
        found.append(f"the first line must be the title “# {role} · <domain>”")
    try:
        _, user = prompt.parts()
    except PromptError as error:
        return [*found, str(error).removeprefix(f"{prompt.path}: ")]
    found += [
        f"{braced(name)} must stand alone on its line between <{name}> and </{name}> "
        f"after the line {USER_LINE}"
        for name in prompt.declared
        if name not in IN_SYSTEM and f"\n<{name}>\n{braced(name)}\n</{name}>\n" not in f"\n{user}\n"
    ]
    return found


def _policy_faults(prompts: PromptSet, task: str) -> list[str]:
    """Schema faults, or bounds that no rubric could meet."""
    try:
        policy = prompts.rubric_policy(task)
    except PromptError as error:
        return [str(error).removeprefix(f"{task}/rubric.yaml: ")]
    if policy is None:
        return []
    pairs = (
        ("items_min", policy.items_min, "items_max", policy.items_max),
        ("negatives_min", policy.negatives_min, "negatives_max", policy.negatives_max),
        (
            "positives_min + negatives_min",
            policy.positives_min + policy.negatives_min,
            "items_max",
            policy.items_max,
        ),
    )
    return [
        f"{low} is {least}, more than {high}, which is {most}: no rubric can meet both"
        for low, least, high, most in pairs
        if least > most
    ]


def _angle_faults(angles: tuple[str, ...]) -> list[str]:
    low, high = ANGLES
    found = []
    if not low <= len(angles) <= high:
        found.append(f"{len(angles)} angles; {low} to {high} challengers work in parallel")
    if "" in angles:
        found.append("an angle is empty")
    if any(one == other for one, other in pairwise(sorted(angles))):
        found.append("two angles are the same")
    return found
