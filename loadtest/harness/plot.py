"""Latency over time, by variant."""

import collections

from .stats import percentile

# Of Okabe and Ito, told apart by everybody.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]


def latency(answers, path, title, marks=(), outcomes=None):
    """Draws p50 and p99 of the right answers and the rate of failed ones; `marks` are (second, text)."""
    import matplotlib

    matplotlib.use("svg")
    # The same figures give the same file.
    matplotlib.rcParams["svg.hashsalt"] = "nearedge"
    import matplotlib.pyplot as plt

    start = min(answer.at for answer in answers)
    length = max(answer.at for answer in answers) - start
    step = max(1.0, length / 120)
    # A last slot that is not full would look like a fall.
    whole = max(1, int(length / step))
    wanted = [a for a in answers if (outcomes is None or a.outcome in outcomes) and (a.at - start) / step < whole]
    variants = sorted({answer.variant for answer in wanted})
    figure, (times, rates) = plt.subplots(2, 1, sharex=True, figsize=(9, 5), height_ratios=[3, 1], layout="constrained")
    for variant, colour in zip(variants, COLOURS):
        slots = collections.defaultdict(list)
        failed = collections.Counter()
        for answer in wanted:
            if answer.variant == variant:
                slot = int((answer.at - start) / step)
                slots[slot].append(answer.ms) if answer.verdict == "right" else failed.update([slot])
        x = sorted(slots)
        middle = [(slot + 0.5) * step for slot in x]
        times.plot(middle, [percentile(slots[slot], 50) for slot in x], color=colour, label=f"{variant} p50")
        times.plot(middle, [percentile(slots[slot], 99) for slot in x], color=colour, linestyle="--", label=f"{variant} p99")
        every = range(whole)
        rates.plot([(slot + 0.5) * step for slot in every], [len(slots[slot]) / step for slot in every], color=colour)
        rates.plot([(slot + 0.5) * step for slot in every], [failed[slot] / step for slot in every], color=colour, linestyle=":")
    for second, text in marks:
        for axes in (times, rates):
            axes.axvline(second, color="#888888", linewidth=0.8)
        times.annotate(text, (second, 1), xycoords=("data", "axes fraction"), xytext=(3, -10), textcoords="offset points", fontsize=8)
    times.set_yscale("log")
    times.set_ylabel("ms")
    times.set_title(title, fontsize=11, loc="right")
    times.legend(fontsize=8, ncols=len(variants), loc="upper left", bbox_to_anchor=(0, 1.16), borderaxespad=0, frameon=False)
    times.grid(True, which="both", alpha=0.2)
    rates.set_ylabel("a second\n(dotted: failed)")
    rates.set_xlabel("s")
    rates.grid(True, alpha=0.2)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def lines(series, path, title, ylabel, limit=None):
    """Draws (name, [(second, value)]) lines; `limit` is (value, text)."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "nearedge"
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 3.2), layout="constrained")
    for (name, points), colour in zip(series, COLOURS * 9):
        axes.plot(*zip(*points), color=colour, label=name)
    if limit:
        axes.axhline(limit[0], color="#888888", linestyle="--", label=limit[1])
    axes.set_ylim(bottom=0)
    axes.set_title(title, fontsize=11)
    axes.set_ylabel(ylabel)
    axes.set_xlabel("s")
    axes.grid(True, alpha=0.2)
    axes.legend(fontsize=8, loc="lower right")
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
