"""A database that does not work is told once, although what has been told is in it."""

from datetime import timedelta

from pydantic import SecretStr

from st_pipeline.alerts.tick import Ticked, look_and_tell
from st_pipeline_tests.alerts.receiver import Minutes, Receiver

NOWHERE = SecretStr("postgresql://nobody:hidden@127.0.0.1:1/nowhere")
ERROR = "ERROR: the database of st-pipeline does not work"


def look(minutes: Minutes, times: int) -> Ticked:
    for _ in range(times):
        minutes.now += timedelta(minutes=1)
        done = look_and_tell(minutes.settings, {}, now=minutes.now)
    return done


def test_a_database_that_is_gone_is_told_once_to_each_channel_and_once_when_it_is_back(
    minutes: Minutes, receiver: Receiver
):
    minutes.set(channels="ops=json://{url}/ops mail=json://{url}/mail")
    right = minutes.settings.database_url
    receiver.answers["mail"] = 500
    minutes.set(database_url=NOWHERE)
    assert str(look(minutes, 1)).endswith("told: 0 channels")
    done = look(minutes, 4)
    assert (done.sent.delivered, done.database is not None) == (1, True)
    (message,) = receiver.log
    assert message.title == ERROR
    assert message.body.splitlines()[1] == "Since: 2026-03-02 03:01 CST (2 minutes)"
    assert "hidden" not in message.body
    receiver.answers.clear()
    assert look(minutes, 2).sent.delivered == 2
    minutes.set(database_url=right)
    look(minutes, 3)
    assert receiver.titles("ops") == receiver.titles("mail") == [ERROR, ERROR.replace("ERROR", "OVER")]


def test_a_short_restart_of_postgres_is_not_told(minutes: Minutes, receiver: Receiver):
    right = minutes.settings.database_url
    minutes.set(database_url=NOWHERE)
    look(minutes, 2)
    minutes.set(database_url=right)
    look(minutes, 2)
    minutes.set(database_url=NOWHERE)
    look(minutes, 2)
    assert receiver.log == []


def test_a_postgres_whose_disk_is_full_is_told(minutes: Minutes, receiver: Receiver):
    """It answers, and refuses to write: RAISE stands for it, as a full disk cannot be had in a test."""
    minutes.change(
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE 'no' USING ERRCODE = '53100'; END $$"
    )
    minutes.change("CREATE TRIGGER full_disk BEFORE UPDATE ON alert_ticks FOR EACH ROW EXECUTE FUNCTION full_disk()")
    look(minutes, 3)
    (message,) = receiver.log
    assert "the disk of Postgres is full" in message.body
