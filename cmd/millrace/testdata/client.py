# Calls the IVS API with boto3: a line of JSON {"op", "in"} in, a line
# {"out"}, {"error"} or {"unknown"} out.
import json
import re
import sys

import boto3
import botocore.exceptions

client = boto3.client("ivs", endpoint_url=sys.argv[1])
for line in sys.stdin:
    call = json.loads(line)
    method = re.sub(r"(?<!^)(?=[A-Z])", "_", call["op"]).lower()
    answer = {"unknown": True}
    if hasattr(client, method):
        try:
            answer = {"out": getattr(client, method)(**call["in"])}
        except botocore.exceptions.ClientError as e:
            answer = {"error": e.response["Error"]["Code"]}
    print(json.dumps(answer, default=str), flush=True)
