#!/usr/bin/env python3
"""Prints what requests cost, as Markdown tables. Notes go to standard error.

  cost.py                     a month by item, at several request rates
  cost.py --million           a million requests by item; fixed monthly costs apart
  cost.py --compare           doors x metrics x caching x compression: a million requests, and a month
  cost.py --compare --million doors x metrics: a million requests
  cost.py --alternatives      nginx-s3-gateway on Fargate, CloudFront Functions and Lambda@Edge next to nearedge
  cost.py --prices            the prices, their sources and dates

List prices without free tier, discounts and taxes. prices.py has their sources and dates; --price replaces one.
"""

from __future__ import annotations

import argparse
import math
import sys

import bill
from prices import CURRENCY, NOT_FOUND, PRICES

COUNT_METRICS_MAX = 200


def table(head, rows, texts=1):
    """Prints a Markdown table whose first columns are texts and whose others are numbers."""
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * texts + "---:|" * (len(head) - texts))
    for row in rows:
        print("| " + " | ".join(row) + " |")


def note(text):
    print(f"cost.py: {text}", file=sys.stderr)


def rates_head(load):
    return [f"{rate:,.0f}" for rate in load.rates]


def print_months(load):
    months = [bill.month(rate, load) for rate in load.rates]
    rows = [[name] + [f"{each[name]:,.0f}" for each in months] for name in months[0]]
    totals = [sum(each.values()) for each in months]
    rows.append(["**total**"] + [f"**{total:,.0f}**" for total in totals])
    per_million = [bill.month_total(rate, load) / bill.month_millions(rate) for rate in load.rates]
    rows.append(["per million requests"] + [f"{cost:,.2f}" for cost in per_million])
    table([f"{load.currency} per month, at requests per second"] + rates_head(load), rows)


def print_million(load):
    costs = {name: cost for name, cost in bill.variable(1, load).items() if cost}
    rows = [[name, f"{cost:,.3f}"] for name, cost in costs.items()]
    rows.append(["**total**", f"**{bill.million_total(load):,.3f}**"])
    rows += [[f"not in the total, per month: {name}", f"{cost:,.2f}"] for name, cost in bill.fixed(load).items()]
    table([f"a million requests, {bill.DOORS[load.door]}, metrics={load.metrics}", load.currency], rows)


def variants(load):
    """The configurations to compare: every door and metrics mode that the options leave open."""
    for door in [load.door] if load.door else bill.DOORS:
        for metrics in [load.metrics] if load.metrics else bill.METRICS_MODES:
            yield bill.changed(load, door=door, metrics=metrics)


def print_matrix(load, loads):
    modes = list(dict.fromkeys(each.metrics for each in loads))
    rows = {}
    for each in loads:
        cell = "–" if bill.unavailable(each) else f"{bill.million_total(each):,.2f}"
        rows.setdefault(each.door, [bill.DOORS[each.door]]).append(cell)
    rows = [row for row in rows.values() if set(row[1:]) != {"–"}]
    table([f"{load.currency} per million requests, by metrics"] + modes, rows)


def print_comparison(load, loads):
    rows = []
    for each in loads:
        if bill.unavailable(each):
            continue
        for caching in (0, load.cdn_hits or 0.9):
            for text in (0, load.text or 0.8):
                one = bill.changed(each, cdn_hits=caching, text=text)
                texts = [bill.DOORS[one.door], one.metrics, "on" if caching else "off", "yes" if text else "no"]
                months = [f"{bill.month_total(rate, one):,.0f}" for rate in load.rates]
                rows.append(texts + [f"{bill.million_total(one):,.2f}"] + months)
    months = [f"month at {rate}/s" for rate in rates_head(load)]
    table(["door", "metrics", "caching", "compressed", f"{load.currency} per million"] + months, rows, texts=4)


def print_alternatives(load):
    rows = []
    for name, month in bill.alternatives(load).items():
        per_million = [f"{month(rate) / bill.month_millions(rate):,.2f}" for rate in load.rates]
        rows.append([name] + [f"{month(rate):,.0f}" for rate in load.rates] + per_million)
    months = [f"month at {rate}/s" for rate in rates_head(load)]
    millions = [f"million at {rate}/s" for rate in rates_head(load)]
    table([load.currency] + months + millions, rows)


def print_prices(load):
    rows = []
    for name, (amount, unit, source, date) in PRICES[load.partition].items():
        if isinstance(amount, list):
            amount = ", ".join(f"{each:g} up to {end:,}" if end else f"then {each:g}" for end, each in amount)
        rows.append([f"`{name}`", f"{amount}", unit, date, source])
    table(["name", load.currency, "unit", "date", "source"], rows, texts=5)
    for name, what in NOT_FOUND[load.partition].items():
        note(f"no price of {what} was found: {name}")


class Parser(argparse.ArgumentParser):
    def error(self, message):
        self.exit(2, f"{self.prog}: error: {message}\n")


def parse_arguments():
    parse = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)

    def option(name, default, text, **more):
        shown = "" if default is None else " (%(default)s)"
        parse.add_argument(name, default=default, help=text + shown, **({"type": float} | more))

    for name, text in [
        ("--million", "print a million requests instead of months"),
        ("--compare", "print every door and metrics mode that --door and --metrics leave open; caching on is --cdn-hits or 0.9, "
         "compressed is --text or 0.8"),
        ("--alternatives", "print other solutions next to nearedge"),
        ("--without-cloudfront", "leave out CloudFront's requests and transfer"),
    ]:
        parse.add_argument(name, action="store_true", help=text)
    parse.add_argument("--prices", action="store_true", dest="list_prices", help="print the prices of the partition")
    option("--door", None, "what invokes the function (http-api; with --compare, all)", type=str, choices=bill.DOORS)
    option("--metrics", None, "the setting metrics (line; with --compare, all)", type=str, choices=bill.METRICS_MODES)
    option("--partition", "aws", "the partition, and with it the currency", type=str, choices=PRICES)
    option("--system-log", "INFO", "Lambda's system log level; WARN sends no lines of Lambda", type=str, choices=["INFO", "WARN"])
    option("--access-log", "on", "the access log of the HTTP API or REST API", type=str, choices=["on", "off"])
    option("--max", None, "with --million: exit with 1 if the total is higher")
    option("--price", [], "replaces or adds a price, such as http_api=1.1; repeatable", type=str, action="append", metavar="NAME=AMOUNT")
    option("--rates", [10, 1_000, 10_000], "viewer requests per second; one column for each rate", nargs="+")
    option("--cdn-hits", 0.0, "share of requests that CloudFront serves from its cache (Caching=on), 0 to 1")
    option("--bytes", 10_000, "average size of a response body, in bytes")
    option("--misses", 0.05, "share of invocations that send a request to S3, 0 to 1")
    option("--hit-ms", 1, "billed duration of a cache hit, in ms; Lambda rounds up to 1 ms")
    option("--miss-ms", 20, "billed duration of a cache miss, in ms")
    option("--memory", 256, "memory of the function, in MB")
    option("--arch", None, "architecture of the function (arm64; in aws-cn x86_64)", type=str, choices=["arm64", "x86_64"])
    option("--text", 0.0, "share of the bytes in texts that are sent as copies, from 0 to 1")
    option("--coded", 0.25, "size of a copy, of its text")
    option("--log-bytes", None, "log bytes per invocation, instead of those by --metrics, --system-log and --access-log")
    option("--batch-bytes", 60, "metrics=batch: log bytes per request, of a line for up to 100")
    option("--otlp-bytes", 60, "metrics=otlp: ingested bytes per request, of an export for up to 100")
    option("--sampled", 0.05, "share of invocations that are traced, 0 to 1; not in aws-cn, which has no X-Ray for Lambda")
    option("--count-metrics", 0, f"metrics of exposures and conversions, at most {COUNT_METRICS_MAX}: variations x (1 + goals)", type=int)
    option("--counted", 0, "exposures and conversions per month; independent of the rate")
    option("--count-bytes", 500, "log bytes per exposure or conversion")
    option("--task-rate", 1_000, "--alternatives: requests per second that a task of Fargate can serve")
    load = parse.parse_args()
    check_arguments(parse, load)
    load.currency = CURRENCY[load.partition]
    load.arch = load.arch or ("arm64" if load.partition == "aws" else "x86_64")
    if not load.compare:
        load.door, load.metrics = load.door or "http-api", load.metrics or "line"
    load.prices = {name: each.amount for name, each in PRICES[load.partition].items()} | replaced_prices(parse, load)
    return parse, load


def check_arguments(parse, load):
    if sum([load.alternatives, load.list_prices, load.compare or load.million]) > 1:
        parse.error("expected one of --prices, --alternatives, and --compare or --million")
    if load.max is not None and (load.compare or not load.million):
        parse.error("--max needs --million, without --compare")
    if load.alternatives and load.partition == "aws-cn":
        parse.error("--alternatives: AWS China has neither CloudFront Functions nor Lambda@Edge, and no price of Fargate was found")
    if load.alternatives and (load.door or load.metrics):
        parse.error("--alternatives chooses --door and --metrics itself")
    for name in ("cdn_hits", "misses", "sampled"):
        if not 0 <= getattr(load, name) <= 1:
            parse.error(f"--{name.replace('_', '-')}: expected a share from 0 to 1, found {getattr(load, name):g}")
    if not 0 <= load.count_metrics <= COUNT_METRICS_MAX:
        parse.error(f"--count-metrics: expected 0 to {COUNT_METRICS_MAX}, found {load.count_metrics}: the function publishes no more")
    if not (0 <= load.text <= 1 and 0 < load.coded <= 1):
        parse.error(f"--text and --coded: expected shares from 0 to 1, found {load.text} and {load.coded}")
    for name in ("rates", "task_rate", "memory"):
        values = getattr(load, name)
        for value in values if isinstance(values, list) else [values]:
            if not 0 < value < math.inf:
                parse.error(f"--{name.replace('_', '-')}: expected a number above 0, found {value:g}")
    for name in ("bytes", "hit_ms", "miss_ms", "log_bytes", "batch_bytes", "otlp_bytes", "counted", "count_bytes", "max"):
        if not 0 <= (getattr(load, name) or 0) < math.inf:
            parse.error(f"--{name.replace('_', '-')}: expected 0 or more, found {getattr(load, name):g}")


def replaced_prices(parse, load):
    """The prices that --price names."""
    known, prices = PRICES[load.partition].keys() | NOT_FOUND[load.partition].keys(), {}
    for text in load.price:
        name, _, amount = text.partition("=")
        if name not in known:
            parse.error(f"--price {text}: expected NAME=AMOUNT with one of {', '.join(sorted(known))}")
        try:
            prices[name] = float(amount)
        except ValueError:
            prices[name] = math.nan
        if not 0 <= prices[name] < math.inf:
            parse.error(f"--price {text}: expected an amount such as 1.25, found '{amount}'")
    return prices


def check_available(parse, loads):
    """Names what is left out, and stops if that is all."""
    reasons = [bill.unavailable(each) for each in loads]
    if all(reasons):
        parse.error(reasons[0])
    for reason in dict.fromkeys(filter(None, reasons)):
        note(f"left out: {reason}")
    if "dashboard" not in loads[0].prices:
        note("left out: dashboards and traces. No price of dashboards was found, and X-Ray does not support Lambda in AWS China")


def main():
    parse, load = parse_arguments()
    if load.list_prices:
        print_prices(load)
        return
    if load.alternatives:
        print_alternatives(load)
        return
    loads = list(variants(load))
    check_available(parse, loads)
    if load.compare:
        (print_matrix if load.million else print_comparison)(load, loads)
    elif load.million:
        print_million(load)
        total = bill.million_total(load)
        if load.max is not None and total > load.max:
            parse.exit(1, f"cost.py: a million requests cost {total:.3f} {load.currency}, more than --max {load.max:g}\n")
    else:
        print_months(load)


if __name__ == "__main__":
    main()
