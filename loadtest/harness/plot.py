"""Plots of a run."""

import collections

from .stats import percentile

# Okabe and Ito's palette, which remains distinguishable with colour vision deficiency.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]


def latency(responses, path, title, marks=(), outcomes=None):
    """Plots p50 and p99 of the correct responses, and the rates of correct and failed ones, over time and by variant.

    `marks` are vertical lines: (second, label). `outcomes` selects some outcomes; None selects all."""
    plt = _pyplot()

    start = min(response.at for response in responses)
    length = max(response.at for response in responses) - start
    step = max(1.0, length / 120)
    # Leaves out the last, incomplete slot, which would look like a drop.
    slot_count = max(1, int(length / step))
    selected = [
        (int((response.at - start) / step), response)
        for response in responses
        if (outcomes is None or response.outcome in outcomes) and (response.at - start) / step < slot_count
    ]
    variants = sorted({response.variant for _, response in selected})
    figure, (times, rates) = plt.subplots(2, 1, sharex=True, figsize=(9, 5), height_ratios=[3, 1], layout="constrained")
    for variant, colour in zip(variants, COLOURS, strict=False):
        correct = collections.defaultdict(list)
        failed = collections.Counter()
        for slot, response in selected:
            if response.variant == variant:
                if response.verdict == "correct":
                    correct[slot].append(response.ms)
                else:
                    failed[slot] += 1
        x = sorted(correct)
        middle = [(slot + 0.5) * step for slot in x]
        times.plot(middle, [percentile(correct[slot], 50) for slot in x], color=colour, label=f"{variant} p50")
        times.plot(
            middle, [percentile(correct[slot], 99) for slot in x], color=colour, linestyle="--", label=f"{variant} p99"
        )
        slots = range(slot_count)
        rates.plot([(slot + 0.5) * step for slot in slots], [len(correct[slot]) / step for slot in slots], color=colour)
        rates.plot(
            [(slot + 0.5) * step for slot in slots],
            [failed[slot] / step for slot in slots],
            color=colour,
            linestyle=":",
        )
    for second, text in marks:
        for axes in (times, rates):
            axes.axvline(second, color="#888888", linewidth=0.8)
        times.annotate(
            text,
            (second, 1),
            xycoords=("data", "axes fraction"),
            xytext=(3, -10),
            textcoords="offset points",
            fontsize=8,
        )
    times.set_yscale("log")
    times.set_ylabel("ms")
    times.set_title(title, fontsize=11, loc="right")
    times.legend(
        fontsize=8, ncols=len(variants), loc="upper left", bbox_to_anchor=(0, 1.16), borderaxespad=0, frameon=False
    )
    times.grid(True, which="both", alpha=0.2)
    rates.set_ylabel("per second\n(dotted: failed)")
    rates.set_xlabel("s")
    rates.grid(True, alpha=0.2)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def lines(series, path, title, ylabel, limit=None):
    """Plots lines over time: `series` are (name, [(second, value)]), `limit` is a horizontal line (value, label)."""
    plt = _pyplot()

    figure, axes = plt.subplots(figsize=(9, 3.2), layout="constrained")
    for (name, points), colour in zip(series, COLOURS * 9, strict=False):
        axes.plot(*zip(*points, strict=True), color=colour, label=name)
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


def _pyplot():
    import matplotlib

    matplotlib.use("svg")
    # Makes element ids, and so the file, reproducible.
    matplotlib.rcParams["svg.hashsalt"] = "nearedge"
    import matplotlib.pyplot as plt

    return plt
