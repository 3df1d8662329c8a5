#!/usr/bin/env python3
"""Compares `nearedge experiment report --counts` with gbstats and scipy on random documents.

    pip install gbstats==0.8.0
    .ci/compare_statistics.py target/debug/nearedge [--documents 2000] [--seed 1]

Prints the largest relative deviation of each number, and fails above 1e-6. An interval's deviation is relative to its
wider end, an estimate's to its interval, and a p-value below 1e-9 to 1e-9, because gbstats' `1 - t.cdf(…)` is rounded to
2e-16. With more than two variations, the chance to be best is not compared with gbstats, which has none, but with scipy's
multivariate normal distribution of the posterior of gbstats, to 1e-4: its own repetitions differ by 3e-5.
"""

import argparse
import collections
import json
import math
import random
import subprocess
import sys
import warnings

import numpy as np
import scipy.stats
from gbstats.bayesian.tests import EffectBayesianABTest, EffectBayesianConfig
from gbstats.frequentist.tests import FrequentistConfig, SequentialConfig, SequentialTwoSidedTTest, TwoSidedTTest
from gbstats.models.statistics import ProportionStatistic, SampleMeanStatistic

TOLERANCE = 1e-6
# scipy integrates the multivariate normal distribution by quasi-random numbers.
CHANCE_TOLERANCE = 1e-4
# Documents with more than two variations whose chances are compared: each takes scipy up to half a second.
CHANCES = 150
COMPARED = (
    "uplift interval p_value sequential_interval sequential_p_value difference difference_interval".split()
)


# --- documents -----------------------------------------------------------------------------------------------------------------


def visitors(draw):
    return draw.choice(
        [
            lambda: draw.choice([0, 1, 2]),
            lambda: draw.randint(3, 50),
            lambda: draw.randint(50, 2_000),
            lambda: int(10 ** draw.uniform(3, 6)),
            lambda: int(10 ** draw.uniform(3, 6)),
            lambda: int(10 ** draw.uniform(6, 12)),
        ]
    )()


def weights(draw, count):
    kind = draw.randrange(4)
    if kind == 0:
        return [draw.choice([1, 0.5, 100])] * count
    if kind == 1:
        return [draw.uniform(0.05, 1) for _ in range(count)]
    if kind == 2:
        return [10 ** draw.uniform(-9, 9) for _ in range(count)]
    return [0] * draw.randint(0, count - 1) + [1] * count


def proportion(draw, n, rate):
    kind = draw.randrange(12)
    if kind == 0:
        return {"conversions": 0}
    if kind == 1:
        return {"conversions": n}
    if kind == 2:
        return {"conversions": min(n, draw.randint(0, 3))}
    spread = draw.gauss(0, 1) * math.sqrt(n * rate * (1 - rate))
    return {"conversions": max(0, min(n, round(n * rate * draw.choice([1, 1, 1, 1.1, 1.5]) + spread)))}


def values(draw, n, rate, mean):
    conversions = proportion(draw, n, rate)["conversions"]
    if conversions == 0:
        return {"conversions": 0} if draw.random() < 0.2 else {"conversions": 0, "sum": 0, "sum_squares": 0}
    mean *= draw.uniform(0.9, 1.1)
    deviation = abs(mean) * draw.choice([0, 0.1, 1, 5])
    return {
        "conversions": conversions,
        "sum": conversions * mean,
        "sum_squares": conversions * (mean * mean + deviation * deviation),
    }


def document(draw, index):
    count = draw.choice([2, 2, 2, 3, 4, 5])
    drawn = weights(draw, count)[:count]
    draw.shuffle(drawn)
    total = visitors(draw)
    fair = draw.random() < 0.7
    goals = {}
    for number in range(draw.randint(1, 3)):
        rate = 10 ** draw.uniform(-4, -0.01)
        mean = draw.choice([1, 1, -1]) * 10 ** draw.uniform(-3, 4)
        goals[f"goal{number}"] = (draw.random() < 0.4, rate, mean)
    variations = []
    for number, weight in enumerate(drawn):
        n = round(total * weight / sum(drawn)) if fair and sum(drawn) else visitors(draw)
        n = max(0, n + round(draw.gauss(0, 1) * math.sqrt(n))) if fair else n
        counted = {}
        for goal, (has_values, rate, mean) in goals.items():
            if draw.random() < 0.97:
                counted[goal] = values(draw, n, rate, mean) if has_values else proportion(draw, n, rate)
        variations.append({"key": f"v{number}", "weight": weight, "visitors": n, "goals": counted})
    return {"experiment": f"experiment{index}", "variations": variations}


# --- expectations --------------------------------------------------------------------------------------------------------------


def statistic(variation, goal, has_values):
    counted = variation["goals"].get(goal, {"conversions": 0})
    if has_values:
        sums = {"sum": counted.get("sum", 0), "sum_squares": counted.get("sum_squares", 0)}
        return SampleMeanStatistic(n=variation["visitors"], **sums)
    return ProportionStatistic(n=variation["visitors"], sum=counted["conversions"])


def ill_conditioned(sample):
    """Whether the variance is what rounding has left of two large numbers."""
    return isinstance(sample, SampleMeanStatistic) and 0 < sample.sum_squares * 1e-9 > abs(sample.variance) * sample.n


def comparison(control, treatment):
    """The expected members of a treatment; null where gbstats refuses."""
    relative = TwoSidedTTest(control, treatment, FrequentistConfig(difference_type="relative"))
    result = relative.compute_result()
    if result.error_message:
        return dict.fromkeys(COMPARED)
    sequential = SequentialTwoSidedTTest(control, treatment, SequentialConfig(difference_type="relative"))
    always = sequential.compute_result()
    absolute = TwoSidedTTest(control, treatment, FrequentistConfig(difference_type="absolute")).compute_result()
    return {
        "uplift": result.expected,
        "interval": result.ci,
        "p_value": result.p_value,
        "sequential_interval": always.ci,
        "sequential_p_value": always.p_value,
        "difference": absolute.expected,
        "difference_interval": absolute.ci,
    }


def chances(samples, exact):
    """The expected chances to be best. With more than two that can be compared, only if `exact`; otherwise None."""
    control = samples[0]
    refused = [EffectBayesianABTest(control, sample).compute_result().error_message for sample in samples[1:]]
    usable = [index + 1 for index, message in enumerate(refused) if not message]
    if not usable:
        return [None] * len(samples)
    result = [None] * len(samples)
    if len(usable) == 1:
        test = EffectBayesianABTest(control, samples[usable[0]], EffectBayesianConfig())
        result[usable[0]] = test.compute_result().chance_to_win
        result[0] = scipy.stats.norm.cdf(-test.mean_diff / test.std_diff)
        return result
    if not exact:
        return None
    # The posterior of (0, u_1, …): the mean, and a factor of the covariance by (z, ε_1, …).
    mean = np.array([0] + [(samples[i].mean - control.mean) / control.mean for i in usable])
    factor = np.zeros((len(mean), len(mean)))
    for row, i in enumerate(usable, 1):
        factor[row, 0] = -samples[i].mean * math.sqrt(control.variance / control.n) / control.mean**2
        factor[row, row] = math.sqrt(samples[i].variance / samples[i].n) / control.mean
    for row, i in enumerate([0, *usable]):
        others = np.delete(np.arange(len(mean)), row)
        difference, spread = mean[others] - mean[row], factor[others] - factor[row]
        covariance = spread @ spread.T
        scale = np.sqrt(np.diag(covariance))
        correlation = covariance / np.outer(scale, scale)
        normal = scipy.stats.multivariate_normal(
            cov=correlation, allow_singular=True, abseps=1e-7, releps=0, maxpts=10**6, seed=1
        )
        result[i] = float(normal.cdf(-difference / scale))
    return result


def sample_ratio(variations):
    weighted = [variation for variation in variations if variation["weight"] > 0]
    observed = np.array([variation["visitors"] for variation in weighted], dtype=float)
    if len(weighted) < 2 or observed.sum() == 0:
        return {"chi_squared": None, "p_value": None}
    parts = np.array([variation["weight"] for variation in weighted], dtype=float)
    result = scipy.stats.chisquare(observed, parts / parts.sum() * observed.sum())
    return {"chi_squared": result.statistic, "p_value": result.pvalue}


# --- comparison ----------------------------------------------------------------------------------------------------------------


class Deviations:
    """The largest deviation of each number, and the differences that are too large."""

    def __init__(self):
        self.largest = collections.defaultdict(float)
        self.counts = collections.Counter()
        self.nulls = collections.Counter()
        self.failures = []

    def add(self, name, found, expected, where, scale=None, tolerance=TOLERANCE):
        if (found is None) != (expected is None):
            self.failures.append(f"{name}: found {found}, expected {expected}: {where}")
        elif expected is None:
            self.nulls[name] += 1
        else:
            ends = list(zip(found, expected, strict=True)) if isinstance(expected, list) else [(found, expected)]
            scale = scale or max(abs(end) for _, end in ends)
            # Below the smallest normal number nothing is relative.
            deviation = max(abs(a - b) for a, b in ends) / max(scale, 1e-300)
            self.counts[name] += 1
            self.largest[name] = max(self.largest[name], deviation)
            if not deviation <= tolerance:
                self.failures.append(f"{name}: found {found}, expected {expected}, deviation {deviation:.1e}: {where}")


def compare(found, expected_document, deviations, exact):
    """Compares a document's results; returns whether its chances were compared with the multivariate distribution."""
    variations = expected_document["variations"]
    line = json.dumps(expected_document)
    ratio = sample_ratio(variations)
    # The statistic adds squares of differences of visitors: rounding leaves this much of them.
    rounding = 1e-9 * sum(variation["visitors"] for variation in variations) ** 0.5
    scale = max(abs(ratio["chi_squared"] or 0), rounding)
    deviations.add("chi_squared", found["srm"]["chi_squared"], ratio["chi_squared"], line, scale)
    deviations.add("srm p_value", found["srm"]["p_value"], ratio["p_value"], line)
    goals = {goal for variation in variations for goal in variation["goals"]}
    if set(found["goals"]) != goals:
        deviations.failures.append(f"goals: found {sorted(found['goals'])}, expected {sorted(goals)}: {line}")
        return False
    integrated = False
    for goal, rows in found["goals"].items():
        has_values = any("sum" in variation["goals"].get(goal, {}) for variation in variations)
        samples = [statistic(variation, goal, has_values) for variation in variations]
        if any(ill_conditioned(sample) for sample in samples):
            deviations.nulls["(goals skipped: a variance is rounding)"] += 1
            continue
        where = f"{goal}: {line}"
        for row, variation, sample in zip(rows, variations, samples, strict=True):
            conversions = variation["goals"].get(goal, {"conversions": 0})["conversions"]
            found_counts = (row["variation"], row["visitors"], row["conversions"])
            if found_counts != (variation["key"], variation["visitors"], conversions):
                deviations.failures.append(f"counts: found {found_counts}: {where}")
            deviations.add("rate", row["rate"], sample.mean if sample.n else None, where)
            control = sample is samples[0]
            expected = dict.fromkeys(COMPARED) if control else comparison(samples[0], sample)
            for name in COMPARED:
                ends = expected["difference_interval" if name == "difference" else "interval"]
                scale = max(map(abs, ends)) if ends and name in ("uplift", "difference") else None
                if expected[name] is not None and name == "p_value":
                    scale = max(expected[name], 1e-9)
                deviations.add(name, row[name], expected[name], where, scale)
        expected = chances(samples, exact)
        if expected:
            several = sum(chance is not None for chance in expected) > 2
            integrated |= several
            name = "chance_to_be_best of several" if several else "chance_to_be_best"
            for row, chance in zip(rows, expected, strict=True):
                scale, tolerance = (1, CHANCE_TOLERANCE) if several else (None, TOLERANCE)
                deviations.add(name, row["chance_to_be_best"], chance, where, scale, tolerance)
    return integrated


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--documents", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    documents = [document(draw, index) for index in range(options.documents)]
    text = "".join(json.dumps(drawn) + "\n" for drawn in documents)
    command = [options.binary, "experiment", "report", "--counts", "-", "--format", "json"]
    process = subprocess.run(command, input=text, capture_output=True, text=True, timeout=600)
    lines = process.stdout.splitlines()
    if process.returncode or len(lines) != len(documents):
        sys.exit(f"expected {len(documents)} lines, found {len(lines)}, exit code {process.returncode}: {process.stderr}")
    # gbstats' e-value overflows where the sequential p-value is 0.
    np.seterr(all="ignore")
    warnings.simplefilter("ignore")
    deviations = Deviations()
    integrated = 0
    for line, drawn in zip(lines, documents, strict=True):
        integrated += compare(json.loads(line), drawn, deviations, integrated < CHANCES)
    print(f"{len(documents)} documents, seed {options.seed}; largest relative deviation of each number:")
    for name, count in deviations.counts.items():
        print(f"  {name:<30} {deviations.largest[name]:8.1e}  in {count} values, {deviations.nulls.pop(name, 0)} nulls")
    for name, count in deviations.nulls.items():
        print(f"  {name}: {count}")
    for failure in deviations.failures[:10]:
        print(failure)
    if deviations.failures:
        sys.exit(f"{len(deviations.failures)} differences")


if __name__ == "__main__":
    main()
