"""Runs scim2-tester, and fails when a check does.

check.py BASE_URL TOKEN
"""

import sys
from collections import Counter

import httpx2
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_tester import Status, check_server

# Fewer would mean that the tester did not find what there is to check.
CHECKS_MIN = 100


def main() -> int:
    base, token = sys.argv[1:]
    headers = {"Authorization": f"Bearer {token}"}
    with httpx2.Client(base_url=base, headers=headers, timeout=30) as client:
        results = check_server(SyncSCIMClient(client))
    counts = Counter(result.status for result in results)
    for result in results:
        if result.status in (Status.ERROR, Status.CRITICAL, Status.DEVIATION, Status.SKIPPED):
            print(f"{result.status.name} {result.resource_type or ''} {result.title}: {result.reason}")
    print(", ".join(f"{status.name} {count}" for status, count in sorted(counts.items(), key=lambda one: one[0].value)))
    passed = counts[Status.SUCCESS] + counts[Status.COMPLIANT] + counts[Status.ACCEPTABLE]
    failed = counts[Status.ERROR] + counts[Status.CRITICAL] + counts[Status.DEVIATION]
    return 0 if failed == 0 and passed >= CHECKS_MIN else 1


if __name__ == "__main__":
    sys.exit(main())
