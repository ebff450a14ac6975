"""The checker finds what it is there for: faults put into a good history, one at a time.   python3 -m unittest"""
import unittest

import cycles
import isolation
import transformed
from history import History

LINES = """10 begin a:0:1
20 write a:0:1 0 a:0:1:0
30 write a:0:1 1 a:0:1:1
40 commit a:0:1
50 committed a:0:1
60 begin a:0:2
70 write a:0:2 0 a:0:2:0
80 abort a:0:2
90 aborted a:0:2
95 begin c:0:1
96 write c:0:1 1 c:0:1:0
97 read c:0:1 0 0 a:0:1:0
100 begin b:0:1
110 write b:0:1 0 b:0:1:0
120 write b:0:1 1 b:0:1:1
130 commit b:0:1
140 unknown b:0:1
145 read c:0:1 0 4 b:0:1:0
146 commit c:0:1
147 committed c:0:1
150 begin a:0:3
160 write a:0:3 0 a:0:3:0
170 commit a:0:3
180 committed a:0:3
190 begin b:1:1
200 write b:1:1 1 b:1:1:0"""


def good():
    history = History()
    for line in LINES.splitlines():
        history.add(line)
    committed = {0: [(0, "a:0:1:0"), (4, "b:0:1:0"), (6, "a:0:3:0")], 1: [(0, "a:0:1:1"), (2, "c:0:1:0"), (3, "b:0:1:1")]}
    everything = {0: [(0, "a:0:1:0"), (2, "a:0:2:0"), (4, "b:0:1:0"), (6, "a:0:3:0")],
                  1: [(0, "a:0:1:1"), (2, "c:0:1:0"), (3, "b:0:1:1"), (6, "b:1:1:0")]}
    live = {0: committed[0][:2], 1: []}
    return history, committed, everything, live, {0: (8, 8), 1: (8, 8)}


class Producers(unittest.TestCase):
    def found(self, change, *words):
        """What is said of the change; one problem begins with each of the words."""
        run = good()
        change(*run)
        problems = list(isolation.problems(*run))
        for word in words:
            self.assertTrue(any(problem.startswith(word) for problem in problems), problems)
        return problems

    def test_good(self):
        self.assertEqual(isolation.problems(*good()), [])

    def test_lost_write(self):
        self.found(lambda h, c, e, l, ends: c[0].pop(), "lost write")

    def test_aborted_read(self):
        self.found(lambda h, c, e, l, ends: c[0].insert(1, (2, "a:0:2:0")), "aborted read")

    def test_read_of_one_that_was_left_open(self):
        self.found(lambda h, c, e, l, ends: c[1].append((6, "b:1:1:0")), "aborted read")

    def test_aborted_read_along(self):
        self.found(lambda h, c, e, l, ends: h.add("98 read c:0:1 0 2 a:0:2:0"), "aborted read")

    def test_torn(self):
        self.found(lambda h, c, e, l, ends: c[1].pop(), "torn")

    def test_duplicate(self):
        self.found(lambda h, c, e, l, ends: c[0].append((7, "a:0:3:0")), "duplicate")

    def test_invented(self):
        self.found(lambda h, c, e, l, ends: c[0].append((7, "z")), "invented")

    def test_invented_for_one_reader(self):
        self.found(lambda h, c, e, l, ends: h.add("146 read c:0:1 0 5 z"), "invented")

    def test_disorder(self):
        self.found(lambda h, c, e, l, ends: c.__setitem__(0, [c[0][2], c[0][1], c[0][0]]), "disorder")

    def test_disorder_of_two_producers(self):
        def swap(h, c, e, l, ends):
            for side in (c, e):
                side[1] = [(0, "c:0:1:0"), (2, "a:0:1:1"), *side[1][2:]]
        only = self.found(swap, "disorder")
        self.assertEqual(len(only), 1)

    def test_wrong_partition(self):
        self.found(lambda h, c, e, l, ends: c[1].append(c[0].pop()), "wrong partition")

    def test_moved(self):
        self.found(lambda h, c, e, l, ends: c[0].__setitem__(2, (7, "a:0:3:0")), "read committed")

    def test_unstable_read(self):
        self.found(lambda h, c, e, l, ends: l[0].insert(0, (9, "a:0:2:0")), "unstable read")

    def test_unstable_read_along(self):
        def move(h, c, e, l, ends):
            h.reads["c:0:1"][0] = h.reads["c:0:1"][0]._replace(offset=1)
        self.found(move, "unstable read")

    def test_skipped_read(self):
        def skip(h, c, e, l, ends):
            h.add("185 read a:0:3 1 0 a:0:1:1")
            h.add("186 read a:0:3 1 3 b:0:1:1")
        self.found(skip, "skipped read")

    def test_early_read(self):
        self.found(lambda h, c, e, l, ends: h.add("125 read c:0:1 1 3 b:0:1:1"), "early read")

    def test_cycle(self):
        """Each has read the other's writes: one of them before these were committed, whatever it says of the time."""
        self.assertEqual(len(self.found(lambda h, c, e, l, ends: h.add("148 read b:0:1 1 2 c:0:1:0"), "cycle")), 1)

    def test_cycle_through_time(self):
        """b's read what began after the end of c, and c read of b."""
        self.found(lambda h, c, e, l, ends: h.add("175 read b:0:1 0 6 a:0:3:0"), "cycle (G1c) of 3")

    def test_read_of_its_own(self):
        self.found(lambda h, c, e, l, ends: h.add("147 read c:0:1 1 2 c:0:1:0"), "cycle (G1c) of 1")

    def test_stuck(self):
        self.found(lambda h, c, e, l, ends: ends.__setitem__(1, (4, 8)), "stuck")

    def test_half_lines_are_not_said(self):
        run = good()
        for line in ("210", "210 committe", "210 write b:1:1 0", "210 read c:0:1 1 3"):
            run[0].add(line)
        self.assertEqual(isolation.problems(*run), [])

    def test_write_cycles_are_counted_and_no_problem(self):
        history, committed, *_ = good()
        self.assertEqual(cycles.write_cycles(history, committed), 0)
        committed[0].append((7, "c:0:1:1"))
        history.add("99 write c:0:1 0 c:0:1:1")
        self.assertEqual(cycles.write_cycles(history, committed), 3)


def good_output():
    source = {0: [(0, "a"), (1, "b"), (5, "c")], 1: [(3, "d")]}
    output = {0: [(0, "a"), (1, "b"), (7, "c")], 1: [(0, "d")]}
    everything = {0: [(0, "a"), (1, "b"), (3, "c"), (7, "c")], 1: [(0, "d")]}
    return source, output, everything, {0: 6, 1: 4}, {0: (9, 9), 1: (2, 2)}


class Transformers(unittest.TestCase):
    def found(self, change, word):
        run = good_output()
        change(*run)
        problems = list(transformed.problems(*run))
        self.assertTrue(any(problem.startswith(word) for problem in problems), problems)

    def test_good(self):
        self.assertEqual(list(transformed.problems(*good_output())), [])

    def test_input_twice(self):
        self.found(lambda s, o, e, offsets, ends: o.__setitem__(0, e[0]), "input twice")

    def test_output_of_no_input(self):
        self.found(lambda s, o, e, offsets, ends: s[0].pop(1), "output without input")

    def test_output_in_another_partition(self):
        self.found(lambda s, o, e, offsets, ends: o[1].append((1, "a")), "output without input")

    def test_offset_without_output(self):
        self.found(lambda s, o, e, offsets, ends: o[0].pop(1), "offset without output")

    def test_output_without_offset(self):
        self.found(lambda s, o, e, offsets, ends: offsets.__setitem__(0, 5), "output without offset")

    def test_no_offset_at_all(self):
        self.found(lambda s, o, e, offsets, ends: offsets.__setitem__(1, -1), "output without offset")

    def test_left_over(self):
        self.found(lambda s, o, e, offsets, ends: offsets.__setitem__(0, 5) or o[0].pop(), "left over")

    def test_disorder(self):
        def swap(s, o, e, offsets, ends):
            o[0] = [(0, "b"), (1, "a"), (7, "c")]
            e[0] = [(0, "b"), (1, "a"), (3, "c"), (7, "c")]
        self.found(swap, "disorder")

    def test_aborted_output(self):
        self.found(lambda s, o, e, offsets, ends: o[0].__setitem__(2, (4, "c")), "read committed")

    def test_stuck(self):
        self.found(lambda s, o, e, offsets, ends: ends.__setitem__(0, (3, 9)), "stuck")


if __name__ == "__main__":
    unittest.main()
