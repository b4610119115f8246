"""An API that keeps a question waiting is not asked for a while: runs ask between two tenants."""

from st_pipeline.checks.source_totals import PAUSE_SECONDS, SLOW_SECONDS, SlowSources


def test_an_api_that_was_slow_to_fail_rests_for_a_minute_and_no_other_does():
    now = [0.0]
    sources = SlowSources(clock=lambda: now[0])
    sources.note("https://a", SLOW_SECONDS / 2)
    assert not sources.is_paused("https://a")
    sources.note("https://a", SLOW_SECONDS)
    assert sources.is_paused("https://a")
    assert not sources.is_paused("https://b")
    now[0] = PAUSE_SECONDS
    assert not sources.is_paused("https://a")
