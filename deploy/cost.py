#!/usr/bin/env python3
"""What a month costs, a Markdown table for some rates of requests: deploy/cost.py [--help]

List prices of us-east-1 and of CloudFront in North America and Europe, in USD, as published in 2026; no free tier, no discount. Look
them up before a decision hangs on them: https://aws.amazon.com/pricing/.
"""

import argparse

MONTH_SECONDS = 30 * 86_400
MILLION = 1_000_000

# Steps of a price: up to how many, and the price of each of them; the last has no end.
HTTP_API_PER_MILLION = [(300, 1.00), (None, 0.90)]  # millions of requests, of up to 512 kB
CLOUDFRONT_PER_GB = [(10_240, 0.085), (51_200, 0.080), (153_600, 0.060), (512_000, 0.040), (1_048_576, 0.030), (None, 0.025)]
LAMBDA_PER_MILLION = 0.20
LAMBDA_PER_GB_SECOND = {"arm64": 0.0000133334, "x86_64": 0.0000166667}
CLOUDFRONT_PER_MILLION = 1.00  # HTTPS
S3_GET_PER_MILLION = 0.40
LOGS_PER_GB = 0.50
XRAY_PER_MILLION = 5.00
METRIC, ALARM, DASHBOARD = 0.30, 0.10, 3.00
METRICS, ALARMS, DASHBOARDS = 40, 11, 4


def in_steps(amount, steps):
    cost, below = 0.0, 0
    for end, price in steps:
        part = amount - below if end is None else max(0, min(amount, end) - below)
        cost += part * price
        below = end
        if end is None or amount <= end:
            return cost
    return cost


def month(rate, given):
    viewers = rate * MONTH_SECONDS / MILLION
    asked = viewers * (1 - given.cdn_hits)
    billed_seconds = ((1 - given.misses) * given.hit_ms + given.misses * given.miss_ms) / 1e3
    return {
        "CloudFront, requests": viewers * CLOUDFRONT_PER_MILLION,
        "CloudFront, bytes": in_steps(viewers * given.bytes / 1e3, CLOUDFRONT_PER_GB),
        "HTTP API": in_steps(asked, HTTP_API_PER_MILLION),
        "Lambda": asked * (LAMBDA_PER_MILLION + MILLION * billed_seconds * given.memory / 1024 * LAMBDA_PER_GB_SECOND[given.arch]),
        "S3": asked * given.misses * S3_GET_PER_MILLION,
        "logs": asked * given.log_bytes / 1e3 * LOGS_PER_GB,
        "traces": asked * given.sampled * XRAY_PER_MILLION,
        "metrics, alarms, dashboards": METRICS * METRIC + ALARMS * ALARM + DASHBOARDS * DASHBOARD,
    }


def main():
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--rates", type=float, nargs="+", default=[10, 1_000, 10_000], help="requests per second of viewers")
    parse.add_argument("--cdn-hits", type=float, default=0.0, help="the share that CloudFront answers itself (Caching=on)")
    parse.add_argument("--bytes", type=float, default=10_000, help="of an average answer")
    parse.add_argument("--misses", type=float, default=0.05, help="the share of invocations that ask S3")
    parse.add_argument("--hit-ms", type=float, default=1, help="billed for a hit; Lambda rounds up to 1 ms")
    parse.add_argument("--miss-ms", type=float, default=20, help="billed for a miss")
    parse.add_argument("--memory", type=float, default=256, help="MB")
    parse.add_argument("--arch", choices=LAMBDA_PER_GB_SECOND, default="arm64")
    parse.add_argument("--log-bytes", type=float, default=1_700, help="an invocation: its line, Lambda's own, the API's access log")
    parse.add_argument("--sampled", type=float, default=0.05, help="the share of invocations that are traced")
    given = parse.parse_args()
    months = [month(rate, given) for rate in given.rates]
    print("| USD a month, at requests per second | " + " | ".join(f"{rate:,.0f}" for rate in given.rates) + " |")
    print("|---|" + "---:|" * len(months))
    for name in months[0]:
        print(f"| {name} | " + " | ".join(f"{each[name]:,.0f}" for each in months) + " |")
    print("| **all** | " + " | ".join(f"**{sum(each.values()):,.0f}**" for each in months) + " |")
    each = [sum(costs.values()) / (rate * MONTH_SECONDS / MILLION) for costs, rate in zip(months, given.rates)]
    print("| a million requests | " + " | ".join(f"{cost:,.2f}" for cost in each) + " |")


if __name__ == "__main__":
    main()
