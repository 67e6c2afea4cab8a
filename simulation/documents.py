"""What can be read in a document: its terms and its plain sentences.

They come as Markdown or plain text; code, tables and formulas are set aside.
"""

import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

_FENCED = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"\\[a-zA-Z]+\*?(?:\[[^\]]*\])?(?:\{[^{}]*\})*")
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)|`([^`]*)`")
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"”)]?\s+(?=[A-Z“\"(])")
_PLAIN = re.compile(r"[A-Z][A-Za-z0-9 ,;:'’“”\"()\-–—.%]*[.]")
# Sentences that speak of the text itself are of no use outside it.
_SELF = re.compile(
    r"\b(?:sections?|chapters?|figures?|appendix|papers?|documents?|articles?|proposals?|passages?"
    r"|authors?|opinions?|texts?|posts?|pep|rfc|kep|below|above|ante|supra|ibid|id)\b",
    re.IGNORECASE,
)
_AFTER_VERB_MARK = re.compile(r"\b(?:to|can|will|may|must|should|would|not) ([A-Za-z]+)")
_WORD = re.compile(r"[A-Za-z][A-Za-z\-]*[A-Za-z]")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_DETERMINERS = _words("the a an each every its their this any no these all both some")
# After these a noun phrase begins.
_OPENERS = _DETERMINERS | _words("of in for with by on from into between under")
# Words that end a noun phrase: function words, and verbs that usually follow one.
_BOUNDARY = _DETERMINERS | _words(
    """
    is are was were be been being am has have had having do does did done doing not and or nor but
    if then else when while where which who whom whose what why how because since until unless
    although though so as at by for from in into of off on onto out over per to toward under up
    upon via with within without about above across after against along among around before behind
    below beneath between beyond during except inside near past through throughout can could may
    might must shall should will would cannot also only even just still yet already again once ever
    that those never always often usually sometimes too very more most less least much many few
    several such himself herself therefore despite hence either whether instead away back early late
    same other another own than there here now it he she they we you i me him her them us his our
    your my itself themselves one two three first second last next like alone down soon forever
    use uses used using make makes made get gets got give gives given take takes taken need needs
    needed call calls called see sees seen say says said know knows known become becomes remain
    remains start starts stop stops begin begins run runs send sends receive receives return
    returns allow allows let lets require requires mean means cause causes contain contains include
    includes provide provides exist exists occur occurs happen happens hold holds held holding keep
    keeps set sets show shows follow follows lead leads apply applies propose proposes ensure
    ensures demonstrate demonstrates correspond corresponds wait waits record records claims
    contends seek seeks sought find finds found
    """
)
# Nouns that name no matter of their own.
_EMPTY = _words(
    """
    way case example thing part number lot kind sort section figure table chapter paper document
    article author authors reader question answer reason fact point time result idea problem rest
    fashion extent manner effect id post cite page appendix footnote note slip united states court
    opinion justice respondent petitioner respondents petitioners parties party following previous
    current new different entire whole main amount facts phrase country gravity circuit certiorari
    appeals factors authority relief items things points issues problems reasons cases examples
    people ones ways place center term terms
    """
)

_NOUN_ENDINGS = ("tion", "sion", "ment", "ness", "ity", "ance", "ence", "ism", "ship", "ure", "age")
TERMS = 60  # as many as a challenger keeps in mind


@dataclass(frozen=True)
class ReadText:
    """A document as read: `terms` (most frequent first, 2–3 words each) and plain `sentences`."""

    terms: tuple[str, ...]
    sentences: tuple[str, ...]

    def about(self, term: str) -> tuple[str, ...]:
        """The sentences that mention the term."""
        return tuple(s for s in self.sentences if term.casefold() in s.casefold())


@lru_cache(maxsize=128)
def study(text: str) -> ReadText:
    """Read a document; the same text is read once."""
    prose = _prose(text)
    return ReadText(terms=_terms(prose), sentences=_sentences(prose))


def sentences(text: str) -> tuple[str, ...]:
    """All sentences of 40 to 400 characters, in order and whatever they contain."""
    split = (" ".join(s.split()) for s in _SENTENCE_END.split(" ".join(_prose(text).split())))
    return tuple(sentence for sentence in split if 40 <= len(sentence) <= 400)


def _prose(text: str) -> str:
    """The running text, one paragraph per line."""
    text = _COMMAND.sub(" ", _FENCED.sub("\n", text))
    text = _LINK.sub(lambda found: found[1] or found[2] or "", text)
    text = re.sub(r"[*_]{1,3}(\w[^*_\n]*)[*_]{1,3}", r"\1", text)
    paragraphs = (_joined(block) for block in re.split(r"\n\s*\n", text))
    return "\n".join(filter(None, paragraphs))


def _joined(block: str) -> str:
    """A block as one line, or nothing when it looks like code, a heading or a table."""
    block = re.sub(r"(?m)^\s*(?:[-*+>#]+|\d+\.|\.\.)\s+", "", block)
    line = " ".join(re.sub(r"(?<=[a-z])-\n\s*(?=[a-z])", "", block).split())
    odd = sum(line.count(sign) for sign in "{}=<>|\\$&#@[]_")
    return "" if odd > len(line) / 50 + 2 else line


def _sentences(prose: str) -> tuple[str, ...]:
    """Sentences of 50 to 220 characters that stand on their own."""
    split = (" ".join(s.split()) for line in prose.splitlines() for s in _SENTENCE_END.split(line))
    plain = (s for s in split if 50 <= len(s) <= 220 and _PLAIN.fullmatch(s))
    return tuple(dict.fromkeys(sentence for sentence in plain if not _SELF.search(sentence)))


def _terms(prose: str) -> tuple[str, ...]:
    """Noun phrases of 2–3 words that stand after a determiner, most frequent first."""
    verbs = {word.casefold() for word in _AFTER_VERB_MARK.findall(prose)}
    alone: set[str] = set()
    heads: Counter[str] = Counter()
    phrases: Counter[str] = Counter()
    for clause in re.split(r"[^A-Za-z\- \n]+|\n", prose):
        words = _WORD.findall(clause)
        lower = [word.casefold() for word in words]
        for start, word in enumerate(lower):
            if word in _OPENERS:
                end = start + 1
                while end < len(lower) and lower[end] not in _BOUNDARY:
                    end += 1
                phrase = lower[start + 1 : end]
                proper = any(w[0].isupper() and not w.isupper() for w in words[start + 1 : end])
                if proper or not phrase:
                    continue
                heads[phrase[-1]] += 1
                if len(phrase) == 1:
                    alone.add(phrase[0])
                if 2 <= len(phrase) <= 3 and _is_term(phrase):
                    phrases[" ".join(phrase)] += 1
    named = [phrase for phrase, _ in phrases.most_common() if not _is_clause(phrase, verbs, alone)]
    # A noun that also stands elsewhere makes a phrase surer; bare nouns come last.
    named.sort(key=lambda phrase: max(phrases[phrase], heads[phrase.split()[-1]]) < 2)
    nouns = [noun for noun, times in heads.most_common(40) if times >= 2 and _is_term([noun])]
    return tuple(_distinct([*named, *(noun for noun in nouns if len(noun) >= 5)]))[:TERMS]


def _is_clause(phrase: str, verbs: set[str], nouns: set[str]) -> bool:
    """True for a phrase such as "leader appends", whose last word is not known as a noun."""
    last = phrase.split()[-1]
    forms = {last, last + "s", last.removesuffix("s"), last.removesuffix("es")}
    if last.endswith("s") and verbs & {last[:-1], last[:-2]}:
        return True
    return not nouns & forms and not last.removesuffix("s").endswith(_NOUN_ENDINGS)


def _is_term(phrase: list[str]) -> bool:
    *before, last = phrase
    return (
        not _EMPTY.intersection(phrase)
        and all(len(word) >= 3 and not word.endswith("ly") for word in phrase)
        and not last.endswith(("ing", "ed", "able", "ible", "ous", "ive", "ful"))
        and not any(word.endswith("s") and word[-2] not in "su" for word in before)
    )


def _distinct(phrases: list[str]) -> list[str]:
    """Without plurals and extensions of phrases already there."""
    kept: list[str] = []
    for phrase in phrases:
        stem = phrase.rstrip("s")
        if not any(stem in other or other.rstrip("s") in phrase for other in kept):
            kept.append(phrase)
    return kept
