"""Brokers that take no large messages: what is too large waits and is told, everything else goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conftest import Broker, make_broker
from ledger_samples import event, row
from puppet import MAXIMUM_PACKET_SIZE, Puppet
from recorder import Recorder
from test_outbox import LONG, Bench, Shelf
from test_publisher import Line

from edge.album import FOLDER, Picture
from edge.contract.messages import Verdict
from edge.contract.ulid import new_ulid
from edge.mqtt import outbox
from edge.mqtt.outage import HOLD_SECONDS
from edge.mqtt.pictures import MOST_CUTS

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from edge.album import Album

LARGEST = 6_000
SMALL, LARGE = 3_000, 40_000


def limited(folder: Path, largest: int) -> Broker:
    """Start a broker that hangs up on packets of more bytes."""
    broker = make_broker(folder, "allow_anonymous true", f"max_packet_size {largest}")
    broker.start()
    return broker


def add_pictures(album: Album, *sizes: int) -> list[Picture]:
    """Put bytes in an album as the pictures of so many events, in order."""
    pictures = [Picture(new_ulid(), Verdict.DEFECT) for _ in sizes]
    for picture, size in zip(pictures, sizes, strict=True):
        assert album.add(picture, b"\xff" * size)
    return pictures


def test_a_picture_too_large_for_the_broker_waits_alone(tmp_path: Path) -> None:
    """One that the broker does not take costs no connection; those behind it arrive, and status says what to raise."""
    broker = limited(tmp_path, LARGEST)
    with Recorder(broker.port) as recorder:
        line = Line(tmp_path, broker.port)
        large, small = add_pictures(line.album, LARGE, SMALL)
        for picture in (large, small):
            line.publisher.pictured(picture)
        line.judge(3)
        recorder.wait(lambda heard: any(small.event in each.topic for each in heard.messages))
        reason = recorder.wait_for_status("degraded")["reason"]
        recorder.wait_for("event", 3)
        assert line.publisher.link.failed == 0
        assert line.stop(10) == 0
    broker.stop()
    assert "image (too large" in reason
    assert "max_packet_size" in reason
    assert line.album.waiting() == [large]


def test_no_reconnect_reads_what_the_broker_does_not_take(tmp_path: Path) -> None:
    """However many pictures are too large, none is read to find that out, and status says so on each connection."""
    with Puppet(properties=MAXIMUM_PACKET_SIZE + LARGEST.to_bytes(4)) as broker:
        line = Line(tmp_path, broker.port)
        *large, small = add_pictures(line.album, *[LARGE] * 20, SMALL)
        for picture in large:  # A read would notice, and the picture would wait no more.
            (tmp_path / "state" / FOLDER / picture.name).unlink()
        for connection in (1, 2):
            for picture in (*large, small):
                line.publisher.pictured(picture)
            line.judge(1)
            broker.wait(lambda b, n=connection: sum(b"image (too large" in each for each in b.named("status")) >= n)
            broker.cut()
        broker.wait(lambda b: b.named(small.event))
        line.stop(10)
    assert set(line.album.waiting()) == set(large)


def test_a_verdict_too_large_for_the_broker_is_offered_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Verdicts that the broker does not take wait, the device says why, and they arrive once it takes them."""
    monkeypatch.setattr(outbox, "REFUSED_SECONDS", 0.2)
    broker = limited(tmp_path, 1_000)
    with Recorder(broker.port) as recorder:
        line = Line(tmp_path, broker.port)
        for _ in range(30):
            line.ledger.append(event(labels=100))
        line.ledger.flush(10)
        reason = recorder.wait_for_status("degraded")["reason"]
        assert "it takes 1000" in reason
        assert line.ledger.waiting == 30
    broker.stop()
    text = broker.settings.read_text()
    broker.settings.write_text(text.replace("max_packet_size 1000", "max_packet_size 4000"))
    broker.start()
    with Recorder(broker.port) as recorder:
        line.judge(1)
        events = recorder.wait_for("event", 31)
        recorder.wait_for_status("online")
        assert line.stop(10) == 0
    broker.stop()
    assert [each["seq"] for each in events] == list(range(1, 32))


def test_a_picture_over_which_connections_end_is_let_be(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A broker that hangs up without a word does so MOST_CUTS times; then that is said, and the next one goes."""
    bench = Bench(tmp_path, Shelf(row(1)))
    bench.outbox.written(1, 0)
    large, _ = add_pictures(bench.album, LARGE, SMALL)
    payload = bench.album.read(large)
    for count in range(MOST_CUTS + 1):
        assert (large.event in caplog.text) == (count == MOST_CUTS)
        now = LONG * (count + 1)
        bench.outbox.begin(100, now)
        bench.exchange(now, unanswered=payload)
        bench.exchange(now + HOLD_SECONDS, unanswered=payload)
        bench.outbox.lose(now)
    assert [said for _, said in bench.sent].count(payload) == MOST_CUTS
    assert bench.album.waiting() == [large]
    assert [record.levelname for record in caplog.records if large.event in record.getMessage()] == ["WARNING"]


def test_a_broker_that_cannot_say_its_limit_gets_all_the_rest(tmp_path: Path) -> None:
    """Under MQTT 3.1.1 a picture that is too large ends the connection; verdicts and the next picture still arrive."""
    broker = limited(tmp_path, LARGEST)
    with Recorder(broker.port) as recorder:
        line = Line(tmp_path, broker.port, protocol="3.1.1")
        large, small = add_pictures(line.album, LARGE, SMALL)
        for picture in (large, small):
            line.publisher.pictured(picture)
        line.judge(3)
        recorder.wait(lambda heard: any(small.event in each.topic for each in heard.messages))
        line.judge(3)
        # What was on its way with the picture may come again.
        recorder.wait(lambda heard: [*dict.fromkeys(e["seq"] for e in heard.named("event"))] == [1, 2, 3, 4, 5, 6])
        assert line.stop(10) == 0
    broker.stop()


def test_one_picture_is_on_its_way(tmp_path: Path) -> None:
    """Until the broker has answered what went behind it the next one waits, and a verdict goes before that one."""
    bench = Bench(tmp_path, Shelf(row(1)))
    first, second = (Picture(event, Verdict.DEFECT) for event in sorted((new_ulid(), new_ulid())))
    for each in (first, second):
        assert bench.album.add(each, each.event.encode())
    bench.outbox.written(0, 0)
    bench.outbox.begin(100, 1)
    bench.outbox.send(1)
    assert [payload for _, payload in bench.sent] == [first.event.encode()]
    assert bench.album.waiting() == [first, second], "the broker does not have it yet"
    bench.outbox.written(1, 1)
    bench.exchange(1, unanswered=first.event.encode())
    assert len(bench.sent) == 2
    bench.outbox.reached(bench.marks[0])
    assert bench.album.waiting() == [second]
    bench.outbox.send(1)
    assert bench.sent[-1][1] == second.event.encode()
