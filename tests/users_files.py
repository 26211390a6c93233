"""A user's files that lean on each other in every way, for tests of their identity.

They need nothing but the standard library, so that every Python can run them.
"""

KINDS = '''
"""Classes of the user's own."""

import collections
import dataclasses
import decimal
import enum
import functools
import logging
from pathlib import Path

import beside
from beside import Base, scaled as rescaled
from math import tau

A, B = 8, 1
A += 1
TABLE = {"w": 3, "more": [1.5, None, True, (b"x", "\\u00e9")]}
TABLE["w"] = 4
if A > 2:
    BRANCH = 5
try:
    TRIED = 6
finally:
    pass
for LOOPED in (1, 7):
    continue
with open(__file__) as file:
    WITHIN = 8
if (WALRUS := 9) > 1:
    HERE = Path(__file__).parent / "data.csv"
SET = {"b", "a", tau}
LOG = logging.getLogger(__name__)
LOG.setLevel(30)
COUNTS = collections.Counter(a=3)
Pair = collections.namedtuple("Pair", "left right")
PAIR = Pair(1, decimal.Decimal("1.5"))
MIXED = [1, decimal.Decimal("2.5")]
REGISTRY = {}
beside.PATCHED = 10


def register(function):
    REGISTRY[function.__name__] = function
    return function


@register
def first():
    return 1


@functools.singledispatch
def shown(x):
    return "anything"


@shown.register
def _(x: int):
    return "a number"


def counted(function):
    @functools.wraps(function)
    def wrapper(*arguments):
        return function(*arguments) + 1

    return wrapper


@counted
def wrapped(x):
    return x * 5


class Meta(type):
    def __call__(cls, *arguments):
        return super().__call__(*arguments)


class Outer(metaclass=Meta):
    def __getattr__(self, name):
        return name

    @functools.cached_property
    def late(self):
        return 11


OUTER = Outer()
OUTER.level = 12
ACT = functools.partial(max, A)


class Mode(enum.Enum):
    ONE = "one"
    TWO = beside.TWO


def factory(step):
    def inner(x, *, more=B):
        return x + step + more

    return inner


SHIFT = factory(3)
double = lambda x: 2 * x + WALRUS


@dataclasses.dataclass(frozen=True)
class Kind(Base):
    """What a recipe holds."""

    width: int = A
    """Its width."""
    mode: Mode = Mode.ONE
    more: dict = dataclasses.field(default_factory=lambda: {"b": B})

    def log(self):
        LOG.warning(COUNTS, PAIR, MIXED, shown(1), wrapped(2), OUTER, REGISTRY, beside.PATCHED)

    @property
    def text(self):
        return f"{self.width!r:>{B}} {{braces}} {BRANCH} " "and" f" {LOOPED=}"

    def build(self, n, /, *rest, **options):
        from late import LATE

        match rest:
            case [first, *others] if (m := first) > TRIED:
                return m, others
            case {"k": found, **left}:
                return found, left
        return [SHIFT(x) + WITHIN for x in rescaled(TABLE["w"]) if x not in SET] + [LATE, HERE, ACT]

    @staticmethod
    def other(x):
        return double(x)

    class Inner:
        depth = 3


class Unused:
    width = 1
'''

BESIDE = '''
"""A module beside it."""

import dataclasses

SCALE = 2
TWO = "two"


def scaled(x):
    """So many times."""
    return range(SCALE * x)


@dataclasses.dataclass(frozen=True)
class Base:
    depth: int = 1

    def _hidden(self):
        return [helper(y) for y in range(self.depth)]


def helper(x):
    return x
'''

LATE = "LATE = 4\n"

FILES = {"kinds": KINDS, "beside": BESIDE, "late": LATE}
