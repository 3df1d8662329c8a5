#!/usr/bin/env python3
"""Prints the cost of a month as a Markdown table, for several request rates.

List prices of us-east-1, and of CloudFront in North America and Europe, in USD, as of 2026; without free tier or discounts.
Check them before you rely on the result: https://aws.amazon.com/pricing/.
"""

import argparse

MONTH_SECONDS = 30 * 86_400
MILLION = 1_000_000

# Price tiers: (upper bound in units, price of a unit in the tier); the last tier has no bound.
HTTP_API_PER_MILLION = [(300, 1.00), (None, 0.90)]  # unit: a million requests of up to 512 kB
CLOUDFRONT_PER_GB = [(10_240, 0.085), (51_200, 0.080), (153_600, 0.060), (512_000, 0.040), (1_048_576, 0.030), (None, 0.025)]
LAMBDA_PER_MILLION = 0.20
LAMBDA_PER_GB_SECOND = {"arm64": 0.0000133334, "x86_64": 0.0000166667}
CLOUDFRONT_PER_MILLION = 1.00  # HTTPS
S3_GET_PER_MILLION = 0.40
LOGS_PER_GB = 0.50
XRAY_PER_MILLION = 5.00
METRIC, ALARM, DASHBOARD = 0.30, 0.10, 3.00
# CloudWatch charges an alarm for each metric that it reads: the 14 alarms of two variants read 27.
METRICS, ALARM_METRICS, DASHBOARDS = 40, 27, 4
# An experiment of two variations adds a dashboard, and an alarm of two metrics.
EXPERIMENT_ALARM_METRICS, EXPERIMENT_DASHBOARDS = 2, 1
COUNT_METRICS_MAX = 200
# SourceBytes and CopyBytes, in all and for br and gzip.
COPY_METRICS = 6
# The sizes of a copy, its coding, and their place in the list of metrics.
COPY_LOG_BYTES = 190


def tiered(amount, tiers):
    cost, below = 0.0, 0
    for end, price in tiers:
        part = amount - below if end is None else max(0, min(amount, end) - below)
        cost += part * price
        below = end
        if end is None or amount <= end:
            return cost
    return cost


def month(rate, load):
    viewer_millions = rate * MONTH_SECONDS / MILLION
    origin_millions = viewer_millions * (1 - load.cdn_hits)
    billed_seconds = ((1 - load.misses) * load.hit_ms + load.misses * load.miss_ms) / 1e3
    # The part of the bytes that is sent, and what copies add to the lines and metrics.
    sent = 1 - load.text * (1 - load.coded)
    copied = load.text > 0
    gb_seconds_per_million = MILLION * billed_seconds * load.memory / 1024
    costs = {
        "CloudFront, requests": viewer_millions * CLOUDFRONT_PER_MILLION,
        "CloudFront, transfer": tiered(viewer_millions * load.bytes * sent / 1e3, CLOUDFRONT_PER_GB),
        "HTTP API": tiered(origin_millions, HTTP_API_PER_MILLION),
        "Lambda": origin_millions * (LAMBDA_PER_MILLION + gb_seconds_per_million * LAMBDA_PER_GB_SECOND[load.arch]),
        "S3": origin_millions * load.misses * S3_GET_PER_MILLION,
        "logs": origin_millions * (load.log_bytes + copied * COPY_LOG_BYTES) / 1e3 * LOGS_PER_GB,
        "traces": origin_millions * load.sampled * XRAY_PER_MILLION,
        "metrics, alarms, dashboards": (METRICS + copied * COPY_METRICS) * METRIC + ALARM_METRICS * ALARM + DASHBOARDS * DASHBOARD,
    }
    if load.count_metrics or load.counted:
        watched = EXPERIMENT_ALARM_METRICS * ALARM + EXPERIMENT_DASHBOARDS * DASHBOARD if load.count_metrics else 0
        costs["counts: metrics, alarm, dashboard"] = load.count_metrics * METRIC + watched
        costs["counts: lines"] = load.counted * load.count_bytes / 1e9 * LOGS_PER_GB
    return costs


def main():
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)

    def option(name, default, text, **more):
        parse.add_argument(name, default=default, help=f"{text} (%(default)s)", **({"type": float} | more))

    option("--rates", [10, 1_000, 10_000], "viewer requests per second; one column for each rate", nargs="+")
    option("--cdn-hits", 0.0, "share of requests that CloudFront serves from its cache (Caching=on), 0 to 1")
    option("--bytes", 10_000, "average size of a response body, in bytes")
    option("--misses", 0.05, "share of invocations that send a request to S3, 0 to 1")
    option("--hit-ms", 1, "billed duration of a cache hit, in ms; Lambda rounds up to 1 ms")
    option("--miss-ms", 20, "billed duration of a cache miss, in ms")
    option("--memory", 256, "memory of the function, in MB")
    option("--arch", "arm64", "architecture of the function", type=str, choices=LAMBDA_PER_GB_SECOND)
    option("--text", 0.0, "share of the bytes in texts that are sent as copies, from 0 to 1")
    option("--coded", 0.25, "size of a copy, of its text")
    option("--log-bytes", 1_700, "log bytes per invocation: its own line, Lambda's lines and the API's access log")
    option("--sampled", 0.05, "share of invocations that are traced, 0 to 1")
    option("--count-metrics", 0, f"metrics of exposures and conversions, at most {COUNT_METRICS_MAX}: variations x (1 + goals)", type=int)
    option("--counted", 0, "exposures and conversions per month; independent of the rate")
    option("--count-bytes", 500, "log bytes per exposure or conversion")
    load = parse.parse_args()
    if not 0 <= load.count_metrics <= COUNT_METRICS_MAX:
        parse.error(f"--count-metrics: expected 0 to {COUNT_METRICS_MAX}, found {load.count_metrics}: the function publishes no more")
    if not (0 <= load.text <= 1 and 0 < load.coded <= 1):
        parse.error(f"--text and --coded: expected shares from 0 to 1, found {load.text} and {load.coded}")
    months = [month(rate, load) for rate in load.rates]
    print("| USD per month, at requests per second | " + " | ".join(f"{rate:,.0f}" for rate in load.rates) + " |")
    print("|---|" + "---:|" * len(months))
    for name in months[0]:
        print(f"| {name} | " + " | ".join(f"{each[name]:,.0f}" for each in months) + " |")
    print("| **total** | " + " | ".join(f"**{sum(each.values()):,.0f}**" for each in months) + " |")
    totals = zip(months, load.rates, strict=True)
    per_million = [sum(costs.values()) / (rate * MONTH_SECONDS / MILLION) for costs, rate in totals]
    print("| per million requests | " + " | ".join(f"{cost:,.2f}" for cost in per_million) + " |")


if __name__ == "__main__":
    main()
