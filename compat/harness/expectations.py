"""What a suite's tests should do: `expected` and `not-yet` in the suite's folder.

`expected` holds one test name a line: what passes on Apache Kafka 4.3.0. A tag after a tab limits a line to one broker
(`dohle`: the test is about Dohle's own scripts or figures). `not-yet` holds those of them that Dohle cannot pass yet:
`name<tab>reason`, or `name<tab>reason<tab>long` where the test takes minutes to fail. '#' begins a comment line.
"""
import re


def read(path):
    """The lines of a list as tuples of fields; none when there is no such file."""
    if not path.exists():
        return []
    lines = path.read_text().splitlines()
    return [tuple(f.strip() for f in line.split("\t")) for line in lines if line.strip() and not line.startswith("#")]


class Expectations:
    """The two lists of one suite, as they hold for one kind of broker and one choice of tests."""

    def __init__(self, folder, kind, only=""):
        choice = self.choice = re.compile(only)
        names = {name: tags for name, *tags in read(folder / "expected")}
        self.expected = {n for n, tags in names.items() if (not tags or kind in tags) and choice.search(n)}
        self.not_yet, self.long = {}, set()
        if kind != "dohle":
            return
        for name, reason, *flags in read(folder / "not-yet"):
            if name not in names:
                raise ValueError(f"{folder}/not-yet: '{name}' is not in expected")
            if name in self.expected:
                self.not_yet[name] = reason
                if "long" in flags:
                    self.long.add(name)

    def now(self):
        """The tests that have to pass."""
        return self.expected - self.not_yet.keys()

    def waits_for(self, test):
        """Whether all that is expected of this test, or of its subtests, is not there yet."""
        below = [n for n in self.expected if (n + "/").startswith(test + "/")]
        return bool(below) and all(n in self.not_yet for n in below)

    def is_long(self, test):
        """Whether the test, or one of its subtests, takes minutes to say that it cannot pass yet."""
        return self.waits_for(test) and any((n + "/").startswith(test + "/") for n in self.long)
