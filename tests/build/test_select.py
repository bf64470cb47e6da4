"""Which video serves which column: balanced, complete where it can be, and the same every time."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from videossr.build.select import Job, Selection

columns = st.dictionaries(
    st.sampled_from("abcd"),
    st.tuples(st.sets(st.integers(0, 9), min_size=1), st.integers(1, 12)),
    min_size=1,
)


def select(table: dict[str, tuple[set[int], int]], most: int = 100) -> Selection:
    admitted = {name: videos for name, (videos, _) in table.items()}
    return Selection(admitted, {name: quota for name, (_, quota) in table.items()}, most)


@given(columns)
def test_quotas_are_met_from_admitted_videos(table):
    jobs = select(table).next_jobs(Counter())
    assert Counter(job.column for job in jobs) == {name: quota for name, (_, quota) in table.items()}
    assert all(job.video in table[job.column][0] for job in jobs)
    assert len(set(jobs)) == len(jobs)


@given(columns)
def test_no_video_serves_twice_in_a_round(table):
    selection = select(table)
    needs = dict(selection.quotas)
    videos = set().union(*selection.admitted.values())
    jobs = selection._round(videos, needs)
    assert len({job.video for job in jobs}) == len(jobs)


@given(columns)
def test_one_round_is_enough_where_counting_says_so(table):
    """Hall's condition: every set of columns wants no more than the videos that any of them admits."""
    feasible = all(
        sum(table[name][1] for name in names) <= len(set().union(*(table[name][0] for name in names)))
        for size in range(1, len(table) + 1)
        for names in combinations(table, size)
    )
    jobs = select(table).next_jobs(Counter())
    once = max(Counter(job.video for job in jobs).values()) == 1
    assert once <= feasible


@given(st.integers(1, 12), st.lists(st.integers(1, 12), min_size=1, max_size=4))
def test_videos_that_serve_all_serve_equally_often(videos, quotas):
    table = {name: (set(range(videos)), quota) for name, quota in zip("abcd", quotas, strict=False)}
    served = Counter(job.video for job in select(table).next_jobs(Counter()))
    assert max(served.values()) == -(-sum(quotas) // videos)


@given(columns)
def test_the_same_every_time_and_in_any_order_of_columns(table):
    again = dict(reversed(table.items()))
    assert sorted(select(table).next_jobs(Counter())) == sorted(select(again).next_jobs(Counter()))


@given(columns, st.integers(1, 3))
def test_a_video_is_drawn_from_no_more_often_than_allowed(table, most):
    selection = select(table, most)
    jobs = selection.next_jobs(Counter())
    tries = Counter((job.video, job.column) for job in jobs)
    assert max(tries.values()) <= most
    for name, (videos, quota) in table.items():
        drawn = sum(job.column == name for job in jobs)
        assert drawn == min(quota, most * len(videos))
    assert {job.attempt for job in jobs} <= set(range(most))


def test_what_failed_is_drawn_again_with_the_next_attempt():
    selection = select({"a": ({0, 1}, 2)})
    assert selection.next_jobs(Counter()) == [Job(0, "a", 0), Job(1, "a", 0)]
    assert selection.next_jobs(Counter(a=1)) == [Job(0, "a", 1)]
    assert selection.next_jobs(Counter(a=2)) == []


def test_a_video_goes_where_it_is_needed_most():
    selection = select({"rare": ({0}, 1), "common": ({0, 1, 2}, 2)})
    assert selection.next_jobs(Counter()) == [Job(0, "rare", 0), Job(1, "common", 0), Job(2, "common", 0)]


def test_videos_serve_all_columns_in_turn_and_redraws_go_to_those_used_least():
    everyone = set(range(6))
    selection = select({"a": (everyone, 9), "b": (everyone, 9)})
    jobs = selection.next_jobs(Counter())
    assert Counter(job.video for job in jobs) == dict.fromkeys(everyone, 3)
    assert all({job.column for job in jobs if job.video == video} == {"a", "b"} for video in everyone)
    selection = select({"a": ({0, 1, 2}, 4)})
    assert [job.video for job in selection.next_jobs(Counter())] == [0, 1, 2, 0]
    assert [job.video for job in selection.next_jobs(Counter(a=3))] == [1]
