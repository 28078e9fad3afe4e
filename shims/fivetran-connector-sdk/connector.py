# An example: users and todos of jsonplaceholder.typicode.com. Replace it by your own connector.
import json
from urllib.request import urlopen

from fivetran_connector_sdk import Connector
from fivetran_connector_sdk import Operations as op

URL = "https://jsonplaceholder.typicode.com"


def schema(configuration):
    return [{"table": "users", "primary_key": ["id"]}, {"table": "todos", "primary_key": ["id"], "columns": {"id": "LONG"}}]


def update(configuration, state):
    for table in ("users", "todos"):
        with urlopen(f"{configuration.get('url', URL)}/{table}", timeout=30) as response:
            for row in json.load(response):
                op.upsert(table=table, data=row)
        op.checkpoint(state)


connector = Connector(update=update, schema=schema)
