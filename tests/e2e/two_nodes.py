"""A Ray cluster of two nodes with a core each on this machine: `python -m tests.e2e.two_nodes`.

Prints its address and the process of the second node. Every line on standard input kills the second node and is
answered by a line; the end of standard input ends the cluster.
"""

import json
import os
import shutil
import sys
import tempfile


def main():
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # the path of a Unix socket has 107 characters at most
    os.environ |= {"RAY_TMPDIR": folder, "RAY_USAGE_STATS_ENABLED": "0"}
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 80 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    try:
        second = cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)
        raylet = second.all_processes["raylet"][0].process.pid
        print(json.dumps({"address": cluster.address, "raylet": raylet}), flush=True)
        for _ in sys.stdin:
            cluster.remove_node(second, allow_graceful=False)
            print("killed", flush=True)
    finally:
        cluster.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
