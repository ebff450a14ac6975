"""The checker finds what it is there for: faults put into a good history, one at a time.   python3 -m unittest"""
import unittest

from isolation import History, problems

LINES = """begin a:0:1
write a:0:1 0 a:0:1:0
write a:0:1 1 a:0:1:1
commit a:0:1
committed a:0:1
begin a:0:2
write a:0:2 0 a:0:2:0
abort a:0:2
aborted a:0:2
begin b:0:1
write b:0:1 0 b:0:1:0
write b:0:1 1 b:0:1:1
commit b:0:1
unknown b:0:1
begin a:0:3
write a:0:3 0 a:0:3:0
commit a:0:3
committed a:0:3
begin b:1:1
write b:1:1 1 b:1:1:0"""


def good():
    history = History()
    for line in LINES.splitlines():
        history.add(line)
    committed = {0: [(0, "a:0:1:0"), (4, "b:0:1:0"), (6, "a:0:3:0")], 1: [(0, "a:0:1:1"), (2, "b:0:1:1")]}
    everything = {0: [(0, "a:0:1:0"), (2, "a:0:2:0"), (4, "b:0:1:0"), (6, "a:0:3:0")],
                  1: [(0, "a:0:1:1"), (2, "b:0:1:1"), (4, "b:1:1:0")]}
    live = {0: committed[0][:2], 1: []}
    return history, committed, everything, live, {0: (8, 8), 1: (6, 6)}


class Faults(unittest.TestCase):
    def found(self, change, word):
        run = good()
        change(*run)
        self.assertTrue(any(problem.startswith(word) for problem in problems(*run)), problems(*run))

    def test_good(self):
        self.assertEqual(problems(*good()), [])

    def test_lost_write(self):
        self.found(lambda h, c, e, l, ends: c[0].pop(), "lost write")

    def test_aborted_read(self):
        self.found(lambda h, c, e, l, ends: c[0].insert(1, (2, "a:0:2:0")), "aborted read")

    def test_read_of_one_that_was_left_open(self):
        self.found(lambda h, c, e, l, ends: c[1].append((4, "b:1:1:0")), "aborted read")

    def test_torn(self):
        self.found(lambda h, c, e, l, ends: c[1].pop(), "torn")

    def test_duplicate(self):
        self.found(lambda h, c, e, l, ends: c[0].append((7, "a:0:3:0")), "duplicate")

    def test_invented(self):
        self.found(lambda h, c, e, l, ends: c[0].append((7, "z")), "invented")

    def test_disorder(self):
        self.found(lambda h, c, e, l, ends: c.__setitem__(0, [c[0][2], c[0][1], c[0][0]]), "disorder")

    def test_wrong_partition(self):
        self.found(lambda h, c, e, l, ends: c[1].append(c[0].pop()), "wrong partition")

    def test_moved(self):
        self.found(lambda h, c, e, l, ends: c[0].__setitem__(2, (7, "a:0:3:0")), "read committed")

    def test_unstable_read(self):
        self.found(lambda h, c, e, l, ends: l[0].insert(0, (9, "a:0:2:0")), "unstable read")

    def test_stuck(self):
        self.found(lambda h, c, e, l, ends: ends.__setitem__(1, (4, 6)), "stuck")


if __name__ == "__main__":
    unittest.main()
