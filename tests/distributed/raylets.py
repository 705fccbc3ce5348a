"""A process with a local Ray cluster of two simulated machines with one core each.

    python -m tests.distributed.raylets FOLDER

It prints the address and the two machines. Then it reads commands from standard input: ``lose`` kills the raylet of the
second machine; ``join`` starts another one and prints its name. It ends at the end of its standard input.
"""

import contextlib
import os
import sys

HEALTH = {  # time until the cluster detects a lost machine
    "RAY_health_check_initial_delay_ms": "500",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "5000",
    "RAY_health_check_failure_threshold": "3",
}
STORE_BYTES = 80 * 2**20


def main(folder: str) -> None:
    os.environ.update(HEALTH, RAY_TMPDIR=folder, RAY_USAGE_STATS_ENABLED="0")
    from ray.cluster_utils import Cluster

    def tell(text: str) -> None:
        print(text, flush=True)

    how = {"num_cpus": 1, "object_store_memory": STORE_BYTES}
    with contextlib.redirect_stdout(sys.stderr):
        cluster = Cluster(initialize_head=True, head_node_args={**how, "include_dashboard": False})
        second = cluster.add_node(**how)
    tell(f"{cluster.address} {cluster.head_node.node_id} {second.node_id}")
    for line in sys.stdin:
        with contextlib.redirect_stdout(sys.stderr):
            if line.strip() == "lose":
                cluster.remove_node(second, allow_graceful=False)
            else:
                second = cluster.add_node(**how)
        tell(second.node_id)
    with contextlib.redirect_stdout(sys.stderr):
        cluster.shutdown()


if __name__ == "__main__":
    main(sys.argv[1])
