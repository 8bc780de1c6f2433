"""What the runner adds to a job that does nothing, one at a time. Prints one JSON line.

    python tests/benchmarks/overhead.py [--kubeconfig PATH --host ADDRESS --helper-image IMAGE]

Times are from GitLab's handing out a job to its final state there; processor time is the manager's alone.
"""

from __future__ import annotations

import json

from lab import Lab, Place, lab, p50


def one_at_a_time(lab_: Lab, count: int) -> dict[str, float]:
    """Run jobs one after the other."""
    lab_.run(1, script=["true"])
    lab_.run(1, script=["true"])
    cpu = lab_.manager.cpu_seconds
    jobs = [job for _ in range(count) for job in lab_.run(1, script=["true"], interval=0.05)]
    return {
        "job_p50_s": p50(job.seconds for job in jobs),
        "job_min_s": round(min(job.seconds for job in jobs), 2),
        "job_max_s": round(max(job.seconds for job in jobs), 2),
        "first_log_byte_p50_s": p50((job.first_log_seconds for job in jobs), digits=3),
        "cpu_ms_per_job": round((lab_.manager.cpu_seconds - cpu) * 1000 / count, 1),
        "peak_rss_mib": round(lab_.manager.peak_mib, 1),
    }


def requests_per_job(place: Place, count: int) -> dict[str, object]:
    """Count what one job asks of the API server and of GitLab."""
    with lab(place, concurrent=1, probed=True) as probed:
        probed.run(1, script=["true"])
        probed.manager.report()
        for _ in range(count):
            probed.run(1, script=["true"])
        requests: dict[str, int] = probed.manager.report()["requests"]
    kubernetes = {name: number / count for name, number in requests.items() if not name.isupper() and name[0].islower()}
    gitlab = {name: number / count for name, number in requests.items() if name not in kubernetes}
    return {
        "api_requests_per_job": round(sum(kubernetes.values()), 2),
        "api_requests": kubernetes,
        "gitlab_requests_per_job": round(sum(gitlab.values()), 2),
    }


def main() -> None:
    """Measure and print."""
    parser = Place.arguments(__doc__)
    parser.add_argument("--jobs", type=int, default=10)
    options = parser.parse_args()
    place = Place.of(options)
    with lab(place, concurrent=1) as measured:
        result: dict[str, object] = {"benchmark": "overhead", "cluster": place.name, "jobs": options.jobs}
        result |= one_at_a_time(measured, options.jobs)
    result |= requests_per_job(place, 5)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
