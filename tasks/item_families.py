"""Families of items with one exact answer, each from easy to hard: posed and solved by code."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from string import ascii_lowercase

Sizes = tuple[int, ...]
Item = tuple[str, str, str, str]  # context, question, answer, and the steps that lead to it


@dataclass(frozen=True)
class ItemFamily:
    """Items of one kind, from easy to hard.

    `settings` are the positions of the dial, each with the sizes that `sizes` explains. `pose`
    draws an item; `solve` works its answer out from context and question alone and raises
    ValueError where it finds none of its own items. `choices` are the answers that a question
    allows, empty for whole numbers.
    """

    name: str
    sizes: str
    settings: tuple[Sizes, ...]
    pose: Callable[[Random, Sizes], Item]
    solve: Callable[[str, str], str]
    choices: Callable[[str], tuple[str, ...]] = lambda question: ()

    @property
    def hardest(self) -> int:
        """The last position of the dial; the first is 0."""
        return len(self.settings) - 1


NAMES = ("Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gus", "Hana", "Ida", "Jon", "Kim", "Leo")
THINGS = ("shells", "stamps", "marbles", "books", "pears", "cards")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
WRAPPED = "Digits alone, and they wrap around: one more than 9 is 0, one less than 0 is 9."
_WORDS = """
apple bread chair dream eagle flute grape horse island jacket kettle lemon mirror needle orange
pencil queen river saddle table uncle violet window yellow zebra bottle candle desert engine forest
garden hammer insect jungle ladder meadow
"""
WORDS = tuple(_WORDS.split())


def _numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]


def _groups(pattern: str, text: str) -> tuple[str, ...]:
    """What a text says at the places of a pattern. Raises ValueError where it says otherwise."""
    found = re.fullmatch(pattern, text)
    if found is None:
        raise ValueError(f"not of this family: {text[:60]}")
    return found.groups()


def _pose_sum(draw: Random, sizes: Sizes) -> Item:
    terms, digits = sizes
    numbers = [draw.randint(10 ** (digits - 1), 10**digits - 1) for _ in range(terms)]
    steps, total = [], numbers[0]
    for number in numbers[1:]:
        steps.append(f"{total} + {number} = {total + number}")
        total += number
    return "", f"What is {' + '.join(map(str, numbers))}?", str(total), ", ".join(steps)


def _solve_sum(context: str, question: str) -> str:
    (added,) = _groups(r"What is (\d+(?: \+ \d+)+)\?", question)
    return str(sum(_numbers(added)))


def _pose_product(draw: Random, sizes: Sizes) -> Item:
    left, right = (draw.randint(2, most) for most in sizes)
    tens, ones = left // 10 * 10, left % 10
    steps = f"{left} × {right} = {left * right}"
    if tens and ones:
        parts = f"{tens} × {right} = {tens * right}, {ones} × {right} = {ones * right}"
        steps = f"{parts}, {tens * right} + {ones * right} = {left * right}"
    return "", f"What is {left} × {right}?", str(left * right), steps


def _solve_product(context: str, question: str) -> str:
    left, right = _groups(r"What is (\d+) × (\d+)\?", question)
    return str(int(left) * int(right))


def _pose_passage(draw: Random, sizes: Sizes) -> Item:
    people, most = sizes
    thing, named = draw.choice(THINGS), draw.sample(NAMES, people)
    owned = dict(zip(named, draw.sample(range(2, most + 1), people), strict=True))
    asked = draw.choice(named)
    context = " ".join(f"{name} has {number} {thing}." for name, number in owned.items())
    steps = f"{asked} has {owned[asked]} {thing}"
    return context, f"How many {thing} does {asked} have?", str(owned[asked]), steps


def _solve_passage(context: str, question: str) -> str:
    thing, asked = _groups(r"How many (\w+) does (\w+) have\?", question)
    return _groups(rf"(?:.* )?{asked} has (\d+) {thing}\..*", context)[0]


def _pose_largest(draw: Random, sizes: Sizes) -> Item:
    count, most = sizes
    numbers = draw.sample(range(1, most + 1), count)
    listed = ", ".join(map(str, numbers))
    question, largest = f"Which of these numbers is the largest: {listed}?", max(numbers)
    return "", question, str(largest), f"The largest number is {largest}"


def _solve_largest(context: str, question: str) -> str:
    (listed,) = _groups(r"Which of these numbers is the largest: ([\d, ]+)\?", question)
    return str(max(_numbers(listed)))


def _pose_boxes(draw: Random, sizes: Sizes) -> Item:
    moves, most = sizes
    held = {"red": draw.randint(2, most), "blue": draw.randint(2, most)}
    told = [f"The red box holds {held['red']} coins and the blue box {held['blue']}."]
    steps = []
    for _ in range(moves):
        source, target = draw.choice((("red", "blue"), ("blue", "red")))
        if not held[source]:
            source, target = target, source
        moved = draw.randint(1, held[source])
        held[source] -= moved
        held[target] += moved
        told.append(f"Move {moved} from the {source} box to the {target} box.")
        steps.append(f"red {held['red']} and blue {held['blue']}")
    asked = draw.choice(("red", "blue"))
    question = f"How many coins does the {asked} box hold now?"
    return " ".join(told), question, str(held[asked]), ", then ".join(steps)


def _solve_boxes(context: str, question: str) -> str:
    (asked,) = _groups(r"How many coins does the (red|blue) box hold now\?", question)
    start = re.match(r"The red box holds (\d+) coins and the blue box (\d+)\.", context)
    if start is None:
        raise ValueError("the boxes hold nothing at the start")
    held = {"red": int(start[1]), "blue": int(start[2])}
    for moved, source, target in re.findall(r"Move (\d+) from the (\w+) box to the (\w+)", context):
        held[source] -= int(moved)
        held[target] += int(moved)
    return str(held[asked])


def _pose_letters(draw: Random, sizes: Sizes) -> Item:
    length, alphabet = sizes
    letters = draw.sample("abcdefghknprst", alphabet)
    row, asked = draw.choices(letters, k=length), letters[0]
    question = f"How many times does the letter {asked} stand in this row: {' '.join(row)}?"
    found = [f"{letter} {row[: at + 1].count(asked)}" for at, letter in enumerate(row)]
    return "", question, str(row.count(asked)), ", ".join(found)


def _solve_letters(context: str, question: str) -> str:
    asked, row = _groups(
        r"How many times does the letter (\w) stand in this row: ([\w ]+)\?", question
    )
    return str(sum(letter == asked for letter in row.split()))


def _pose_day(draw: Random, sizes: Sizes) -> Item:
    (most,) = sizes
    today, ahead = draw.randrange(7), draw.randint(1, most)
    days = "1 day" if ahead == 1 else f"{ahead} days"
    question = f"Today is {DAYS[today]}. Which day of the week is it in {days}?"
    rest = ahead % 7 or 7
    steps = f"{ahead} days are as {rest}: " if rest < ahead else ""
    steps += ", ".join(f"{day} {DAYS[(today + day) % 7]}" for day in range(1, rest + 1))
    return "", question, DAYS[(today + ahead) % 7], steps


def _solve_day(context: str, question: str) -> str:
    today, ahead = _groups(
        r"Today is (\w+)\. Which day of the week is it in (\d+) days?\?", question
    )
    return DAYS[(DAYS.index(today) + int(ahead)) % 7]


def _pose_first(draw: Random, sizes: Sizes) -> Item:
    (count,) = sizes
    words = draw.sample(WORDS, count)
    question = f"Which of these words comes first in the alphabet: {', '.join(words)}?"
    return "", question, min(words), f"In order: {', '.join(sorted(words))}"


def _listed(question: str) -> tuple[str, ...]:
    (words,) = _groups(r"Which of these words comes first in the alphabet: ([\w, ]+)\?", question)
    return tuple(words.split(", "))


def _pose_chain(draw: Random, sizes: Sizes) -> Item:
    """A first value, steps from it, each by a label of its own, and values that nothing needs."""
    steps, lines = sizes
    idle = draw.randint(0, lines - steps)
    labels = draw.sample(ascii_lowercase, 1 + steps + idle)
    chain, spare = labels[: steps + 1], labels[steps + 1 :]
    counted = [True] * steps + [False] * idle
    draw.shuffle(counted)
    value, at = draw.randrange(10), 0
    said = [f"{chain[0]}={value}"]
    worked = said.copy()
    for step in counted:
        sign, by, before = draw.choice("+-"), draw.randint(1, 9), value
        if not step:  # as long as a step is
            said.append(f"{spare.pop()}={draw.randrange(10)}{sign}{by}")
            continue
        value = (value + by if sign == "+" else value - by) % 10
        said.append(f"{chain[at + 1]}={chain[at]}{sign}{by}")
        worked.append(f"{chain[at + 1]}={before}{sign}{by}={value}")
        at += 1
    return WRAPPED, f"{';'.join(said)};{chain[-1]}?", str(value), ";".join(worked)


def _solve_chain(context: str, question: str) -> str:
    told, asked = _groups(r"((?:[a-z]=\w(?:[+-]\d)?;)+)([a-z])\?", question)
    values: dict[str, int] = {}
    for label, first, by in re.findall(r"(\w)=(\w)([+-]\d)?;", told):
        start = int(first) if first.isdigit() else values.get(first)
        if start is None:
            raise ValueError(f"{first} is used before it has a value")
        values[label] = (start + int(by or 0)) % 10
    if asked not in values:
        raise ValueError(f"{asked} has no value")
    return str(values[asked])


ITEM_FAMILIES = {
    family.name: family
    for family in (
        ItemFamily(
            "sums", "numbers to add, digits of each",
            ((2, 1), (2, 2), (3, 2), (3, 3), (4, 3), (5, 4)), _pose_sum, _solve_sum,
        ),
        ItemFamily(
            "products", "largest first factor, largest second factor",
            ((5, 5), (9, 9), (19, 9), (99, 9), (99, 99), (999, 99)), _pose_product, _solve_product,
        ),
        ItemFamily(
            "passage", "people, largest number",
            ((2, 9), (3, 20), (4, 50), (6, 99), (8, 99), (12, 999)), _pose_passage, _solve_passage,
        ),
        ItemFamily(
            "largest", "numbers to compare, largest of all",
            ((2, 20), (3, 50), (4, 99), (6, 99), (8, 999), (12, 999)),
            _pose_largest, _solve_largest,
        ),
        ItemFamily(
            "boxes", "moves, most coins of a box at the start",
            ((1, 5), (1, 10), (2, 10), (3, 10), (4, 20), (6, 50)), _pose_boxes, _solve_boxes,
        ),
        ItemFamily(
            "letters", "letters in the row, different letters",
            ((3, 2), (5, 3), (8, 3), (12, 4), (16, 4), (24, 5)), _pose_letters, _solve_letters,
        ),
        ItemFamily(
            "weekdays", "most days ahead",
            ((1,), (3,), (6,), (13,), (30,), (100,)), _pose_day, _solve_day,
            choices=lambda question: DAYS,
        ),
        ItemFamily(
            "chains", "steps, lines at most",
            ((1, 6), (2, 6), (3, 6), (4, 6), (5, 6), (6, 6)), _pose_chain, _solve_chain,
        ),
        ItemFamily(
            "alphabet", "words to compare",
            ((2,), (3,), (4,), (6,), (8,), (12,)), _pose_first,
            lambda context, question: min(_listed(question)), choices=_listed,
        ),
    )
}  # fmt: skip
