"""The allocation of videos to categories: balanced, complete where possible, and deterministic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from videossr.builder.allocation import Job, Selection, Share

categories = st.dictionaries(
    st.sampled_from("abcd"),
    st.tuples(st.sets(st.integers(0, 9), min_size=1), st.integers(1, 12)),
    min_size=1,
)


def make_selection(table: dict[str, tuple[set[int], int]], most: int = 100) -> Selection:
    admitted = {name: bytearray(video in videos for video in range(12)) for name, (videos, _) in table.items()}
    return Selection(admitted, {name: quota for name, (_, quota) in table.items()}, most)


def next_jobs(selection: Selection, filled: Mapping[str, int]) -> list[Job]:
    """List the draws of the next pass, video by video."""
    chosen = selection.choose(filled)
    jobs = [
        Job(share.video, share.category, attempt)
        for share in selection.shares()
        for attempt in range(share.start, share.stop)
    ]
    assert len(jobs) == chosen
    return jobs


@given(categories)
def test_selection_meets_quotas_from_admitted_videos(table):
    jobs = next_jobs(make_selection(table), Counter())
    assert Counter(job.category for job in jobs) == {name: quota for name, (_, quota) in table.items()}
    assert all(job.video in table[job.category][0] for job in jobs)
    assert len(set(jobs)) == len(jobs)


@given(categories)
def test_selection_uses_each_video_at_most_once_in_a_round(table):
    selection = make_selection(table)
    names = sorted(table)
    needs = {name: quota for name, (_, quota) in table.items()}
    served = selection._round(names, selection._fit_for(names), needs)
    shares = list(selection.shares())
    assert all(share.stop - share.start == 1 for share in shares)
    assert len({share.video for share in shares}) == len(shares) == served
    assert served == sum(quota for _, quota in table.values()) - sum(needs.values()) > 0


@given(categories)
def test_selection_uses_each_video_once_only_if_halls_condition_holds(table):
    """Hall's condition: every set of categories needs no more videos than any of them admits."""
    feasible = all(
        sum(table[name][1] for name in names) <= len(set().union(*(table[name][0] for name in names)))
        for size in range(1, len(table) + 1)
        for names in combinations(table, size)
    )
    jobs = next_jobs(make_selection(table), Counter())
    once = max(Counter(job.video for job in jobs).values()) == 1
    assert once <= feasible


@given(st.integers(1, 12), st.lists(st.integers(1, 12), min_size=1, max_size=4))
def test_selection_uses_videos_of_all_categories_equally_often(videos, quotas):
    table = {name: (set(range(videos)), quota) for name, quota in zip("abcd", quotas, strict=False)}
    served = Counter(job.video for job in next_jobs(make_selection(table), Counter()))
    assert max(served.values()) == -(-sum(quotas) // videos)


@given(categories)
def test_selection_does_not_depend_on_the_order_of_categories(table):
    reversed_table = dict(reversed(table.items()))
    assert sorted(next_jobs(make_selection(table), Counter())) == sorted(
        next_jobs(make_selection(reversed_table), Counter())
    )


@given(categories, st.integers(1, 3))
def test_selection_draws_from_a_video_no_more_often_than_allowed(table, most):
    selection = make_selection(table, most)
    jobs = next_jobs(selection, Counter())
    tries = Counter((job.video, job.category) for job in jobs)
    assert max(tries.values()) <= most
    for name, (videos, quota) in table.items():
        drawn = sum(job.category == name for job in jobs)
        assert drawn == min(quota, most * len(videos))
    assert {job.attempt for job in jobs} <= set(range(most))


def test_selection_describes_a_million_draws_by_one_share_a_video():
    selection = make_selection({"a": (set(range(10)), 1_000_000)}, 10**6)
    assert selection.choose(Counter()) == 1_000_000
    assert list(selection.shares()) == [Share(video, "a", 0, 100_000) for video in range(10)]


def test_selection_draws_again_with_the_next_attempt_after_a_failure():
    selection = make_selection({"a": ({0, 1}, 2)})
    assert next_jobs(selection, Counter()) == [Job(0, "a", 0), Job(1, "a", 0)]
    assert next_jobs(selection, Counter(a=1)) == [Job(0, "a", 1)]
    assert next_jobs(selection, Counter(a=2)) == []


def test_selection_gives_a_video_to_the_category_with_the_fewest_videos():
    selection = make_selection({"rare": ({0}, 1), "common": ({0, 1, 2}, 2)})
    assert next_jobs(selection, Counter()) == [Job(0, "rare", 0), Job(1, "common", 0), Job(2, "common", 0)]


def test_selection_alternates_categories_and_redraws_from_the_least_used_videos():
    videos = set(range(6))
    selection = make_selection({"a": (videos, 9), "b": (videos, 9)})
    jobs = next_jobs(selection, Counter())
    assert Counter(job.video for job in jobs) == dict.fromkeys(videos, 3)
    assert all({job.category for job in jobs if job.video == video} == {"a", "b"} for video in videos)
    selection = make_selection({"a": ({0, 1, 2}, 4)})
    assert [job.video for job in next_jobs(selection, Counter())] == [0, 0, 1, 2]
    assert [job.video for job in next_jobs(selection, Counter(a=3))] == [1]
