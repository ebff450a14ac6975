"""Tests of what the counts mean: python3 -B -m unittest discover -s compat -t compat"""
import contextlib
import io
import pathlib
import tempfile
import unittest

from harness.expectations import Expectations
from harness.report import FAIL, NOT_YET, PASS, SKIP, Report


class Counting(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        (self.folder / "expected").write_text("# what passes\nA\nB\nC/one\nC/two\nOurs\tdohle\n")
        (self.folder / "not-yet").write_text("B\ttransactions\nC/one\tshare groups\tlong\nC/two\tshare groups\n")

    def counts(self, kind="dohle", only="", **outcomes):
        """(counts, what was printed) of a suite in which tests had these outcomes."""
        report = Report("suite", Expectations(self.folder, kind, only), self.folder / "log")
        with contextlib.redirect_stdout(io.StringIO()) as out:
            for name, status in outcomes.items():
                report.record(name, status)
            return report.finish(), out.getvalue()

    def test_expected_test_that_did_not_report_has_failed(self):
        counts, out = self.counts(A=PASS)
        self.assertEqual((counts[PASS], counts[FAIL], counts[NOT_YET]), (1, 1, 3))
        self.assertIn("FAIL Ours  (did not report)", out)

    def test_not_yet_is_never_counted_as_passed(self):
        counts, out = self.counts(A=PASS, B=PASS, Ours=PASS)
        self.assertEqual((counts[PASS], counts[FAIL], counts[NOT_YET], counts["now"]), (2, 0, 3, 1))
        self.assertIn("B PASSES NOW", out)

    def test_skipped_though_expected_has_failed(self):
        counts, _ = self.counts(A=SKIP, Ours=PASS)
        self.assertEqual((counts[PASS], counts[FAIL]), (1, 1))

    def test_what_is_not_expected_is_neither_passed_nor_failed(self):
        counts, _ = self.counts(A=PASS, Ours=PASS, Unknown=FAIL, Other=PASS)
        self.assertEqual((counts[PASS], counts[FAIL], counts[SKIP]), (2, 0, 2))

    def test_on_kafka_all_is_expected_but_what_is_ours(self):
        counts, _ = self.counts(kind="kafka", A=PASS, B=FAIL)
        self.assertEqual((counts[PASS], counts[FAIL], counts[NOT_YET]), (1, 3, 0))

    def test_a_choice_leaves_the_rest_alone(self):
        counts, _ = self.counts(only="^A", A=PASS, B=FAIL)
        self.assertEqual((counts[PASS], counts[FAIL], counts[NOT_YET]), (1, 0, 0))

    def test_a_parent_waits_when_all_its_subtests_do(self):
        expect = Expectations(self.folder, "dohle")
        self.assertTrue(expect.waits_for("C") and expect.is_long("C") and expect.waits_for("B"))
        self.assertFalse(expect.waits_for("A") or expect.is_long("B"))

    def test_not_yet_has_to_be_expected(self):
        (self.folder / "not-yet").write_text("Unknown\treason\n")
        with self.assertRaises(ValueError):
            Expectations(self.folder, "dohle")


if __name__ == "__main__":
    unittest.main()
