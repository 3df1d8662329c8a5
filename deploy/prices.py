"""List prices for cost.py, each with its source and the date at which the source showed it.

Without free tier, discounts and taxes. Partition aws: us-east-1, and CloudFront in North America, in USD. Partition aws-cn:
cn-northwest-1 (Ningxia), in CNY. Check them before you rely on a result: https://aws.amazon.com/pricing/,
https://www.amazonaws.cn/en/pricing/.
"""

from __future__ import annotations

from typing import NamedTuple


class Price(NamedTuple):
    # One price, or tiers: (upper bound in units, price of a unit in the tier). The last tier has no bound.
    amount: float | list
    unit: str
    source: str
    date: str


CURRENCY = {"aws": "USD", "aws-cn": "CNY"}
PRICE_LIST = "https://pricing.us-east-1.amazonaws.com/offers/v1.0/aws/{}/current/us-east-1/index.json"
CLOUDWATCH = "https://pricing.us-east-1.amazonaws.com/offers/v1.0/aws/AmazonCloudWatch/20260831092148/us-east-1/index.json"
# Cost tables of AWS's own solutions for AWS China, which quote the list prices in Ningxia.
CHINA_2023 = "https://github.com/awslabs/sensitive-data-protection-on-aws, docs/en/plan-deployment/cost.md"
CHINA_2022 = "https://github.com/awslabs/aws-ai-solution-kit, docs/en-rebrand/include-deploy-cost-8GB.md"
CHINA_CLOUDFRONT = "https://www.amazonaws.cn/en/cloudfront/pricing/"
CHINA_CLOUDWATCH = "https://www.amazonaws.cn/cloudwatch/pricing/"

PRICES = {
    "aws": {
        "lambda_requests": Price(0.20, "million", PRICE_LIST.format("AWSLambda"), "2026-09-11"),
        # The first tier: up to 6 (x86_64) or 7.5 (arm64) billion GB-seconds per month.
        "lambda_gb_second_arm64": Price(0.0000133334, "GB-second", PRICE_LIST.format("AWSLambda"), "2026-09-11"),
        "lambda_gb_second_x86_64": Price(0.0000166667, "GB-second", PRICE_LIST.format("AWSLambda"), "2026-09-11"),
        # A request or response of up to 512 kB.
        "http_api": Price([(300, 1.00), (None, 0.90)], "million", PRICE_LIST.format("AmazonApiGateway"), "2026-09-11"),
        # The price list of 2026-09-11 has the same first tier.
        "rest_api": Price(
            [(333, 3.50), (1_000, 2.80), (20_000, 2.38), (None, 1.51)],
            "million", "https://aws.amazon.com/api-gateway/pricing/", "2025-10-28",
        ),
        "alb_hour": Price(0.0225, "hour", PRICE_LIST.format("AWSELB"), "2026-09-11"),
        "alb_lcu_hour": Price(0.008, "LCU-hour", PRICE_LIST.format("AWSELB"), "2026-09-11"),
        "public_ipv4_hour": Price(0.005, "hour", "https://aws.amazon.com/vpc/pricing/", "2026-08-17"),
        "cloudfront_requests": Price(1.00, "million, HTTPS", "https://aws.amazon.com/cloudfront/pricing/", "2026-08-17"),
        # The first tier is of that date, the others are of 2025.
        "cloudfront_gb": Price(
            [(10_240, 0.085), (51_200, 0.080), (153_600, 0.060), (512_000, 0.040), (1_048_576, 0.030), (None, 0.025)],
            "GB", "https://aws.amazon.com/cloudfront/pricing/", "2026-08-17",
        ),
        "cloudfront_functions": Price(0.10, "million", "https://aws.amazon.com/cloudfront/pricing/", "2026-09-20"),
        "lambda_edge_requests": Price(0.60, "million", "https://aws.amazon.com/lambda/pricing/", "2026-09-20"),
        "lambda_edge_gb_second": Price(0.00005001, "GB-second", "https://aws.amazon.com/lambda/pricing/", "2026-09-20"),
        "s3_get": Price(0.40, "million", PRICE_LIST.format("AmazonS3"), "2026-09-28"),
        # Logs that Lambda sends to CloudWatch (standard class): tiered since 2025-05-01.
        "lambda_log_gb": Price(
            [(10_240, 0.50), (30_720, 0.25), (51_200, 0.10), (None, 0.05)],
            "GB", "https://aws.amazon.com/cloudwatch/pricing/, Vended Logs", "2025-10-28",
        ),
        "log_gb": Price(0.50, "GB", CLOUDWATCH, "2026-08-31"),
        # Metrics in OTLP have no price per metric:
        # https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/metrics-otel-pricing.html
        "otlp_gb": Price(0.50, "GB", CLOUDWATCH + ", SKU GF9Q9S5QWW3RHMGQ", "2026-08-31"),
        "traces": Price(5.00, "million", "https://aws.amazon.com/xray/pricing/", "2026-08-08"),
        "metric": Price(0.30, "month", CLOUDWATCH, "2026-08-31"),
        "alarm_metric": Price(0.10, "month", "https://aws.amazon.com/cloudwatch/pricing/", "2026-09-21"),
        "dashboard": Price(3.00, "month", "https://aws.amazon.com/cloudwatch/pricing/", "2026-09-02"),
        # arm64
        "fargate_vcpu_hour": Price(0.03238, "vCPU-hour", PRICE_LIST.format("AmazonECS"), "2026-09-11"),
        "fargate_gb_hour": Price(0.00356, "GB-hour", PRICE_LIST.format("AmazonECS"), "2026-08-17"),
    },
    "aws-cn": {
        "lambda_requests": Price(1.36, "million", CHINA_2023, "2023-06"),
        "lambda_gb_second_x86_64": Price(0.0001135, "GB-second", CHINA_2023, "2023-06"),
        "rest_api": Price(28.94, "million", CHINA_2022, "2022-06"),
        "alb_hour": Price(0.156, "hour", CHINA_2023, "2023-06"),
        "alb_lcu_hour": Price(0.072, "LCU-hour", CHINA_2023, "2023-06"),
        # The page is undated; a blog of 2023-03 quotes the same prices.
        "cloudfront_requests": Price(15.0, "million, HTTPS", CHINA_CLOUDFRONT, "2023-03"),
        # Above 1 PB the price is on request.
        "cloudfront_gb": Price([(51_200, 0.30866), (102_400, 0.30195), (None, 0.28853)], "GB", CHINA_CLOUDFRONT, "2023-03"),
        "s3_get": Price(1.35, "million", CHINA_2023, "2023-06"),
        "lambda_log_gb": Price(6.228, "GB", CHINA_2022, "2022-06"),
        "log_gb": Price(6.228, "GB", CHINA_2022, "2022-06"),
        # The copy of the page shows a notice about re:Invent 2024.
        "metric": Price(2.00, "month", CHINA_CLOUDWATCH, "2024-12"),
        "alarm_metric": Price(0.622, "month", CHINA_CLOUDWATCH, "2024-12"),
    },
}
# Prices that a configuration needs and no source was found for. Nothing is estimated in their place; --price supplies them.
NOT_FOUND = {
    "aws": {},
    "aws-cn": {
        "http_api": "the HTTP API",
        "lambda_gb_second_arm64": "Lambda on arm64",
        "otlp_gb": "metrics in OTLP",
        "dashboard": "dashboards",
    },
}


def tiered(amount: float, tiers: float | list) -> float:
    """Returns the cost of an amount of units."""
    if not isinstance(tiers, list):
        return amount * tiers
    cost, below = 0.0, 0.0
    for end, price in tiers:
        part = amount - below if end is None else max(0, min(amount, end) - below)
        cost += part * price
        if end is None or amount <= end:
            break
        below = end
    return cost
