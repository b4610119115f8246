from st_pipeline.rates import Rate
from st_pipeline.servicetitan.rate_limit import RateLimiter


class _Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def _call_times(limiter: RateLimiter, time: _Time, calls: int) -> list[float]:
    times = []
    for _ in range(calls):
        time.now += limiter.reserve()
        times.append(time.now)
    return times


def test_a_burst_goes_at_once_and_then_forty_a_second():
    time = _Time()
    times = _call_times(RateLimiter(Rate(40, 1), 10, clock=time), time, 210)
    assert times[:10] == [0.0] * 10
    assert abs(times[-1] - 200 / 40) < 1e-6
    busiest = max(sum(start <= t < start + 1 for t in times) for start in times)
    assert 40 <= busiest <= 51  # ServiceTitan allows 60


def test_a_pause_saves_up_no_more_than_the_burst():
    time = _Time()
    limiter = RateLimiter(Rate(40, 1), 10, clock=time)
    _call_times(limiter, time, 10)
    time.now += 3600
    assert [limiter.reserve() > 0 for _ in range(11)] == [False] * 10 + [True]


def test_threads_that_ask_at_the_same_moment_are_served_one_after_the_other():
    time = _Time()
    limiter = RateLimiter(Rate(100, 60), 1, clock=time)
    assert [round(limiter.reserve(), 3) for _ in range(4)] == [0.0, 0.6, 1.2, 1.8]


def test_a_clock_that_stands_still_or_is_coarse_lets_nobody_through_early():
    time = _Time()
    limiter = RateLimiter(Rate(1, 1), 1, clock=time)
    assert limiter.reserve() == 0
    time.now = 0.999
    assert limiter.reserve() > 0
