"""Print the addresses of the alive members of the Ray cluster with its head at this address."""

import sys

from ray._raylet import GcsClient
from ray.core.generated import gcs_pb2

for node in GcsClient(address=sys.argv[1]).get_all_node_info(timeout=10).values():
    if node.state == gcs_pb2.GcsNodeInfo.ALIVE:
        print(node.node_manager_address)
