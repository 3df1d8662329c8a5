"""The costs of requests by item, for cost.py. A load is the parsed options of cost.py, with the prices of its partition."""

from __future__ import annotations

import argparse
import math

from prices import NOT_FOUND, tiered

MONTH_SECONDS = 30 * 86_400
MONTH_HOURS = MONTH_SECONDS / 3_600
MILLION = 1_000_000
# CloudWatch charges an alarm for each metric that it reads: the 14 alarms of two variants read 27.
METRICS, ALARM_METRICS, DASHBOARDS = 40, 27, 4
# An experiment of two variations adds a dashboard, and an alarm of two metrics.
EXPERIMENT_ALARM_METRICS, EXPERIMENT_DASHBOARDS = 2, 1
# SourceBytes and CopyBytes, in all and for br and gzip.
COPY_METRICS = 6

DOORS = {"http-api": "HTTP API", "function-url": "Function URL", "rest": "REST API", "alb": "ALB"}
DOOR_PRICES = {"http-api": ["http_api"], "function-url": [], "rest": ["rest_api"], "alb": ["alb_hour", "alb_lcu_hour"]}
METRICS_MODES = ["line", "batch", "otlp", "false"]
# Log bytes per invocation. The line of a request: with metrics, and plain.
LINE_BYTES, PLAIN_LINE_BYTES = 740, 370
# Lambda's lines start and report, and the access log of the API. Estimated shares; the sum of a line and both is 1,700.
PLATFORM_BYTES, ACCESS_BYTES = 640, 320
# The sizes of a copy, its coding, and their place in the list of metrics.
COPY_BYTES = 190
# A capacity unit of a load balancer: GB per hour to Lambda functions or to containers, new connections per second
# (https://aws.amazon.com/elasticloadbalancing/pricing/). Assumed: requests per connection, bytes of header fields,
# two zones with a public address each.
LCU_GB_LAMBDA, LCU_GB_CONTAINER, LCU_CONNECTIONS = 0.4, 1.0, 25
REQUESTS_PER_CONNECTION, HEADER_BYTES, ALB_ZONES = 10, 1_000, 2
HTTP_API_UNIT_BYTES = 512 * 1024
# Assumptions about the alternatives. Fargate: tasks of 1 vCPU and 2 GB on arm64 with a public address, at 60 % of their
# capacity, at least two, a log line per request. Lambda@Edge: 5 ms at viewer request with 128 MB, Lambda's own log lines.
TASK_VCPU, TASK_GB, TASK_LOAD, TASKS_MIN, TASK_LOG_BYTES = 1, 2, 0.6, 2, 250
EDGE_MS, EDGE_GB, EDGE_LOG_BYTES = 5, 128 / 1024, 300


def sent_share(load):
    """Share of the bytes that is sent, if texts are sent as copies."""
    return 1 - load.text * (1 - load.coded)


def cloudfront(millions, load):
    if load.without_cloudfront:
        return {}
    return {
        "CloudFront, requests": millions * load.prices["cloudfront_requests"],
        "CloudFront, transfer": tiered(millions * load.bytes * sent_share(load) / 1e3, load.prices["cloudfront_gb"]),
    }


def lcu_hours(millions, load, gb_per_hour):
    """Capacity units x hours, by the larger of two dimensions: bytes and new connections."""
    by_bytes = millions * (load.bytes * sent_share(load) + HEADER_BYTES) / 1e3 / gb_per_hour
    by_connections = millions * MILLION / REQUESTS_PER_CONNECTION / LCU_CONNECTIONS / 3_600
    return max(by_bytes, by_connections)


def alb_fixed(load):
    return MONTH_HOURS * (load.prices["alb_hour"] + ALB_ZONES * load.prices.get("public_ipv4_hour", 0))


def log_bytes(load):
    """Bytes per invocation in the function's log group, and in the API's access log."""
    copy = COPY_BYTES if load.text > 0 and load.metrics in ("line", "false") else 0
    if load.log_bytes is not None:
        return load.log_bytes + copy, 0
    function = {"line": LINE_BYTES, "batch": load.batch_bytes, "otlp": 0, "false": PLAIN_LINE_BYTES}[load.metrics]
    platform = PLATFORM_BYTES if load.system_log == "INFO" else 0
    access = ACCESS_BYTES if load.access_log == "on" and load.door in ("http-api", "rest") else 0
    return function + platform + copy, access


def variable(viewer_millions, load):
    """Costs that depend on the number of requests, by item."""
    millions = viewer_millions * (1 - load.cdn_hits)
    billed_seconds = ((1 - load.misses) * load.hit_ms + load.misses * load.miss_ms) / 1e3
    gb_seconds = millions * MILLION * billed_seconds * load.memory / 1024
    function_bytes, access_bytes = log_bytes(load)
    costs = cloudfront(viewer_millions, load)
    if load.door == "http-api":
        units = math.ceil(load.bytes * sent_share(load) / HTTP_API_UNIT_BYTES) or 1
        costs["HTTP API"] = tiered(millions * units, load.prices["http_api"])
    elif load.door == "rest":
        costs["REST API"] = tiered(millions, load.prices["rest_api"])
    elif load.door == "alb":
        costs["ALB, capacity units"] = lcu_hours(millions, load, LCU_GB_LAMBDA) * load.prices["alb_lcu_hour"]
    costs["Lambda, requests"] = millions * load.prices["lambda_requests"]
    costs["Lambda, duration"] = gb_seconds * load.prices[f"lambda_gb_second_{load.arch}"]
    costs["S3"] = millions * load.misses * load.prices["s3_get"]
    costs["logs"] = tiered(millions * function_bytes / 1e3, load.prices["lambda_log_gb"])
    costs["logs"] += millions * access_bytes / 1e3 * load.prices["log_gb"]
    if load.metrics == "otlp":
        costs["metrics in OTLP"] = millions * load.otlp_bytes / 1e3 * load.prices["otlp_gb"]
    if "traces" in load.prices:
        costs["traces"] = millions * load.sampled * load.prices["traces"]
    return costs


def fixed(load):
    """Costs of a month that do not depend on the number of requests, by item."""
    metrics = METRICS + (load.text > 0) * COPY_METRICS if load.metrics in ("line", "batch") else 0
    dashboard = load.prices.get("dashboard", 0)
    costs = {"ALB, hours and addresses": alb_fixed(load)} if load.door == "alb" else {}
    costs["metrics, alarms, dashboards"] = (
        metrics * load.prices["metric"] + ALARM_METRICS * load.prices["alarm_metric"] + DASHBOARDS * dashboard
    )
    if load.count_metrics or load.counted:
        watched = EXPERIMENT_ALARM_METRICS * load.prices["alarm_metric"] + EXPERIMENT_DASHBOARDS * dashboard
        counts = load.count_metrics * load.prices["metric"]
        costs["counts: metrics, alarm, dashboard"] = counts + (watched if load.count_metrics else 0)
        costs["counts: lines"] = load.counted * load.count_bytes / 1e9 * load.prices["log_gb"]
    return costs


def month_millions(rate):
    return rate * MONTH_SECONDS / MILLION


def month(rate, load):
    costs = variable(month_millions(rate), load)
    merged = {}
    for name, cost in (costs | fixed(load)).items():
        name = "Lambda" if name.startswith("Lambda") else name
        merged[name] = merged.get(name, 0) + cost
    return merged


def month_total(rate, load):
    return sum(month(rate, load).values())


def million_total(load):
    return sum(variable(1, load).values())


def unavailable(load):
    """Why a door, its metrics or its architecture have no cost in the partition; None if they have."""
    if load.partition == "aws-cn" and load.door == "function-url":
        return "AWS China has no Function URLs"
    needed = DOOR_PRICES[load.door] + [f"lambda_gb_second_{load.arch}"] + (["otlp_gb"] if load.metrics == "otlp" else [])
    missing = [name for name in needed if name not in load.prices]
    if missing:
        what = NOT_FOUND[load.partition][missing[0]]
        doors = ", or use --door rest or alb" if missing[0] == "http_api" else ""
        return f"no price of {what} was found for {load.partition}: supply one with --price {missing[0]}=AMOUNT{doors}"
    return None


def changed(load, **changes):
    return argparse.Namespace(**(vars(load) | changes))


def fargate(rate, load):
    """nginx-s3-gateway in tasks of Fargate behind a load balancer."""
    millions, origin_rate = month_millions(rate) * (1 - load.cdn_hits), rate * (1 - load.cdn_hits)
    tasks = max(TASKS_MIN, math.ceil(origin_rate / (load.task_rate * TASK_LOAD)))
    task_hour = TASK_VCPU * load.prices["fargate_vcpu_hour"] + TASK_GB * load.prices["fargate_gb_hour"]
    costs = cloudfront(month_millions(rate), load)
    costs["load balancer"] = alb_fixed(load) + lcu_hours(millions, load, LCU_GB_CONTAINER) * load.prices["alb_lcu_hour"]
    costs["tasks"] = tasks * MONTH_HOURS * (task_hour + load.prices["public_ipv4_hour"])
    costs["S3"] = millions * load.misses * load.prices["s3_get"]
    costs["logs"] = millions * TASK_LOG_BYTES / 1e3 * load.prices["log_gb"]
    return sum(costs.values())


def edge(rate, load, per_million):
    """A function at viewer request, in front of the bucket: it runs for cache hits too."""
    millions = month_millions(rate)
    s3 = millions * (1 - load.cdn_hits) * load.prices["s3_get"]
    return sum(cloudfront(millions, load).values()) + millions * per_million + s3


def alternatives(load):
    """Other solutions and nearedge: name and the cost of a month at a rate."""
    edge_seconds = MILLION * EDGE_MS / 1e3 * EDGE_GB
    lambda_edge = load.prices["lambda_edge_requests"] + edge_seconds * load.prices["lambda_edge_gb_second"]
    lambda_edge += EDGE_LOG_BYTES / 1e3 * load.prices["log_gb"]
    today = changed(load, door="http-api", metrics="line")
    lean = changed(load, door="function-url", metrics="batch", system_log="WARN")
    return {
        "nginx-s3-gateway on Fargate": lambda rate: fargate(rate, load),
        "CloudFront Functions with S3": lambda rate: edge(rate, load, load.prices["cloudfront_functions"]),
        "Lambda@Edge with S3": lambda rate: edge(rate, load, lambda_edge),
        "nearedge: HTTP API, `line`": lambda rate: month_total(rate, today),
        "nearedge: Function URL, `batch`, system log WARN": lambda rate: month_total(rate, lean),
    }
