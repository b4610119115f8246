import json
import threading

from st_pipeline.servicetitan.statistics import RequestStatistics


def test_percentiles_are_within_a_fifth_of_the_true_ones():
    """Buckets grow by 2^(1/4), and a percentile is its bucket's upper end: never too low, at most 19 % too high."""
    statistics = RequestStatistics()
    for milliseconds in range(1, 1201):
        statistics.record(milliseconds / 1000, 10)
    figures = statistics.as_details()
    assert 600 <= figures["p50_ms"] <= 714
    assert 1140 <= figures["p95_ms"] <= 1200
    assert (figures["longest_ms"], figures["requests"], figures["bytes"]) == (1200.0, 1200, 12_000)


def test_figures_of_no_request_are_zero_and_json():
    figures = json.loads(json.dumps(RequestStatistics().as_details()))
    assert (figures["requests"], figures["p50_ms"], figures["p95_ms"], figures["buckets"]) == (0, 0, 0, {})


def test_a_request_of_no_time_at_all_is_counted():
    statistics = RequestStatistics()
    statistics.record(0.0, 0)
    assert statistics.as_details()["requests"] == 1


def test_threads_lose_no_count():
    statistics = RequestStatistics()

    def work() -> None:
        for _ in range(2000):
            statistics.record(0.01, 1)
            statistics.count("retries")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    figures = statistics.as_details()
    assert (figures["requests"], figures["retries"], sum(figures["buckets"].values())) == (8000, 8000, 8000)
