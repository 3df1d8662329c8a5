"""The reference's behaviour, for awslambdaric and boto3."""

import base64
import os

import boto3
from botocore.config import Config

s3 = boto3.client("s3", config=Config(s3={"addressing_style": "path"}))


def handler(event, context):
    headers = event["headers"]
    if headers.get("lambda_auth") != os.environ["lambda_auth"]:
        return {"statusCode": 403, "body": "request is forbidden"}
    key = event["rawPath"][1:] or "index.html"
    if "test_version" in headers:
        key = headers["test_version"] + "/" + key
    if headers.get("redirect") == "true":
        return {"statusCode": 302, "headers": {"Location": os.environ["redirect_path"] + "/" + key}}
    try:
        response = s3.get_object(Bucket=os.environ["bucket"], Key=key)
    except Exception:  # noqa: BLE001 - the reference treats every S3 error as a missing object
        return {"statusCode": 200, "body": "no file: " + key}
    return {
        "statusCode": 200,
        "headers": {"Content-Type": response["ContentType"]},
        "isBase64Encoded": True,
        "body": base64.b64encode(response["Body"].read()).decode(),
    }
