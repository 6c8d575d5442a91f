"""What stands in a confusion matrix with abstention: labels that are certified, true or not."""

import pytest

from mmcert.certification.confusion import confusion_matrices
from mmcert.certification.grid import make_grid
from mmcert.certification.options import exhaustive_option, parse_statistics
from mmcert.errors import RecordError
from mmcert.records.certificates import Certificate

N, K = {"video": 108, "audio": 108}, {"video": 3, "audio": 3}
GRID = make_grid([{"video": r, "audio": r} for r in (0, 4)], "modification", tuple(N))


def row(target, counts, predicted="the winner"):
    if predicted == "the winner":
        predicted = counts.index(max(counts)) if counts.count(max(counts)) == 1 else None
    return Certificate(
        f"s{target}_{'_'.join(map(str, counts))}",
        "binomial",
        target,
        predicted,
        abstained=False,
        draws=sum(counts),
        n=N,
        k=K,
        counts=list(counts),
    )


def matrices(rows, statistics="binomial", grid=GRID, alpha=0.001, option=None):
    option = option or parse_statistics({statistics: {}}, "classification", 3)[0]
    return confusion_matrices(rows, "mmcert", 3, option, alpha, grid)


def test_a_label_counts_where_it_is_certified_and_is_abstained_elsewhere():
    rows = [
        row(0, [1000, 0, 0]),  # right
        row(0, [10, 990, 0]),  # wrong, and surely so
        row(0, [520, 480, 0]),  # the winner is no surety: .520 of 1000 is not above 1/2
        row(1, [400, 200, 400]),  # a tie
        row(2, [300, 0, 700]),  # right, but (4, 4) leaves t at about .7
    ]
    calm, attacked = matrices(rows)
    assert calm.labels == ((1, 1, 0), (0, 0, 0), (0, 0, 1))
    assert calm.abstained == (1, 1, 0)
    assert attacked.labels == ((1, 1, 0), (0, 0, 0), (0, 0, 0))
    assert attacked.abstained == (1, 1, 1)
    assert calm.samples == attacked.samples == (3, 1, 1)


def test_the_label_was_chosen_by_the_votes_so_alpha_is_shared():
    # Votes of 1000 that reject p <= 1/2: 550 at .001, where the label was known; 553 at .0005.
    found = [matrices([row(0, [votes, 1000 - votes, 0])])[0] for votes in (550, 552, 553)]
    assert [matrix.labels[0][0] for matrix in found] == [0, 0, 1]


@pytest.mark.parametrize("statistics", ["margin", "bonferroni", "holm", "published"])
def test_every_option_that_names_samples_has_a_matrix(statistics):
    calm, _ = matrices([row(0, [1000, 0, 0]), row(1, [900, 50, 50])], statistics)
    assert calm.labels == ((1, 0, 0), (1, 0, 0), (0, 0, 0))


def test_a_number_for_the_data_set_names_no_sample_and_has_no_matrix():
    assert matrices([row(0, [1000, 0, 0])], "closed_evalues") == []
    assert matrices([row(None, [1000, 0, 0])]) == []


def test_where_every_sub_sample_voted_a_lead_of_one_is_enough_without_attack():
    rows = [row(0, [5833, 5831, 0]), row(1, [5832, 5832, 0])]
    calm, attacked = matrices(rows, option=exhaustive_option("classification"))
    assert (calm.labels[0], calm.abstained) == ((1, 0, 0), (0, 1, 0))
    assert attacked.abstained == (1, 1, 0)


@pytest.mark.parametrize(
    "wrong", [row(3, [5, 0, 0]), row(0, [5, 0]), row(0, [5, 0, 0], predicted=-1)]
)
def test_rows_that_do_not_fit_the_classes_are_refused(wrong):
    with pytest.raises(RecordError, match="do not fit 3 classes"):
        matrices([wrong])
